"""relu in blocks that stay in a core's cache, spread over the CPU's cores.

saved = (is_nonzero, axes): where y is not 0 (it is more, or NaN), one bit per element, in the order
in which the elements of y lie in memory, which is that of its `axes`. Bit i % 8 of byte i // 8 is
for element i:

    y           0 3 2 0 0 0 7 0   5 0
    is_nonzero  01000110          00000001      bit 0 of a byte is written last

So y itself can be freed where the next op does not need it, as a pooling does not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import layout, memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import select

BITS = 8
"""How many elements one byte of `is_nonzero` is for."""

BLOCK_BYTES = 1 << 21
"""The part of an array that a core works on at a time.

In smaller blocks, threads contend for the GIL longer than their caches save.
"""


def forward(x: Array, *, keep: bool = True) -> tuple[Array, tuple[Any, ...]]:
    """Return max(x, 0)."""
    xp, axes = array_module(x), layout.memory_axes(x)
    is_nonzero = memory.empty(xp, (-(-x.size // BITS) if keep else 0,), np.uint8)
    y = layout.empty(xp, x.shape, x.dtype, axes)
    flat_x, flat_y = layout.flat(x, axes), layout.flat(y, axes)

    def rectify_blocks(blocks: list[slice]) -> None:
        for block in blocks:
            elements = _elements(block)
            numbers = flat_x[elements]
            result = xp.maximum(numbers, _zeros(xp, numbers), out=flat_y[elements])
            if keep:
                is_nonzero[block] = xp.packbits(result != 0, bitorder="little")

    threads.run(rectify_blocks, _blocks_of_bytes(xp, x.size, x.dtype))
    return y, (is_nonzero, axes) if keep else ()


def backward(gy: Array, saved: tuple[Array, layout.Axes]) -> Gradients:
    """Return `gy` where the output was not 0."""
    is_nonzero, axes = saved
    xp = array_module(gy)
    gx = layout.empty(xp, gy.shape, gy.dtype, axes)
    flat_gy, flat_gx = layout.flat(gy, axes), layout.flat(gx, axes)

    def select_blocks(blocks: list[slice]) -> None:
        for block in blocks:
            g = flat_gy[_elements(block)]
            nonzero = xp.unpackbits(is_nonzero[block], bitorder="little")
            select(g, nonzero[: g.size], out=flat_gx[_elements(block)])

    threads.run(select_blocks, _blocks_of_bytes(xp, gy.size, gy.dtype))
    return (gx,)


def _zeros(xp: Any, like: Array) -> Array | int:
    """Return zeros to compare a block with.

    NumPy compares arrays many numbers at a time, but an array with one number in 2.6 times as long.
    """
    return _block_of_zeros(like.dtype)[: len(like)] if xp is np else 0


@cache
def _block_of_zeros(dtype: np.dtype[Any]) -> Array:
    # a block has whole bytes of bits, and one at least
    return np.zeros(max(BLOCK_BYTES // dtype.itemsize, BITS), dtype)


def _elements(block: slice) -> slice:
    """Return the elements that a block of bytes of bits is for."""
    return slice(block.start * BITS, block.stop * BITS)


def _blocks_of_bytes(xp: Any, size: int, dtype: np.dtype[Any]) -> list[list[slice]]:
    """Return each worker's blocks, counted in bytes of bits so that no byte has two writers."""
    num_bytes, bytes_per_byte = -(-size // BITS), BITS * dtype.itemsize
    return blocks_per_worker(xp, num_bytes, bytes_per_byte, BLOCK_BYTES)
