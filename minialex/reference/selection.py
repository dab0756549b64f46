"""Definitions of the ops that choose among elements: one Python number at a time."""

from typing import Any

import numpy as np

from minialex.reference.arithmetic import each

Array = np.ndarray[Any, np.dtype[np.float64]]


def maximum(a: Array, b: Array) -> Array:
    """Return the larger."""
    return each(max, a, b)


def minimum(a: Array, b: Array) -> Array:
    """Return the smaller."""
    return each(min, a, b)


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return a where the condition is true, else b."""
    return each(lambda c, p, q: p if c else q, condition, a, b)


def clip(x: Array, *, min: float | None, max: float | None) -> Array:
    """Return x, but min where that is larger, and max where that is smaller still."""
    raised = each(lambda p: min if min is not None and p < min else p, x)
    return each(lambda p: max if max is not None and p > max else p, raised)
