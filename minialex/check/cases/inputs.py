"""How the numbers of a case are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minialex.arrays import Array
from minialex.check.case import Inputs

Rng = np.random.Generator
Draw = Callable[[Rng], Inputs]


def normal(*shapes: tuple[int, ...] | None) -> Draw:
    """Return a draw of normal numbers for each shape, None for None."""
    return lambda rng: tuple(None if s is None else rng.standard_normal(s) for s in shapes)


def distinct(*shapes: tuple[int, ...]) -> Draw:
    """Return a draw of numbers at least 0.1 apart from each other, and 0.05 from 0."""
    return lambda rng: tuple(_spaced(rng, shape) for shape in shapes)


def _spaced(rng: Rng, shape: tuple[int, ...]) -> Array:
    n = int(np.prod(shape))
    return (0.1 * (rng.permutation(n) - n // 2) + 0.05).reshape(shape)


def tied(*shapes: tuple[int, ...]) -> Draw:
    """Return a draw of whole numbers from -1 to 1: most windows hold equals."""
    return lambda rng: tuple(rng.integers(-1, 2, shape).astype(float) for shape in shapes)


def between(low: float, high: float, *shapes: tuple[int, ...]) -> Draw:
    """Return a draw of numbers from `low` to `high`."""
    return lambda rng: tuple(rng.uniform(low, high, shape) for shape in shapes)


def away(distance: float, *shapes: tuple[int, ...]) -> Draw:
    """Return a draw of numbers of both signs, at least `distance` from 0."""

    def draw(rng: Rng) -> Inputs:
        return tuple(
            rng.choice((-1.0, 1.0), shape) * (distance + rng.exponential(size=shape))
            for shape in shapes
        )

    return draw


def extreme(*shapes: tuple[int, ...]) -> Draw:
    """Return a draw of -1000, 0 and 1000, and of numbers that differ from those by a little."""

    def draw(rng: Rng) -> Inputs:
        return tuple(
            rng.choice((-1000.0, 0.0, 1000.0), shape) + rng.integers(-8, 9, shape) / 4
            for shape in shapes
        )

    return draw


def constant(*values: Array | None) -> Draw:
    """Return a draw that is always the same."""
    return lambda rng: values
