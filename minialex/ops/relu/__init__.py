"""Rectified linear unit (Krizhevsky, Sutskever and Hinton 2012, section 3.1).

    y  = max(x, 0)
    gx = gy where y > 0, else 0          the subgradient at x = 0 is 0

NaN passes through forward. The output tells all that backward needs, so the input can be freed.

    plain    blocks that stay in a core's cache
             saved = (on,): where y > 0, a bit an element: bit i % 8 of byte i // 8 is for element i
             of y laid out flat. So y can be freed as well where the next op does not need it, as a
             pooling does not.
    kernel   kernels/relu.cu: a thread an element
             saved = (y,)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import check_float, elementwise_cost, select
from minialex.ops._cuda.launching import check_counts, packed

BITS = 8

CACHE, LEAST = 1 << 21, 1 << 20
"""How many bytes of an array a core works on at a time, and how many are worth a core of their own.

In smaller blocks, cores wait for each other's Python more than they gain from their caches.
"""


def forward(x: Array, *, keep: bool = True) -> tuple[Array, tuple[Array, ...]]:
    """Return max(x, 0)."""
    xp = array_module(x)
    on = memory.empty(xp, (-(-x.size // BITS),), np.uint8)
    y = memory.empty(xp, x.shape, x.dtype)
    elements, results = xp.ascontiguousarray(x).reshape(-1), y.reshape(-1)

    def some(blocks: list[slice]) -> None:
        room = memory.empty(xp, (max(b.stop - b.start for b in blocks) * BITS,), bool)
        for block in blocks:
            part = _elements(block)
            result = results[part]
            xp.maximum(elements[part], 0, out=result)
            if keep:
                is_on = xp.greater(result, 0, out=room[: result.size])
                on[block] = xp.packbits(is_on, bitorder="little")

    threads.run(some, _shares(xp, on, x.dtype))
    return y, (on,) * keep


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was positive."""
    (on,) = saved
    xp = array_module(gy)
    gx = memory.empty(xp, gy.shape, gy.dtype)
    given, results = xp.ascontiguousarray(gy).reshape(-1), gx.reshape(-1)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            part = _elements(block)
            is_on = xp.unpackbits(on[block], bitorder="little")
            select(given[part], is_on[: given[part].size], out=results[part])

    threads.run(some, _shares(xp, on, gy.dtype))
    return (gx,)


def _elements(bits: slice) -> slice:
    """Return the elements that some bytes of bits tell of."""
    return slice(bits.start * BITS, bits.stop * BITS)


def _shares(xp: Any, on: Array, dtype: np.dtype[Any]) -> list[list[slice]]:
    return blocks_per_worker(xp, len(on), BITS * dtype.itemsize, CACHE, LEAST)


_forward = cuda.kernel("relu.cu", "relu_forward")
_backward = cuda.kernel("relu.cu", "relu_backward")


def forward_kernel(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    check_counts("relu", x=x.size)
    y = array_module(x).empty(x.shape, x.dtype)
    _forward(cuda.blocks(x.size), cuda.BLOCK_SIZE, packed(x), y, x.size)
    return y, (y,)


def backward_kernel(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was positive."""
    (y,) = saved
    gx = array_module(y).empty(y.shape, y.dtype)
    _backward(cuda.blocks(y.size), cuda.BLOCK_SIZE, packed(gy), packed(y), gx, y.size)
    return (gx,)


OP = Op(
    "relu",
    {
        "plain": Implementation(forward, backward, own_saved=True),
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

    Raises
    ------
    TypeError
        If `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    check_float("relu", x=x)
    return OP(x)
