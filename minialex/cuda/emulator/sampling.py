"""Which blocks of a launch are counted: all, or so many that every part of the grid is seen."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np

from minialex.arrays import Array
from minialex.cuda.plan import Dim3

MAX_BLOCKS = 27
"""How many blocks of a launch are counted by default."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def sample(grid: Dim3, max_blocks: int | None = MAX_BLOCKS) -> tuple[Array, Array]:
    """Return which blocks to count, and how many blocks each stands for.

    Along each axis of the grid the first and the last stand for themselves, where tiles reach past
    the edge of an array. Those between are cut into parts that grow towards the middle, as a launch
    that does several things gives each a run of blocks, the shortest of them first or last; one
    block is drawn from each part.

    Parameters
    ----------
    grid : tuple of three ints
    max_blocks : int, optional
        At least 1; None counts all. With fewer than 27 there may be no last one along some axes.

    Returns
    -------
    blocks : (count,) uint64
        In rising order; x varies fastest.
    weights : (count,) float64
        They sum to the number of blocks of the grid.
    """
    counts = _counts(grid, max_blocks)
    axes = [_positions(size, count) for size, count in zip(grid, counts, strict=True)]
    blocks, weights = [], []
    for (z, wz), (y, wy), (x, wx) in product(*reversed(axes)):
        blocks.append((z * grid[1] + y) * grid[0] + x)
        weights.append(wx * wy * wz)
    return np.array(blocks, np.uint64), np.array(weights, np.float64)


def _counts(grid: Dim3, max_blocks: int | None) -> list[int]:
    """Return how many positions are taken along each axis."""
    if max_blocks is None or math.prod(grid) <= max_blocks:
        return list(grid)
    counts = [min(size, 3) for size in grid]
    if math.prod(counts) > max_blocks:
        counts = [1, 1, 1]
    while True:
        # the axis that is seen least comes first
        order = sorted(range(3), key=lambda axis: counts[axis] / grid[axis])
        for axis in order:
            more = math.prod(counts) // counts[axis] * (counts[axis] + 1)
            if counts[axis] < grid[axis] and more <= max_blocks:
                counts[axis] += 1
                break
        else:
            return counts


def _positions(size: int, count: int) -> list[tuple[int, float]]:
    """Return which indices along an axis are taken, and how many each stands for."""
    bounds = _bounds(size, count)
    return [
        (first + math.floor((number + 1) * _GOLDEN % 1 * (end - first)), float(end - first))
        for number, (first, end) in enumerate(pairwise(bounds))
    ]


def _bounds(size: int, count: int) -> list[int]:
    """Return where `count` parts of an axis begin, and its end: 0, 1, ... size - 1, size."""
    if count == size:
        return list(range(size + 1))
    if count == 1:
        return [0, size]
    # on each side 1, g, g g, ... blocks, up to the middle
    side = count // 2
    low, high = 1.0, float(size)
    for _ in range(60):
        g = (low + high) / 2
        middle = g**side if count % 2 else 0.0
        low, high = (g, high) if 2 * sum(g**k for k in range(side)) + middle < size else (low, g)
    ends = np.cumsum([low**k for k in range(side)])
    left = [round(end) for end in ends.tolist()]
    if count % 2 == 0:
        left[-1] = size // 2
        right = [size - end for end in reversed(left[:-1])]
    else:
        right = [size - end for end in reversed(left)]
    return [0, *left, *right, size]
