"""How the kernels of matrix products go through the terms of their sums, and what that costs.

The host's half of the main loops of ``kernels/panel_product.cuh`` and
``kernels/multistage_product.cuh``: tiles, stages, and the clocks of a step on an H100, by which
``tiling.py`` divides a product among blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

TILE_K = 8
"""How many terms of its sums a block takes in at a time: as in ``panel_product.cuh``."""

THREAD_COLUMNS = 16
THREAD_ROWS = (4, 8, 16)
"""How many columns of threads a block has, and how many rows it may have."""

# Of a multiprocessor of an H100.
INSTRUCTIONS_PER_CLOCK = 128
INSTRUCTIONS_PER_FETCH = 8
"""What it takes to fetch one number into shared memory."""
# How many products a clock brings by mma.sync on TF32 numbers: 62 % of the most there are, 1024.
TENSOR_PRODUCTS_PER_CLOCK = 635

# Of multistage_product.cuh: the bytes of a copy and of a line of a stage, the stages at most, and
# by `TilePlan.rows` a block's threads and the blocks that a multiprocessor holds.
CHUNK_BYTES = 16
LINE_BYTES = 64
MAX_STAGES = 4
STAGE_THREADS = {4: 64, 8: 64, 16: 128}
STAGE_BLOCKS = {4: 4, 8: 4, 16: 2}
SCHEDULERS, WARP_THREADS = 4, 32


@dataclass(frozen=True, eq=False)
class MainLoop:
    """How a kernel goes through the terms of its sums, and how fast.

    Attributes
    ----------
    tile_k : int
        How many terms of its sums a block takes in at a time.
    threads : dict
        Of a block, by `TilePlan.rows`, as are those that follow.
    resident_blocks : dict
        How many blocks a multiprocessor holds, which wait for memory side by side.
    step_clocks : dict
        What a step takes of a multiprocessor, if nothing waits for memory; of floats.
    steps_in_flight : int
        How many steps' numbers are on their way from memory at a time.
    """

    tile_k: int
    threads: Mapping[int, int]
    resident_blocks: Mapping[int, int]
    step_clocks: Mapping[int, float]
    steps_in_flight: int


def tile_shape(rows: int, itemsize: int) -> tuple[int, int]:
    """Return a tile's rows and columns: of each, as many as two 16-byte vectors hold a thread."""
    per_thread = 2 * (16 // itemsize)
    return rows * per_thread, THREAD_COLUMNS * per_thread


def _double_buffered_clocks(rows: int) -> float:
    height, width = tile_shape(rows, 4)
    fetches = (height + width) * INSTRUCTIONS_PER_FETCH
    return TILE_K * (height * width + fetches) / INSTRUCTIONS_PER_CLOCK


DOUBLE_BUFFERED = MainLoop(
    TILE_K,
    {rows: rows * THREAD_COLUMNS for rows in THREAD_ROWS},
    {4: 6, 8: 3, 16: 2},
    {rows: _double_buffered_clocks(rows) for rows in THREAD_ROWS},
    1,
)
"""That of ``panel_product.cuh``, with `resident_blocks` as in the kernels."""


@dataclass(frozen=True)
class StageArithmetic:
    """What ``multistage_product.cuh`` multiplies.

    Attributes
    ----------
    itemsize : int
        Bytes of a number in its panels.
    products : float
        How many products of TF32 numbers take as long as one of its.
    slots : dict
        How many instructions a warp issues for a stage, by `TilePlan.rows`: counted in sm_90's
        machine code, the mean of conv2d's three.
    """

    itemsize: int
    products: float
    slots: Mapping[int, int]


STAGE_ARITHMETICS = {
    "multistage_tf32x3": StageArithmetic(4, 3, {4: 615, 8: 975, 16: 925}),
    "multistage_tf32": StageArithmetic(4, 1, {4: 355, 8: 500, 16: 460}),
    "bf16": StageArithmetic(2, 0.5, {4: 335, 8: 465, 16: 420}),
}
"""By rung."""


@functools.cache
def multistage(rung: str) -> MainLoop:
    """Return that of ``multistage_product.cuh``, for one of `STAGE_ARITHMETICS`."""
    clocks = {rows: _multistage_clocks(rows, STAGE_ARITHMETICS[rung]) for rows in THREAD_ROWS}
    terms = LINE_BYTES // STAGE_ARITHMETICS[rung].itemsize
    return MainLoop(terms, STAGE_THREADS, STAGE_BLOCKS, clocks, MAX_STAGES - 2)


def _multistage_clocks(rows: int, one: StageArithmetic) -> float:
    """Return what the part of a multiprocessor that has most to do takes for a stage of a block."""
    (height, width), warps = tile_shape(rows, 4), STAGE_THREADS[rows] // WARP_THREADS
    products = height * width * LINE_BYTES // one.itemsize * one.products
    issuing = one.slots[rows] * warps / SCHEDULERS
    # 128 bytes at a time: a copy takes three passes of L1 and shared memory, a load of a warp one
    lines = 3 * (height + width) + warps * (min(height, 64) + 64)
    return max(products / TENSOR_PRODUCTS_PER_CLOCK, issuing, lines * LINE_BYTES / 128)


def padded(count: int, chunk: int) -> int:
    """Return `count`, and as many more as whole chunks take."""
    return -(-count // chunk) * chunk


def num_stages(capability: int, itemsize: int) -> int:
    """Return how many stages ``multistage_product.cuh`` has on a GPU (`cuda.capability`).

    As many as two blocks on a multiprocessor have shared memory for, four at most; `itemsize` is
    that of a `StageArithmetic`.
    """
    has_little = capability in (86, 89) or capability >= 120
    return MAX_STAGES if not has_little else 2 if itemsize == 2 else 3


def stages_bytes(rows: int, capability: int, rung: str) -> int:
    """Return the shared memory that a block with so many `rows` of threads has its stages in."""
    stages = num_stages(capability, STAGE_ARITHMETICS[rung].itemsize)
    return stages * sum(tile_shape(rows, 4)) * LINE_BYTES
