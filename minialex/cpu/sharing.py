"""How array operations are shared out: slices or blocks per worker, blocks that fit a cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.cpu import threads

_GPU_BLOCK_BYTES = 1 << 30
"""The size of a block on a GPU, which only large blocks keep busy."""

MIN_BYTES_PER_WORKER = 1 << 20
"""From how many bytes per core on several cores are used.

To read and write as many takes about 0.1 ms, and to wake another core as long.
"""

MULTIPLICATIONS_PER_BYTE = 8
"""How many multiplications in matrix products take as long as a byte."""

_forced: ContextVar[tuple[int, int] | None] = ContextVar("forced", default=None)


@contextlib.contextmanager
def sharing_forced(workers: int, blocks: int) -> Iterator[None]:
    """While the block runs, cut a CPU's work for so many workers, in so many blocks for each.

    However few cores there are and however small the work is: so that a small case goes through
    what a large one does.
    """
    token = _forced.set((workers, blocks))
    try:
        yield
    finally:
        _forced.reset(token)


def is_sharing_forced() -> bool:
    """Return whether what is too small to be shared out is shared out all the same."""
    return _forced.get() is not None


def slices_per_worker(xp: Any, total: int, item_bytes: float) -> list[slice]:
    """Cut ``range(total)`` into a slice for each worker: one on a GPU.

    There are fewer where each would have less to do than `MIN_BYTES_PER_WORKER`, at `item_bytes`
    for each of the items.
    """
    return threads.chunks(total, _workers(xp, total * item_bytes, MIN_BYTES_PER_WORKER))


def _workers(xp: Any, total_bytes: float, min_bytes_per_worker: int) -> int:
    if xp is not np:
        return 1
    forced = _forced.get()
    if forced is not None:
        return forced[0]
    most = _worthwhile(total_bytes, min_bytes_per_worker)
    return min(threads.cores(), most) if most > 1 else 1


def _worthwhile(total_bytes: float, min_bytes_per_worker: int) -> int:
    return int(total_bytes // min_bytes_per_worker)


def blocks_per_worker(
    xp: Any,
    N: int,
    image_bytes: int,
    block_bytes: int,
    min_bytes_per_worker: int = MIN_BYTES_PER_WORKER,
) -> list[list[slice]]:
    """Share `N` images out to the workers: a list of blocks of images, as below, for each.

    There are fewer workers where each would have fewer than `min_bytes_per_worker`.
    """
    slices = threads.chunks(N, _workers(xp, N * image_bytes, min_bytes_per_worker))
    return [cache_blocks(xp, part, image_bytes, block_bytes) for part in slices]


def cache_blocks(xp: Any, items: slice, item_bytes: int, block_bytes: int) -> list[slice]:
    """Cut a slice of items, such as images, into blocks of about the same size.

    A block on a CPU has at most `block_bytes` (but one item at least), so that it stays in a core's
    cache; on a GPU, which only large blocks keep busy, a gigabyte.
    """
    per_block = max(1, (block_bytes if xp is np else _GPU_BLOCK_BYTES) // max(1, item_bytes))
    total = items.stop - items.start
    count, forced = -(-total // per_block), _forced.get()
    if forced is not None and xp is np:
        count = max(count, forced[1])
    blocks = threads.chunks(total, count)
    return [slice(items.start + block.start, items.start + block.stop) for block in blocks]


def image_blocks(
    x: Array, block_bytes: int, min_bytes_per_worker: int = MIN_BYTES_PER_WORKER
) -> list[list[slice]]:
    """Share the images of `x` (N, ...) out to the workers, in blocks of at most `block_bytes`."""
    xp, image_bytes = array_module(x), prod(x.shape[1:]) * x.itemsize
    return blocks_per_worker(xp, len(x), image_bytes, block_bytes, min_bytes_per_worker)
