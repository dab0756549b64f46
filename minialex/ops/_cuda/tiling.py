"""How a matrix product is divided among blocks of threads: tiles, and split-K.

The host's half of ``kernels/register_product.cuh`` and ``kernels/sum_partials.cu``, for conv2d and
linear. A block of 16 x `rows` threads computes a tile of the result. Where tiles are too few to
keep a GPU busy, each sum is split into *parts* (split-K), which are computed side by side and added
up in order: the same bits in every run. A few parts are added up by the block that finishes a tile
last (a fix-up, ``kernels/split_sum.cuh``), many by another launch, in which all of the GPU reads.

The gradient of the filters of AlexNet's second convolution, at batch 128, is (192, 1600), and each
element the sum of K = 128 x 27 x 27 = 93312 terms. Tiles of 64 x 128 are 3 x 13 = 39, for 132
multiprocessors. `plan_tiles` splits K by 16: 39 x 16 = 624 blocks compute sums of 5832 terms each,

    part 0    terms     0 to  5831
    part 1    terms  5832 to 11663
    ...
    part 15   terms 87480 to 93311

and another launch adds up the 16 parts of each element.

`plan_tiles` weighs that up by arithmetic for an H100 or H200, not by measuring on the device at
hand, so that the choice, and with it the result, is the same on all of them.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from minialex import cuda
from minialex.arrays import Array, address_of, array_module, device_of, on_device

TILE_K = 8
"""How many terms of its sums a block takes in at a time: as in ``panel_product.cuh``."""

THREAD_COLUMNS = 16
THREAD_ROWS = (4, 8, 16)
"""How many columns of threads a block has, and how many rows it may have."""

SPLIT_K = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Into how many parts a sum may be split."""

MAX_SCRATCH_BYTES = 64 << 20
"""How much memory parts, or the patches of a block of images, may take: about the L2 cache."""

# Of an H100, by its datasheet: multiprocessors, instructions per clock on each, and what one more
# launch costs in clocks.
MULTIPROCESSORS = 132
INSTRUCTIONS_PER_CLOCK = 128
LAUNCH_CLOCKS = 5000
# Of its L2 cache: bytes per clock to one multiprocessor and to all at once, and how long an answer
# takes. A fix-up begins with three of them: the last stores, the fence and the counter.
L2_BYTES_PER_CLOCK = 64
L2_BYTES_PER_CLOCK_TO_ALL = 24 * MULTIPROCESSORS
L2_LATENCY_CLOCKS = 300
ARRIVAL_CLOCKS = 3 * L2_LATENCY_CLOCKS
# How long a number takes to come from memory.
DRAM_LATENCY_CLOCKS = 700
INSTRUCTIONS_PER_FETCH = 8
"""What it takes to fetch one number into shared memory."""
PROLOGUE_STEPS = 4
"""How many steps take as long as the start and the end of a block."""

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

WORKSPACE = ("partials", "arrived")
BIAS_GRADIENT = ("gb", "gb_partials", "gb_arrived")
"""Pointers that kernels take, and that may be null: where there is one part, or no bias."""

_sum_partials_kernel = cuda.kernel("sum_partials.cu", "sum_partials", optional=("b",))


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
    "multistage_tf32x3": StageArithmetic(4, 3, {4: 640, 8: 1005, 16: 940}),
    "multistage_tf32": StageArithmetic(4, 1, {4: 380, 8: 535, 16: 480}),
    "bf16": StageArithmetic(2, 0.5, {4: 375, 8: 515, 16: 450}),
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


class TilePlan(NamedTuple):
    """How one product is divided among blocks.

    Attributes
    ----------
    rows : int
        A tile has as many rows as that many threads, each with two vectors of them.
    threads : int
        Of a block.
    tiles : int
        Tiles of the result.
    split_k : int
        Parts of each sum.
    depth : int
        Terms per part, a multiple of the main loop's `tile_k`.
    fix_up : bool
        Whether the last block of a tile adds up its parts, or else another launch.
    """

    rows: int
    threads: int
    tiles: int
    split_k: int
    depth: int
    fix_up: bool


@functools.lru_cache(maxsize=4096)
def plan_tiles(
    M: int,
    N: int,
    K: int,
    *,
    batch_count: int,
    itemsize: int,
    max_split_k: int = 64,
    loop: MainLoop = DOUBLE_BUFFERED,
) -> TilePlan:
    """Return the fastest plan for `batch_count` products of an (M, K) matrix with a (K, N) one.

    Parameters
    ----------
    M, N, K, batch_count : int
    itemsize : int
        Bytes per element: 4 or 8.
    max_split_k : int
        Into how many parts a sum may be split.
    loop : MainLoop
        That of the kernel.
    """
    steps = max(1, -(-K // loop.tile_k))
    plans = [
        make_plan(M, N, steps, itemsize, rows, split_k, fix_up, loop)
        for rows in reversed(THREAD_ROWS)
        for split_k in SPLIT_K
        if split_k <= min(max_split_k, steps)
        for fix_up in ((True, False) if split_k > 1 else (False,))
    ]
    size = M * N, batch_count, itemsize
    fitting = [p for p in plans if p.split_k == 1 or _scratch_bytes(p, *size) <= MAX_SCRATCH_BYTES]
    return min(fitting, key=lambda plan: _estimated_clocks(plan, *size, loop))


def make_plan(
    M: int,
    N: int,
    steps: int,
    itemsize: int,
    rows: int,
    split_k: int,
    fix_up: bool,
    loop: MainLoop = DOUBLE_BUFFERED,
) -> TilePlan:
    """Return that plan, with fewer parts where some would be left without terms."""
    depth = loop.tile_k * -(-steps // split_k)
    height, width = tile_shape(rows, itemsize)
    tiles = -(-M // height) * -(-N // width)
    parts = -(-steps * loop.tile_k // depth)
    return TilePlan(rows, loop.threads[rows], tiles, parts, depth, fix_up)


def _tile_size(rows: int, itemsize: int) -> int:
    height, width = tile_shape(rows, itemsize)
    return height * width


def _scratch_bytes(plan: TilePlan, outputs: int, batch_count: int, itemsize: int) -> int:
    """Return how many bytes the parts take: of whole tiles where blocks add them up."""
    size = plan.tiles * _tile_size(plan.rows, itemsize) if plan.fix_up else outputs
    return plan.split_k * size * batch_count * itemsize


def _estimated_clocks(
    plan: TilePlan, outputs: int, batch_count: int, itemsize: int, loop: MainLoop
) -> float:
    """Return about how long products of so many outputs take with that plan."""
    # Of doubles there are a quarter as many in a tile, and they are multiplied at half the rate.
    step = loop.step_clocks[plan.rows] / (2 if itemsize == 8 else 1)
    blocks = plan.tiles * batch_count * plan.split_k
    waves = max(1, -(-blocks // MULTIPROCESSORS))
    # Each warp stays with one scheduler, so that blocks of two warps want to be two at least.
    together = min(waves, loop.resident_blocks[plan.rows])
    step *= max(1, SCHEDULERS * WARP_THREADS / (together * plan.threads))
    step = max(step, DRAM_LATENCY_CLOCKS / (together * loop.steps_in_flight))
    clocks = waves * (plan.depth // loop.tile_k + PROLOGUE_STEPS) * step
    if plan.split_k == 1:
        return clocks
    if plan.fix_up:
        return clocks + _fix_up_clocks(plan, batch_count, itemsize)
    moved = (2 * plan.split_k + 1) * outputs * batch_count * itemsize
    return clocks + LAUNCH_CLOCKS + moved / L2_BYTES_PER_CLOCK_TO_ALL


def _fix_up_clocks(plan: TilePlan, batch_count: int, itemsize: int) -> float:
    """Return about how long tiles take whose last blocks read all parts, one after the other."""
    part = _tile_size(plan.rows, itemsize) * itemsize
    # Some 45 of a thread's 64 numbers of a part are in flight at a time, so it waits twice.
    alone = plan.split_k * (part / L2_BYTES_PER_CLOCK + 2 * L2_LATENCY_CLOCKS)
    moved = 2 * plan.tiles * batch_count * plan.split_k * part
    return ARRIVAL_CLOCKS + max(alone, moved / L2_BYTES_PER_CLOCK_TO_ALL)


def is_vector_aligned(*matrices: tuple[Array, int]) -> bool:
    """Return whether matrices, given with the length of their rows, can be read in vectors.

    A vector is 16 bytes; every row must begin at a multiple of that and hold whole vectors.
    """
    return all(address_of(a) % 16 == 0 and row * a.dtype.itemsize % 16 == 0 for a, row in matrices)


@dataclass(frozen=True)
class BiasGradient:
    """The sums of a gradient over its images or rows, and the blocks of threads that compute them.

    Parameters
    ----------
    out : Array or None
        What they are written to; None where they are not needed, and then there are no blocks.
    total, part_length : int
        How many images or rows there are, and how many make a part.
    blocks_per_part : int
    """

    out: Array | None
    total: int
    part_length: int
    blocks_per_part: int

    @property
    def num_parts(self) -> int:
        """Into how many parts the sums are split."""
        return max(1, -(-self.total // self.part_length))

    @property
    def num_blocks(self) -> int:
        """How many blocks there are."""
        return 0 if self.out is None else self.blocks_per_part * self.num_parts

    @property
    def num_counters(self) -> int:
        """How many counters they need."""
        return 0 if self.out is None or self.num_parts == 1 else self.blocks_per_part

    def empty_parts(self) -> Array | None:
        """Return memory for the parts: None where there is one, or none."""
        if self.out is None or self.num_parts == 1:
            return None
        shape = self.num_parts, self.out.size
        return array_module(self.out).empty(shape, self.out.dtype)  # type: ignore[no-any-return]

    def launch(self, kernel: cuda.Kernel, threads: int, gy: Array, *sizes: int) -> None:
        """Compute them in a launch of their own."""
        (arrived,) = counters(gy, self.num_counters)
        arrays = gy, self.out, self.empty_parts(), arrived
        kernel(self.num_blocks, threads, *arrays, *sizes, self.part_length)


def launch_product(
    kernel: cuda.Kernel,
    plan: TilePlan,
    batch_count: int,
    arrays: tuple[Array, ...],
    out: Array,
    sizes: tuple[Any, ...],
    *,
    bias: tuple[Array | None, ...] = (),
    inner: int = 1,
    add: bool = False,
    bias_gradient: BiasGradient | None = None,
    shared: int = 0,
) -> None:
    """Write products to `out`, or add them to it, with as many launches as that takes.

    Parameters
    ----------
    kernel : Kernel
        Takes `arrays`, `bias`, the result, the workspace for parts and its counters, `sizes` and
        the depth of a part.
    plan : TilePlan
    batch_count : int
        How many products are computed side by side.
    out : Array
        May be of bfloat16; parts of its sums are float32 then.
    bias : () or (b,)
        Nothing where the kernel takes no bias; b, or None, where it does.
    inner : int
        How many consecutive elements of `out` have the same bias.
    add : bool
        Whether to add to what `out` holds, which takes another launch.
    bias_gradient : BiasGradient, optional
        What blocks beyond the tiles compute, for a kernel that has them: one that takes these sums,
        their workspace and counters before `sizes`, and their length and the tiles after.
    shared : int
        The dynamic shared memory of a block, in bytes.
    """
    xp, tiles = array_module(out), plan.tiles * batch_count
    separate = add or (plan.split_k > 1 and not plan.fix_up)
    fix_up = plan.fix_up and not add
    dtype = np.dtype(np.float32) if out.itemsize == 2 else out.dtype
    target = xp.empty((plan.split_k, *out.shape), dtype) if separate else out
    size = _tile_size(plan.rows, dtype.itemsize)
    parts = xp.empty((tiles, plan.split_k, size), dtype) if fix_up else None
    bias_counters = bias_gradient.num_counters if bias_gradient else 0
    arrived, sums_arrived = counters(out, tiles if fix_up else 0, bias_counters)

    grid_x = plan.tiles
    sums: tuple[Array | None, ...] = ()
    if bias_gradient:
        grid_x += -(-bias_gradient.num_blocks // (plan.split_k * batch_count))
        sums = bias_gradient.out, bias_gradient.empty_parts(), sums_arrived
        sizes = *sizes, bias_gradient.part_length, plan.tiles
    given = *arrays, *((None,) * len(bias) if separate else bias), target, parts, arrived, *sums
    grid = grid_x, plan.split_k, batch_count
    kernel(grid, plan.threads, *given, *sizes, plan.depth, shared=shared, ROWS=plan.rows)
    if separate:
        sum_partials(target, out, b=next(iter(bias), None), inner=inner, add=add)


class _StreamCounters(threading.local):
    """The counters of each stream that this thread launches on, by device and stream."""

    def __init__(self) -> None:
        # All that there ever were: a graph of launches goes on using those that it was made with.
        self.arrays: dict[tuple[int, int], list[Array]] = {}


_stream_counters = _StreamCounters()

MIN_COUNTERS = 1 << 14
"""How many counters are made at least, for there to be enough from the first launch on."""


def counters(like: Array, *counts: int) -> tuple[Array | None, ...]:
    """Return that many zeros for blocks of one launch to count themselves in with; None for 0.

    A launch leaves zeros behind (``kernels/split_sum.cuh``), so the launches of a stream, one after
    the other, share an array that is set to zero once. A CUDA graph goes on using that of the
    stream on which it was captured, so it must not run at the same time as that stream's work; if
    nothing had run there before, it sets its own to zero.
    """
    total = sum(counts)
    shared = _zeros(like, total) if total else None
    ends = accumulate(counts)
    return tuple(
        shared[end - count : end] if shared is not None and count else None
        for count, end in zip(counts, ends, strict=True)
    )


def _zeros(like: Array, count: int) -> Array:
    device = device_of(like)
    with on_device(device) as xp:
        if device.kind == "cpu":
            return xp.zeros(count, np.uint32)  # type: ignore[no-any-return]
        stream = xp.cuda.get_current_stream()
        made = _stream_counters.arrays.setdefault((device.index, stream.ptr), [])
        if made and made[-1].size >= count:
            return made[-1]
        zeros: Array = xp.zeros(max(count, MIN_COUNTERS), np.uint32)
        # A capture only records that they are to be set to zero: no other launch may rely on it.
        if not stream.is_capturing():
            made.append(zeros)
        return zeros


def sum_partials(
    parts: Array, out: Array, *, b: Array | None = None, inner: int = 1, add: bool = False
) -> None:
    """Write the sum of `parts` (S, ...) to `out` (...), in order, plus what `out` holds and `b`."""
    channels = 1 if b is None else b.size
    sizes = (len(parts), out.size, inner, channels, add)
    _sum_partials_kernel(cuda.blocks(out.size), cuda.BLOCK_SIZE, parts, b, out, *sizes)
