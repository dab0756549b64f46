"""A deterministic scatter_add: the gradient of x[index], where the index may repeat elements.

``add.at`` of NumPy adds in order, but that of CuPy in any order, and bits would differ from run to
run. Here rows are sorted by the target that they are added to, and each segment of equal targets is
summed pairwise. Rows a to f with targets 7 2 7 7 2 7 become

    target             2 2  7 7 7 7
    row                b e  a c d f
    number in segment  0 1  0 1 2 3      odd rows are added to their left neighbours, and dropped:
    row                b+e  a+c  d+f
    number, halved     0    0    1       and so on, until no number is odd
    row                b+e  (a+c)+(d+f)
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module

Index = tuple[Any, ...]
"""What is in the brackets of x[...], one entry between two commas."""


def is_unique(index: Index) -> bool:
    """Return whether an index repeats no element: one of slices, whole numbers and masks."""
    return all(
        entry is None or entry is ... or isinstance(entry, int | slice) or _is_mask(entry)
        for entry in index
    )


def scatter_add(gx: Array, index: Index, gy: Array) -> None:
    """Do ``gx[index] += gy``, adding where the index repeats an element; `gx` is C-contiguous."""
    xp, axes = array_module(gx), _indexed_axes(index, gx.ndim)
    # the axes behind those of the index stay together, as rows
    lead, row = gx.shape[:axes], prod(gx.shape[axes:])
    targets = xp.arange(prod(lead)).reshape(lead)[index].reshape(-1)
    if xp is np and row == 1:
        # element by element, NumPy adds in order, and faster than segments are found
        np.add.at(gx.reshape(-1), targets, gy.reshape(-1))
        return
    targets, sums = segment_sums(targets, gy.reshape(len(targets), row))
    gx.reshape(prod(lead), row)[targets] += sums


def segment_sums(targets: Array, rows: Array) -> tuple[Array, Array]:
    """Return the k distinct `targets` of n, and the (k, m) sums of their (n, m) `rows`."""
    xp = array_module(rows)
    order = xp.argsort(targets, kind="stable")
    targets, rows = targets[order], rows[order]
    is_first = xp.ones(len(targets), bool)
    is_first[1:] = targets[1:] != targets[:-1]
    number = xp.arange(len(targets)) - xp.flatnonzero(is_first)[xp.cumsum(is_first) - 1]
    while (odd := xp.flatnonzero(number & 1)).size:
        rows[odd - 1] += rows[odd]
        even = xp.flatnonzero(~number & 1)
        targets, rows, number = targets[even], rows[even], number[even] >> 1
    return targets, rows


def _indexed_axes(index: Index, ndim: int) -> int:
    """Return how many of `ndim` axes, from the first on, an index has entries for."""
    if any(entry is ... for entry in index):
        return ndim
    arrays = (np.asarray(entry) if isinstance(entry, list | bool) else entry for entry in index)
    return sum(a.ndim if _is_mask(a) else a is not None for a in arrays)


def _is_mask(entry: Any) -> bool:
    return getattr(entry, "dtype", None) == np.dtype(bool)
