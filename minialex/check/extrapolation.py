"""Differences extrapolated to a step of 0, row by row of a tableau (Ridders 1982)."""

from __future__ import annotations

import numpy as np

from minialex.arrays import Array

STEP_RATIO = 4.0
"""How much shorter each step is than the one before."""

MAX_EXTRAPOLATIONS = 3
"""How many times a central difference is extrapolated."""


def kinks(gap: Array, spread: Array, raw: Array, rounding: Array) -> tuple[Array, Array]:
    """Return how far apart the derivatives from both sides are, and what of that may not show yet.

    At outputs that have no kink the `gap` is 0 but for rounding, as far as it has settled; `raw`,
    what was found with the last step alone, is the most it can be.
    """
    size, noise_of_gap = np.minimum(np.abs(gap), np.abs(raw)), 8 * rounding
    kinked = size > noise_of_gap + spread
    unsettled = np.minimum(size + spread, np.abs(raw)) - noise_of_gap
    return np.where(kinked, size, 0.0), np.where(kinked, 0.0, np.maximum(unsettled, 0.0))


def settled(row: list[Array], before: list[Array]) -> tuple[Array, Array]:
    """Return the extrapolation that agrees best with its neighbours, and how well.

    It is not the last where a coarser step crossed a kink: every order reaches back one step more.
    """
    values = np.stack(row[1:])
    last = len(before) - 1
    same_order = np.stack([before[min(i, last)] for i in range(1, len(row))])
    spreads = np.maximum(np.abs(values - np.stack(row[:-1])), np.abs(values - same_order))
    best = spreads.argmin(axis=0)[None]
    return np.take_along_axis(values, best, 0)[0], np.take_along_axis(spreads, best, 0)[0]


def extrapolated(fine: Array, before: list[Array], power: int) -> list[Array]:
    """Return what was found with a step and its extrapolations, given the row of the step before.

    Its errors go with the step to `power`, and to every second power after that.
    """
    row = [np.asarray(fine)]
    for order, coarse in enumerate(before[:MAX_EXTRAPOLATIONS]):
        weight = STEP_RATIO ** (power + 2 * order)
        row.append((weight * row[-1] - coarse) / (weight - 1))
    return row
