"""Which blocks of a launch are counted: all, or so many that every part of the grid is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from minialex.cuda.plan import Dim3

MAX_BLOCKS = 27
"""How many blocks of a launch are counted at first."""

MORE = 3
"""How many times as many may be counted in the end, where blocks differ."""

DIFFERENCE = 0.25
"""Neighbouring parts of a grid whose blocks' work differs by more are looked at more closely."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Part:
    """Some neighbours along one axis of a grid, and the one that is counted for all of them."""

    first: int
    end: int
    at: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.end - self.first

    def halves(self) -> tuple[Part, Part]:
        """Return both halves; the one that holds `at` keeps it."""
        middle = (self.first + self.end) // 2
        left, right = (self.first, middle), (middle, self.end)
        return tuple(  # type: ignore[return-value]
            Part(first, end, self.at if first <= self.at < end else (first + end) // 2)
            for first, end in (left, right)
        )


class Sample:
    """Blocks of a grid that stand for all of them.

    Along each axis the first and the last stand for themselves, where tiles reach past the edge of
    an array. Those between are cut into parts that grow towards the middle, as a launch that does
    several things gives each a run of blocks, the shortest of them first or last; one block stands
    for each part. Where the work of neighbouring parts turns out to differ, the larger is cut in
    two, again and again, until the place where it changes is found.

    Parameters
    ----------
    grid : tuple of three ints
    max_blocks : int, optional
        How many blocks to count at first; None counts all.
    """

    def __init__(self, grid: Dim3, max_blocks: int | None = MAX_BLOCKS) -> None:
        self._grid, self._limit = grid, MORE * (max_blocks or 0)
        counts = _counts(grid, max_blocks)
        self._axes = [_parts(size, count) for size, count in zip(grid, counts, strict=True)]

    def weights(self) -> dict[int, float]:
        """Return the blocks in rising order, x varying fastest, and how many each stands for."""
        x, y, z = self._axes
        return {
            self._number(a.at, b.at, c.at): float(a.size * b.size * c.size)
            for c, b, a in product(z, y, x)
        }

    def refine(self, work: Mapping[int, float]) -> bool:
        """Cut the parts whose work differs from that of their neighbours.

        Parameters
        ----------
        work : dict from the number of each block to how much it did

        Returns
        -------
        bool
            Whether there are more blocks to count.
        """
        for axis in range(3):
            wide = self._unlike(axis, work)
            parts = self._axes[axis]
            others = math.prod(map(len, self._axes)) // len(parts)
            if wide and others * (len(parts) + len(wide)) <= self._limit:
                self._axes[axis] = [
                    half for part in parts for half in (part.halves() if part in wide else (part,))
                ]
                return True
        return False

    def standard_error(self, work: Mapping[int, float]) -> float:
        """Return the estimated standard error of a total over all blocks, relative to the total.

        A part of n blocks along an axis, one of which was counted, adds n (n - 1) times the
        variance of single blocks. That is half of the mean squared difference of neighbouring
        parts, as in time series (von Neumann 1941): what changes steadily is taken for chance, so
        that it is rather too much. Of the three axes that counts along which it is largest.

        Parameters
        ----------
        work : dict from the number of each block to how much it did
        """
        return max(self._error_along(axis, work) for axis in range(3))

    def busiest(self, work: Mapping[int, float]) -> float:
        """Return the most that a counted block did, as a multiple of the mean of all blocks.

        Parameters
        ----------
        work : dict from the number of each block to how much it did
        """
        weights = self.weights()
        total = sum(size * work.get(block, 0.0) for block, size in weights.items())
        most = max(work.get(block, 0.0) for block in weights)
        return most * sum(weights.values()) / total if total else 1.0

    def _error_along(self, axis: int, work: Mapping[int, float]) -> float:
        parts = self._axes[axis]
        means = [self._mean(axis, part, work) for part in parts]
        pairs = [
            (a.size + b.size, (one - other) ** 2 / 2)
            for (a, one), (b, other) in pairwise(zip(parts, means, strict=True))
            if a.size > 1 and b.size > 1
        ]
        if not pairs:
            # edges differ for reasons of their own: of the two the one that is more like the rest
            pairs = _at_the_edges(parts, means)
        seen = sum(size for size, _ in pairs)
        total = sum(part.size * mean for part, mean in zip(parts, means, strict=True))
        if not seen or not total:
            return 0.0
        variance = sum(size * squared for size, squared in pairs) / seen
        return math.sqrt(variance * sum(part.size * (part.size - 1) for part in parts)) / total

    def _unlike(self, axis: int, work: Mapping[int, float]) -> list[Part]:
        """Return the parts along an axis that are to be cut."""
        means = [self._mean(axis, part, work) for part in self._axes[axis]]
        found = []
        for (a, one), (b, other) in pairwise(zip(self._axes[axis], means, strict=True)):
            wider = max(a, b, key=lambda part: part.size)
            if abs(one - other) > DIFFERENCE * max(one, other) and wider.size > 1:
                found.append(wider)
        return list(dict.fromkeys(found))

    def _mean(self, axis: int, part: Part, work: Mapping[int, float]) -> float:
        """Return the mean work of the blocks of one part."""
        axes = list(self._axes)
        axes[axis] = [part]
        x, y, z = axes
        total = size = 0.0
        for c, b, a in product(z, y, x):
            blocks = a.size * b.size * c.size
            total += blocks * work.get(self._number(a.at, b.at, c.at), 0.0)
            size += blocks
        return total / size

    def _number(self, x: int, y: int, z: int) -> int:
        return (z * self._grid[1] + y) * self._grid[0] + x


def _at_the_edges(parts: Sequence[Part], means: Sequence[float]) -> list[tuple[int, float]]:
    """Return size and half of the squared difference of the parts that stand for several blocks."""
    return [
        (part.size, min((means[at] - means[n]) ** 2 / 2 for n in (at - 1, at + 1) if n in near))
        for near in [range(len(parts))]
        for at, part in enumerate(parts)
        if part.size > 1 and len(parts) > 1
    ]


def _counts(grid: Dim3, max_blocks: int | None) -> list[int]:
    """Return how many parts there are along each axis."""
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


def _parts(size: int, count: int) -> list[Part]:
    """Cut an axis into parts; those that stand for them lie at irregular distances."""
    return [
        Part(first, end, first + math.floor((number + 1) * _GOLDEN % 1 * (end - first)))
        for number, (first, end) in enumerate(pairwise(_bounds(size, count)))
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
    left = [round(end) for end in np.cumsum([low**k for k in range(side)]).tolist()]
    if count % 2 == 0:
        left[-1] = size // 2
    right = [size - end for end in reversed(left if count % 2 else left[:-1])]
    return [0, *left, *right, size]
