"""Rectified linear unit (Krizhevsky, Sutskever and Hinton 2012, section 3.1).

    y  = max(x, 0)
    gx = gy where y > 0, else 0          the subgradient at x = 0 is 0

saved = (y,): the output tells all that backward needs, so the input can be freed.
NaN passes through forward.
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor
from minialex.ops._shapes import elementwise_cost


def forward(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    y = array_module(x).maximum(x, 0)
    return y, (y,)


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was positive."""
    (y,) = saved
    return (array_module(y).where(y > 0, gy, gy.dtype.type(0)),)


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
