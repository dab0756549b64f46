"""How a product of matrices is shared out among blocks of threads.

The host's half of ``kernels/register_product.cuh`` and ``kernels/sum_parts.cu``, for conv2d and
linear. A block of 16 x `rows` threads computes a tile of the result. Where tiles are too few to
keep a GPU busy, each sum is cut into *parts*, which are computed side by side and added up in
order afterwards: the same bits in every run.

`cut` weighs that up by arithmetic for an H100 or H200, not by measuring on the device at hand, so
that the choice, and with it the result, is the same on all of them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from minialex import cuda
from minialex.arrays import Array, address_of, array_module

DEPTH = 8
"""How many terms of its sums a block takes in at a time, as in ``register_product.cuh``."""

COLUMNS = 16
ROWS = (4, 8, 16)
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

SCRATCH = 64 << 20
"""The most bytes that parts, or the patches of an image block, may take: about the L2 cache."""

# Of an H100, by its datasheet: multiprocessors, instructions a clock on each, memory's bytes a
# clock, and what one more launch costs in clocks.
MULTIPROCESSORS = 132
LANES = 128
BYTES_A_CLOCK = 2000
LAUNCH_CLOCKS = 5000
# How long a number takes to come from memory, and how many blocks a multiprocessor holds, which
# wait for theirs side by side (resident_blocks in the kernels).
LATENCY_CLOCKS = 700
RESIDENT = {4: 6, 8: 3, 16: 2}
# Instructions to fetch one number into shared memory, and steps that a block's start and end take.
FETCH = 8
EDGES = 4

_sum_parts = cuda.kernel("sum_parts.cu", "sum_parts", optional=("b",))


class Cut(NamedTuple):
    """How one product is cut: threads are `rows` x 16, sums come in `parts` of `depth` terms."""

    rows: int
    tiles: int
    parts: int
    depth: int

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
    room = SCRATCH // max(1, M * N * copies * itemsize)
    counts = [p for p in PARTS if p == 1 or p <= min(most_parts, steps, room)]
    choices = [(rows, parts) for rows in reversed(ROWS) for parts in counts]
    rows, parts = min(choices, key=lambda c: _clocks(M, N, steps, copies, itemsize, *c))
    depth = DEPTH * -(-steps // parts)
    return Cut(rows, _tiles(M, N, rows, itemsize), -(-steps * DEPTH // depth), depth)


def _tile(rows: int, itemsize: int) -> tuple[int, int]:
    """Return the rows and columns of a tile: each thread has two vectors of 16 bytes of each."""
    each = 2 * (16 // itemsize)
    return rows * each, COLUMNS * each


def _tiles(M: int, N: int, rows: int, itemsize: int) -> int:
    height, width = _tile(rows, itemsize)
    return -(-M // height) * -(-N // width)


def _clocks(M: int, N: int, steps: int, copies: int, itemsize: int, rows: int, parts: int) -> float:
    """Return about how long a product takes, cut like that."""
    height, width = _tile(rows, itemsize)
    # Doubles are multiplied at half the rate of floats.
    multiplications = height * width * DEPTH * (itemsize // 4)
    step = (multiplications + FETCH * (height + width) * DEPTH) / LANES
    blocks = _tiles(M, N, rows, itemsize) * copies * parts
    turns = max(1, -(-blocks // MULTIPROCESSORS))
    step = max(step, LATENCY_CLOCKS / min(turns, RESIDENT[rows]))
    adding_up = LAUNCH_CLOCKS + (2 * parts + 1) * M * N * copies * itemsize / BYTES_A_CLOCK
    return turns * (-(-steps // parts) + EDGES) * step + (adding_up if parts > 1 else 0)


def in_vectors(*matrices: tuple[Array, int]) -> bool:
    """Return whether matrices, given with the length of their rows, can be read in vectors.

    A vector is 16 bytes; every row must begin at a multiple of that and hold whole vectors.
    """
    return all(address_of(a) % 16 == 0 and row * a.dtype.itemsize % 16 == 0 for a, row in matrices)


def multiply(
    kernel: cuda.Kernel,
    how: Cut,
    copies: int,
    arrays: tuple[Array, ...],
    out: Array,
    sizes: tuple[int | bool, ...],
    *,
    bias: tuple[Array | None, ...] = (),
    inner: int = 1,
    add: bool = False,
) -> None:
    """Write products to `out`, or add them to it, with as many launches as that takes.

    Parameters
    ----------
    kernel : Kernel
        Takes `arrays`, `bias`, the result, `sizes` and the depth of a part.
    how : Cut
    copies : int
        How many products there are side by side.
    bias : () or (b,)
        Nothing where the kernel takes no bias; b, or None, where it does.
    inner : int
        How many elements of `out` in a row have the same bias.
    add : bool
        Whether to add to what `out` holds.
    """
    grid = (how.tiles, how.parts, copies)
    if how.parts == 1 and not add:
        kernel(grid, how.threads, *arrays, *bias, out, *sizes, how.depth, ROWS=how.rows)
        return
    parts = array_module(out).empty((how.parts, *out.shape), out.dtype)
    nothing = (None,) * len(bias)
    kernel(grid, how.threads, *arrays, *nothing, parts, *sizes, how.depth, ROWS=how.rows)
    add_up(parts, out, b=next(iter(bias), None), inner=inner, add=add)


def add_up(
    parts: Array, out: Array, *, b: Array | None = None, inner: int = 1, add: bool = False
) -> None:
    """Write the sum of `parts` (S, ...) to `out` (...), in order, plus what `out` holds and `b`."""
    channels = 1 if b is None else b.size
    sizes = (len(parts), out.size, inner, channels, add)
    _sum_parts(cuda.blocks(out.size), cuda.BLOCK, parts, b, out, *sizes)
