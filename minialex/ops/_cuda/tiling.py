"""How a product of matrices is shared out among blocks of threads.

The host's half of ``kernels/register_product.cuh`` and ``kernels/sum_partials.cu``, for conv2d and
linear. A block of 16 x `rows` threads computes a tile of the result. Where tiles are too few to
keep a GPU busy, each sum is cut into *parts* (split-K), which are computed side by side and added
up in order: the same bits in every run. A few parts are added up by the block that finishes a tile
last (a fix-up, ``kernels/split_sum.cuh``), many by another launch, in which all of the GPU reads.

`cut` weighs that up by arithmetic for an H100 or H200, not by measuring on the device at hand, so
that the choice, and with it the result, is the same on all of them.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from minialex import cuda
from minialex.arrays import Array, address_of, array_module, device_of, on_device

DEPTH = 8
"""How many terms of its sums a block takes in at a time, as in ``register_product.cuh``."""

COLUMNS = 16
ROWS = (4, 8, 16)
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

SCRATCH = 64 << 20
"""The most bytes that parts, or the patches of an image block, may take: about the L2 cache."""

# Of an H100, by its datasheet: multiprocessors, instructions a clock on each, and what one more
# launch costs in clocks.
MULTIPROCESSORS = 132
LANES = 128
LAUNCH_CLOCKS = 5000
# Of its L2 cache: bytes a clock to one multiprocessor and to all at once, and how long an answer
# takes. A fix-up begins with three of them: the last stores, the fence and the counter.
L2_BYTES_A_CLOCK = 64
L2_BYTES_A_CLOCK_TO_ALL = 24 * MULTIPROCESSORS
L2_LATENCY_CLOCKS = 300
ARRIVAL_CLOCKS = 3 * L2_LATENCY_CLOCKS
# How long a number takes to come from memory, and how many blocks a multiprocessor holds, which
# wait for theirs side by side (resident_blocks in the kernels).
LATENCY_CLOCKS = 700
RESIDENT = {4: 6, 8: 3, 16: 2}
# Instructions to fetch one number into shared memory, and steps that a block's start and end take.
FETCH = 8
EDGES = 4

WORKSPACE = ("partials", "arrived")
BIAS_GRADIENT = ("gb", "gb_partials", "gb_arrived")
"""Pointers that kernels take, and that may be null: where there is one part, or nobody asks."""

_sum_partials = cuda.kernel("sum_partials.cu", "sum_partials", optional=("b",))


class Cut(NamedTuple):
    """How one product is cut: threads are `rows` x 16, sums come in `parts` of `depth` terms.

    `fix_up` says who adds up the parts of a tile: its last block, or else another launch.
    """

    rows: int
    tiles: int
    parts: int
    depth: int
    fix_up: bool

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return self.rows * COLUMNS


@functools.lru_cache(maxsize=4096)
def cut(M: int, N: int, K: int, *, copies: int, itemsize: int, most_parts: int = 64) -> Cut:
    """Return how to cut `copies` products of an (M, K) matrix with a (K, N) one.

    Parameters
    ----------
    M, N, K, copies : int
    itemsize : int
        Bytes of an element: 4 or 8.
    most_parts : int
        Into how many parts a sum may be cut.
    """
    steps = max(1, -(-K // DEPTH))
    choices = [
        _plan(M, N, steps, itemsize, rows, parts, fix_up)
        for rows in reversed(ROWS)
        for parts in PARTS
        if parts <= min(most_parts, steps)
        for fix_up in ((True, False) if parts > 1 else (False,))
    ]
    within = [c for c in choices if c.parts == 1 or _scratch(c, M * N, copies, itemsize) <= SCRATCH]
    return min(within, key=lambda c: _clocks(c, M * N, copies, itemsize))


def _plan(M: int, N: int, steps: int, itemsize: int, rows: int, parts: int, fix_up: bool) -> Cut:
    depth = DEPTH * -(-steps // parts)
    return Cut(rows, _tiles(M, N, rows, itemsize), -(-steps * DEPTH // depth), depth, fix_up)


def _tile(rows: int, itemsize: int) -> tuple[int, int]:
    """Return the rows and columns of a tile: each thread has two vectors of 16 bytes of each."""
    each = 2 * (16 // itemsize)
    return rows * each, COLUMNS * each


def _tiles(M: int, N: int, rows: int, itemsize: int) -> int:
    height, width = _tile(rows, itemsize)
    return -(-M // height) * -(-N // width)


def _tile_size(rows: int, itemsize: int) -> int:
    height, width = _tile(rows, itemsize)
    return height * width


def _scratch(how: Cut, outputs: int, copies: int, itemsize: int) -> int:
    """Return how many bytes the parts take."""
    whole = how.tiles * _tile_size(how.rows, itemsize) if how.fix_up else outputs
    return how.parts * whole * copies * itemsize


def _clocks(how: Cut, outputs: int, copies: int, itemsize: int) -> float:
    """Return about how long products of so many outputs take, cut like that."""
    height, width = _tile(how.rows, itemsize)
    # Doubles are multiplied at half the rate of floats.
    multiplications = height * width * DEPTH * (itemsize // 4)
    step = (multiplications + FETCH * (height + width) * DEPTH) / LANES
    blocks = how.tiles * copies * how.parts
    turns = max(1, -(-blocks // MULTIPROCESSORS))
    step = max(step, LATENCY_CLOCKS / min(turns, RESIDENT[how.rows]))
    clocks = turns * (how.depth // DEPTH + EDGES) * step
    if how.parts == 1:
        return clocks
    if how.fix_up:
        return clocks + _fix_up_clocks(how, copies, itemsize)
    moved = (2 * how.parts + 1) * outputs * copies * itemsize
    return clocks + LAUNCH_CLOCKS + moved / L2_BYTES_A_CLOCK_TO_ALL


def _fix_up_clocks(how: Cut, copies: int, itemsize: int) -> float:
    """Return about how long tiles take whose last blocks read all parts, one after the other."""
    part = _tile_size(how.rows, itemsize) * itemsize
    # Some 45 of a thread's 64 numbers of a part are on their way at a time, so it waits twice.
    alone = how.parts * (part / L2_BYTES_A_CLOCK + 2 * L2_LATENCY_CLOCKS)
    together = 2 * how.tiles * copies * how.parts * part / L2_BYTES_A_CLOCK_TO_ALL
    return ARRIVAL_CLOCKS + max(alone, together)


def in_vectors(*matrices: tuple[Array, int]) -> bool:
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
        Where they go; None where nobody wants them, and then there are no blocks.
    total, length : int
        How many images or rows there are, and how many make a part.
    across : int
        How many blocks compute one part.
    """

    out: Array | None
    total: int
    length: int
    across: int

    @property
    def parts(self) -> int:
        """How many parts the sums are cut into."""
        return max(1, -(-self.total // self.length))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return 0 if self.out is None else self.across * self.parts

    @property
    def counted(self) -> int:
        """How many counters they need."""
        return 0 if self.out is None or self.parts == 1 else self.across

    def room(self) -> Array | None:
        """Return memory for the parts: None where there is one, or none."""
        if self.out is None or self.parts == 1:
            return None
        return array_module(self.out).empty((self.parts, self.out.size), self.out.dtype)  # type: ignore[no-any-return]

    def launch(self, kernel: cuda.Kernel, threads: int, gy: Array, *sizes: int) -> None:
        """Compute them in a launch of their own."""
        (arrived,) = counters(gy, self.counted)
        arrays = gy, self.out, self.room(), arrived
        kernel(self.blocks, threads, *arrays, *sizes, self.length)


def multiply(
    kernel: cuda.Kernel,
    how: Cut,
    copies: int,
    arrays: tuple[Array, ...],
    out: Array,
    sizes: tuple[Any, ...],
    *,
    bias: tuple[Array | None, ...] = (),
    inner: int = 1,
    add: bool = False,
    beside: BiasGradient | None = None,
) -> None:
    """Write products to `out`, or add them to it, with as many launches as that takes.

    Parameters
    ----------
    kernel : Kernel
        Takes `arrays`, `bias`, the result, the workspace for parts and its counters, `sizes` and
        the depth of a part.
    how : Cut
    copies : int
        How many products there are side by side.
    bias : () or (b,)
        Nothing where the kernel takes no bias; b, or None, where it does.
    inner : int
        How many elements of `out` in a row have the same bias.
    add : bool
        Whether to add to what `out` holds, which takes another launch.
    beside : BiasGradient, optional
        What blocks beyond the tiles compute, for a kernel that has them: one that takes these sums,
        their workspace and counters before `sizes`, and their length and the tiles after.
    """
    xp, tiles = array_module(out), how.tiles * copies
    apart = add or (how.parts > 1 and not how.fix_up)
    fix_up = how.fix_up and not add
    target = xp.empty((how.parts, *out.shape), out.dtype) if apart else out
    size = _tile_size(how.rows, out.itemsize)
    parts = xp.empty((tiles, how.parts, size), out.dtype) if fix_up else None
    counted = beside.counted if beside else 0
    arrived, sums_arrived = counters(out, tiles if fix_up else 0, counted)

    x = how.tiles
    sums: tuple[Array | None, ...] = ()
    if beside:
        x += -(-beside.blocks // (how.parts * copies))
        sums = beside.out, beside.room(), sums_arrived
        sizes = *sizes, beside.length, how.tiles
    given = *arrays, *((None,) * len(bias) if apart else bias), target, parts, arrived, *sums
    kernel((x, how.parts, copies), how.threads, *given, *sizes, how.depth, ROWS=how.rows)
    if apart:
        add_up(target, out, b=next(iter(bias), None), inner=inner, add=add)


class _Kept(threading.local):
    """The counters of each stream that this thread launches on, by device and stream."""

    def __init__(self) -> None:
        # All that there ever were: a graph of launches goes on using those that it was made with.
        self.arrays: dict[tuple[int, int], list[Array]] = {}


_kept = _Kept()
_LEAST_COUNTERS = 1 << 14


def counters(like: Array, *counts: int) -> tuple[Array | None, ...]:
    """Return that many zeros for blocks of one launch to count themselves in with; None for 0.

    A launch leaves zeros behind (``kernels/split_sum.cuh``), so the launches of a stream, one after
    the other, share an array that is set to zero once. A CUDA graph goes on using that of the
    stream on which it was captured, so it must not run at the same time as that stream's work; if
    nothing had run there before, it sets its own to zero.
    """
    total = sum(counts)
    every = _zeros(like, total) if total else None
    ends = accumulate(counts)
    return tuple(
        every[end - count : end] if every is not None and count else None
        for count, end in zip(counts, ends, strict=True)
    )


def _zeros(like: Array, count: int) -> Array:
    where = device_of(like)
    with on_device(where) as xp:
        if where.kind == "cpu":
            return xp.zeros(count, np.uint32)  # type: ignore[no-any-return]
        stream = xp.cuda.get_current_stream()
        kept = _kept.arrays.setdefault((where.index, stream.ptr), [])
        if kept and kept[-1].size >= count:
            return kept[-1]
        zeros: Array = xp.zeros(max(count, _LEAST_COUNTERS), np.uint32)
        # A capture only notes that they are to be set to zero: nobody else may count on that.
        if not stream.is_capturing():
            kept.append(zeros)
        return zeros


def add_up(
    parts: Array, out: Array, *, b: Array | None = None, inner: int = 1, add: bool = False
) -> None:
    """Write the sum of `parts` (S, ...) to `out` (...), in order, plus what `out` holds and `b`."""
    channels = 1 if b is None else b.size
    sizes = (len(parts), out.size, inner, channels, add)
    _sum_partials(cuda.blocks(out.size), cuda.BLOCK_SIZE, parts, b, out, *sizes)
