"""The interface of a peer: another library, or one way of using it."""

from __future__ import annotations

from typing import Any

from minialex.arrays import Array
from minialex.bench.workload import NetworkTask, Workload

Inputs = tuple[Array | None, ...]


class Peer:
    """A library, or one way of using it. A method returns None where it has no answer.

    Attributes
    ----------
    name : str
        What it is called in tables.
    description : str
        Its version and the mode that it is used in.
    """

    name: str
    description: str

    def layer(
        self, op: str, what: str, inputs: Inputs, gy: Array, params: dict[str, Any]
    ) -> Workload | None:
        """Return one pass of an op on these inputs."""
        return None

    def optimizer(
        self, name: str, params: list[Array], gradients: list[Array], settings: dict[str, Any]
    ) -> Workload | None:
        """Return a step of an optimizer over copies of these parameters.

        The result is by how much `STEPS` of them change each parameter.
        """
        return None

    def step(self, task: NetworkTask) -> Workload | None:
        """Return a training step; the result is by how much `STEPS` of them change parameters."""
        return None

    def inference(self, task: NetworkTask) -> Workload | None:
        """Return a forward pass without gradients."""
        return None

    def flip(self, images: Array, mirrored: Array) -> Workload | None:
        """Return the mirroring and normalising of images (N, H, W, 3) uint8."""
        return None
