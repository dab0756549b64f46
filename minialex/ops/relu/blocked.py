"""relu in blocks that stay in a core's cache, spread over the CPU's cores.

saved = (is_nonzero,): where y is not 0 (it is more, or NaN), one bit per element. Bit i % 8 of byte
i // 8 is for element i of y laid out flat:

    y           0 3 2 0 0 0 7 0   5 0
    is_nonzero  01000110          00000001      bit 0 of a byte is written last

So y itself can be freed where the next op does not need it, as a pooling does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import select

BITS = 8
"""How many elements one byte of `is_nonzero` is for."""

BLOCK_BYTES = 1 << 21
"""The part of an array that a core works on at a time.

In smaller blocks, threads contend for the GIL longer than their caches save.
"""

MIN_BYTES_PER_WORKER = 1 << 20
"""The part of an array that is worth another core."""


def forward(x: Array, *, keep: bool = True) -> tuple[Array, tuple[Array, ...]]:
    """Return max(x, 0)."""
    xp = array_module(x)
    is_nonzero = memory.empty(xp, (-(-x.size // BITS),), np.uint8)
    y = memory.empty(xp, x.shape, x.dtype)
    flat_x, flat_y = xp.ascontiguousarray(x).reshape(-1), y.reshape(-1)

    def rectify_blocks(blocks: list[slice]) -> None:
        buffer = memory.empty(xp, (max(b.stop - b.start for b in blocks) * BITS,), bool)
        for block in blocks:
            elements = _elements(block)
            result = flat_y[elements]
            xp.maximum(flat_x[elements], 0, out=result)
            if keep:
                nonzero = xp.not_equal(result, 0, out=buffer[: result.size])
                is_nonzero[block] = xp.packbits(nonzero, bitorder="little")

    threads.run(rectify_blocks, _blocks_of_bytes(xp, is_nonzero, x.dtype))
    return y, (is_nonzero,) * keep


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was not 0."""
    (is_nonzero,) = saved
    xp = array_module(gy)
    gx = memory.empty(xp, gy.shape, gy.dtype)
    flat_gy, flat_gx = xp.ascontiguousarray(gy).reshape(-1), gx.reshape(-1)

    def select_blocks(blocks: list[slice]) -> None:
        for block in blocks:
            g = flat_gy[_elements(block)]
            nonzero = xp.unpackbits(is_nonzero[block], bitorder="little")
            select(g, nonzero[: g.size], out=flat_gx[_elements(block)])

    threads.run(select_blocks, _blocks_of_bytes(xp, is_nonzero, gy.dtype))
    return (gx,)


def _elements(block: slice) -> slice:
    """Return the elements that a block of bytes of bits is for."""
    return slice(block.start * BITS, block.stop * BITS)


def _blocks_of_bytes(xp: Any, is_nonzero: Array, dtype: np.dtype[Any]) -> list[list[slice]]:
    """Return each worker's blocks, counted in bytes of bits so that no byte has two writers."""
    bytes_per_byte = BITS * dtype.itemsize
    return blocks_per_worker(xp, len(is_nonzero), bytes_per_byte, BLOCK_BYTES, MIN_BYTES_PER_WORKER)
