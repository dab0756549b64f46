"""CuPy's own operations on a GPU; matrix products are cuBLAS's, into preallocated memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from minialex.arrays import CPU, Array, Device
from minialex.bench.peers.peer import Inputs, Peer
from minialex.bench.workload import UnavailableError, Workload


class CuPyPeer(Peer):
    """One call per pass; convolution is not among CuPy's operations."""

    name = "CuPy"

    def __init__(self, device: Device, threads: int) -> None:
        if device == CPU:
            raise UnavailableError("it computes on a GPU only")
        self.cupy = importlib.import_module("cupy")
        self.description = f"{self.cupy.__version__}, its own operations (cuBLAS), float32"

    def layer(
        self, op: str, what: str, inputs: Inputs, gy: Array, params: dict[str, Any]
    ) -> Workload | None:
        """Return one pass of a fully connected layer or of ReLU."""
        if (op, what) not in PASSES:
            return None
        xp = self.cupy
        run = PASSES[op, what](xp, inputs, gy)
        return Workload(run, run)


def _linear_forward(xp: Any, inputs: Inputs, gy: Array) -> Callable[[], list[Array]]:
    x, w, b = (*inputs, None)[:3]
    assert x is not None
    assert w is not None
    out = xp.empty_like(gy)

    def run() -> list[Array]:
        xp.matmul(x, w.T, out=out)
        if b is not None:
            xp.add(out, b, out=out)
        return [out]

    return run


def _linear_data(xp: Any, inputs: Inputs, gy: Array) -> Callable[[], list[Array]]:
    w, out = inputs[1], xp.empty_like(inputs[0])
    return lambda: [xp.matmul(gy, w, out=out)]


def _linear_weight(xp: Any, inputs: Inputs, gy: Array) -> Callable[[], list[Array]]:
    x, w, b = (*inputs, None)[:3]
    gw = xp.empty_like(w)

    def run() -> list[Array]:
        xp.matmul(gy.T, x, out=gw)
        return [gw] if b is None else [gw, gy.sum(axis=0)]

    return run


def _relu(xp: Any, inputs: Inputs, gy: Array) -> Callable[[], list[Array]]:
    x, out = inputs[0], xp.empty_like(inputs[0])
    return lambda: [xp.maximum(x, 0, out=out)]


PASSES: dict[tuple[str, str], Callable[[Any, Inputs, Array], Callable[[], list[Array]]]] = {
    ("linear", "forward"): _linear_forward,
    ("linear", "data gradient"): _linear_data,
    ("linear", "weight gradient"): _linear_weight,
    ("relu", "forward"): _relu,
}
