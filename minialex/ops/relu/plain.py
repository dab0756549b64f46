"""relu in array operations.

y  = max(x, 0)
gx = 0 where y = 0, else gy
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients


def forward(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    y = array_module(x).maximum(x, 0)
    return y, (y,)


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was not 0."""
    (y,) = saved
    return (array_module(gy).where(y == 0, 0, gy),)
