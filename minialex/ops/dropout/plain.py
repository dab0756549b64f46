"""dropout in array operations: the whole mask at once, drawn again in backward.

keep = words of the Philox stream (seed, offset) >= p 2^32
y    = x  / (1 - p) where keep, else 0
gx   = gy / (1 - p) where keep, else 0
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import philox
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.philox import DeviceOffset


def threshold(p: float) -> int:
    """Return how many of the 2^32 words drop an element: p 2^32, rounded."""
    return round(p * 2**32)


def scale(p: float) -> float:
    """Return what the elements that are kept are multiplied by; where none is, 0."""
    return 1 / (1 - p) if p < 1 else 0.0


def forward(
    x: Array, *, p: float, seed: int, offset: int | DeviceOffset
) -> tuple[Array, tuple[Any, ...]]:
    """Return `x` with a share `p` of it set to 0 and the rest scaled up."""
    xp = array_module(x)
    words = philox.bits(xp, x.size, seed=seed, offset=int(offset)).reshape(x.shape)
    keep = words >= np.uint64(threshold(p))
    return xp.where(keep, x * scale(p), 0), ()


def backward(
    gy: Array, saved: tuple[Any, ...], *, p: float, seed: int, offset: int | DeviceOffset
) -> Gradients:
    """Do to the gradient what forward did to the input."""
    gx, _ = forward(gy, p=p, seed=seed, offset=offset)
    return (gx,)
