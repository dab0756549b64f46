"""The networks of ``minialex step``: a few ops each, so that every number fits on the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from minialex import ops
from minialex.arrays import Array
from minialex.autograd import Tensor
from minialex.errors import MinialexError
from minialex.wording import unknown

FIRST_DRAW = 2419
"""What seed 0 stands for: in every row, ReLUs let some pass and stop others that matter."""

Values: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """A network whose backward pass can be read through.

    Attributes
    ----------
    name, about : str
    shapes : dict from name to shape
        Its leaves.
    run : function of the leaves
        To what it computes, by name, the loss last.
    """

    name: str
    about: str
    shapes: dict[str, tuple[int, ...]]
    run: Callable[..., Values]

    def draw(self, seed: int) -> dict[str, Array]:
        """Return numbers for its leaves: tenths up to 1.5, without 0."""
        rng = np.random.default_rng(FIRST_DRAW + seed)

        def tenths(shape: tuple[int, ...]) -> Array:
            return rng.choice((-1, 1), shape) * rng.integers(1, 16, shape) / 10

        return {name: tenths(shape) for name, shape in self.shapes.items()}


def _skip(x: Tensor, w: Tensor, b: Tensor) -> Values:
    h = ops.linear(x, w, b)
    r = ops.relu(h)
    s = h + r
    return {"h": h, "r": r, "s": s, "loss": ops.cross_entropy(s, np.array([0, 2]))}


def _shared(x: Tensor, w: Tensor) -> Values:
    h = ops.linear(x, w)
    r = ops.relu(h)
    s = ops.linear(r, w)
    return {"h": h, "r": r, "s": s, "loss": ops.cross_entropy(s, np.array([0, 2]))}


def _conv(x: Tensor, w: Tensor, b: Tensor, v: Tensor) -> Values:
    c = ops.conv2d(x, w, b, stride=2, padding=1)
    r = ops.relu(c)
    p = ops.max_pool2d(r, 2, stride=1)
    f = ops.flatten(p, 1)
    s = ops.linear(f, v)
    loss = ops.cross_entropy(s, np.array([1]))
    return {"c": c, "r": r, "p": p, "f": f, "s": s, "loss": loss}


def _broadcast(x: Tensor, scale: Tensor, shift: Tensor) -> Values:
    m = x * scale
    z = m + shift
    q = z * z
    total = ops.sum(q)
    return {"m": m, "z": z, "q": q, "total": total, "loss": total / z.size}


NETWORKS = {
    network.name: network
    for network in (
        SmallNetwork(
            "skip",
            "a linear layer, a ReLU and a way around it: h is used twice",
            {"x": (2, 3), "w": (3, 3), "b": (3,)},
            _skip,
        ),
        SmallNetwork(
            "shared",
            "two linear layers with the same weights: w is used twice",
            {"x": (2, 3), "w": (3, 3)},
            _shared,
        ),
        SmallNetwork(
            "conv",
            "a convolution with stride 2, a ReLU, overlapping max-pooling, a linear layer",
            {"x": (1, 1, 5, 5), "w": (2, 1, 3, 3), "b": (2,), "v": (2, 8)},
            _conv,
        ),
        SmallNetwork(
            "broadcast",
            "a scale and a shift for each column, the mean of squares: z is used twice by one op",
            {"x": (2, 3), "scale": (3,), "shift": (3,)},
            _broadcast,
        ),
    )
}
"""By name; the first is the default."""


def find_network(name: str) -> SmallNetwork:
    """Return the network of that name.

    Raises
    ------
    MinialexError
        If there is none.
    """
    if name not in NETWORKS:
        raise MinialexError(unknown("network", name, NETWORKS))
    return NETWORKS[name]
