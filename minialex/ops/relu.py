"""Rectified linear unit (Krizhevsky, Sutskever and Hinton 2012, section 3.1).

    y  = max(x, 0)
    gx = gy where y > 0, else 0          the subgradient at x = 0 is 0

saved = (y,): the output tells all that backward needs, so the input can be freed.
NaN passes through forward.

    array    blocks of images that stay in a core's cache
    kernel   kernels/relu.cu: a thread an element
"""

from __future__ import annotations

from math import prod

from minialex import cuda, memory, threads
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor
from minialex.ops._launching import check_counts, packed
from minialex.ops._shapes import elementwise_cost, select
from minialex.ops._windows import shares

CACHE, LEAST = 1 << 22, 1 << 20
"""How many bytes of an array a core works on at a time, and how many are worth a core of their own.

In smaller blocks, cores wait for each other's Python more than they gain from their caches.
"""


def forward(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    xp = array_module(x)
    y = memory.empty(xp, x.shape, x.dtype)
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
    gx = memory.empty(xp, y.shape, y.dtype)
    gy_rows, y_rows, gx_rows = xp.atleast_1d(gy, y, gx)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            select(gy_rows[block], y_rows[block] > 0, out=gx_rows[block])

    threads.run(some, _shares(y_rows))
    return (gx,)


def _shares(x: Array) -> list[list[slice]]:
    return shares(array_module(x), len(x), prod(x.shape[1:]) * x.itemsize, CACHE, LEAST)


_forward = cuda.kernel("relu.cu", "relu_forward")
_backward = cuda.kernel("relu.cu", "relu_backward")


def forward_kernel(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    check_counts("relu", x=x.size)
    y = array_module(x).empty(x.shape, x.dtype)
    _forward(cuda.blocks(x.size), cuda.BLOCK, packed(x), y, x.size)
    return y, (y,)


def backward_kernel(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was positive."""
    (y,) = saved
    gx = array_module(y).empty(y.shape, y.dtype)
    _backward(cuda.blocks(y.size), cuda.BLOCK, packed(gy), packed(y), gx, y.size)
    return (gx,)


OP = Op(
    "relu",
    {
        "array": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    elementwise_cost(1),
    kernel="kernel",
)


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
