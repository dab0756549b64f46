"""Which blocks of a launch are counted: all, or so many that every part of the grid is seen."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from minialex.arrays import Array
from minialex.cuda.plan import Dim3

MAX_BLOCKS = 27
"""How many blocks of a launch are counted by default."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def sample(grid: Dim3, max_blocks: int | None = MAX_BLOCKS) -> tuple[Array, Array]:
    """Return which blocks to count, and how many blocks each stands for.

    Along each axis of the grid the first and the last stand for themselves, where tiles reach past
    the edge of an array; those between are drawn from equal parts of the rest, one from each, at
    irregular distances so that they do not all fall on the same phase of a pattern.

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
    if count == size:
        return [(at, 1.0) for at in range(size)]
    middle = size // 2
    if count <= 2:
        return [(0, 1.0), (middle, size - 1.0)] if count == 2 else [(middle, float(size))]
    parts = count - 2
    inner = [
        1 + math.floor((part + (part + 1) * _GOLDEN % 1) * (size - 2) / parts)
        for part in range(parts)
    ]
    weight = (size - 2) / parts
    return [(0, 1.0), *((at, weight) for at in inner), (size - 1, 1.0)]
