"""Definitions of sums and maxima."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def _groups(x: Array, dims: tuple[int, ...], keepdim: bool) -> tuple[list[list[float]], list[int]]:
    """Return the elements that fall on each element of the result, and the result's shape."""
    kept = [1 if d in dims else n for d, n in enumerate(x.shape)]
    groups: list[list[float]] = [[] for _ in range(int(np.prod(kept)))]
    for i in np.ndindex(x.shape):
        place = [0 if d in dims else n for d, n in enumerate(i)]
        groups[int(np.ravel_multi_index(place, kept)) if kept else 0].append(float(x[i]))
    shape = kept if keepdim else [n for d, n in enumerate(x.shape) if d not in dims]
    return groups, shape


def sum(x: Array, *, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Add the elements up, one after the other."""
    groups, shape = _groups(x, dims, keepdim)
    totals = []
    for group in groups:
        total = 0.0
        for value in group:
            total += value
        totals.append(total)
    return np.array(totals).reshape(shape)


def max(x: Array, *, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Keep the largest element seen."""
    groups, shape = _groups(x, dims, keepdim)
    best = []
    for group in groups:
        largest = group[0]
        for value in group:
            if value > largest:
                largest = value
        best.append(largest)
    return np.array(best).reshape(shape)
