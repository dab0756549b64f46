"""Rectified linear unit (Krizhevsky, Sutskever and Hinton 2012, section 3.1).

    y  = max(x, 0)
    gx = gy where y > 0, else 0          the subgradient at x = 0 is 0

saved = (y,): the output tells all that backward needs, so the input can be freed.
NaN passes through forward.
"""

from __future__ import annotations

from math import prod

from minialex import threads
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor
from minialex.ops._shapes import elementwise_cost, select
from minialex.ops._windows import shares

CACHE = 1 << 18
"""How many bytes of an array a core works on at a time."""


def forward(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    xp = array_module(x)
    y = xp.empty(x.shape, x.dtype)
    rows, y_rows = xp.atleast_1d(x, y)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            xp.maximum(rows[block], 0, out=y_rows[block])

    threads.run(some, _shares(rows))
    return y, (y,)


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was positive."""
    (y,) = saved
    xp = array_module(y)
    gx = xp.empty(y.shape, y.dtype)
    gy_rows, y_rows, gx_rows = xp.atleast_1d(gy, y, gx)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            select(gy_rows[block], y_rows[block] > 0, out=gx_rows[block])

    threads.run(some, _shares(y_rows))
    return (gx,)


def _shares(x: Array) -> list[list[slice]]:
    return shares(array_module(x), len(x), prod(x.shape[1:]) * x.itemsize, CACHE)


OP = Op("relu", {"array": Implementation(forward, backward)}, elementwise_cost(1))


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0) for each element.

    Parameters
    ----------
    x : Tensor of any shape, float32 or float64

    Returns
    -------
    Tensor of the shape and type of `x`. Its gradient at x = 0 is 0.
    """
    return OP(x)
