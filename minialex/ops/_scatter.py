"""The gradient of x[index] where the index may name an element several times.

``add.at`` of NumPy adds in order, but that of CuPy in any order, and bits would differ from run to
run. Here rows that are to be added to one place are brought side by side and added in pairs, then
the sums in pairs, and so on:

    a b c d e  ->  a+b c+d e  ->  (a+b)+(c+d) e  ->  ((a+b)+(c+d))+e
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module

Words = tuple[Any, ...]


def names_once(words: Words) -> bool:
    """Return whether an index names no element twice: one of slices, whole numbers and masks."""
    return all(
        word is None or word is ... or isinstance(word, int | slice) or _is_mask(word)
        for word in words
    )


def add_at(gx: Array, words: Words, gy: Array) -> None:
    """Add each element of `gy` to that of the C-contiguous `gx` which the index names for it."""
    xp, axes = array_module(gx), _axes(words, gx.ndim)
    # the axes behind those of the index stay together, as rows
    lead, row = gx.shape[:axes], prod(gx.shape[axes:])
    places = xp.arange(prod(lead)).reshape(lead)[words].reshape(-1)
    if xp is np and row == 1:
        # element by element, NumPy does it in order and faster than pairs are found
        np.add.at(gx.reshape(-1), places, gy.reshape(-1))
        return
    places, sums = _sums(places, gy.reshape(len(places), row))
    gx.reshape(prod(lead), row)[places] += sums


def _axes(words: Words, ndim: int) -> int:
    """Return how many of `ndim` axes, from the first on, an index has words for."""
    if any(word is ... for word in words):
        return ndim
    words = tuple(np.asarray(word) if isinstance(word, list | bool) else word for word in words)
    return sum(word.ndim if _is_mask(word) else word is not None for word in words)


def _is_mask(word: Any) -> bool:
    return getattr(word, "dtype", None) == np.dtype(bool)


def _sums(places: Array, rows: Array) -> tuple[Array, Array]:
    """Return the k places among the n `places`, and the (k, m) sums of the (n, m) `rows` there."""
    xp = array_module(rows)
    order = xp.argsort(places, kind="stable")
    places, rows = places[order], rows[order]
    first = xp.ones(len(places), bool)
    first[1:] = places[1:] != places[:-1]
    # the number of each row among those of its place: 0 0 1 2 0 1
    number = xp.arange(len(places)) - xp.flatnonzero(first)[xp.cumsum(first) - 1]
    while (odd := xp.flatnonzero(number & 1)).size:
        rows[odd - 1] += rows[odd]
        even = xp.flatnonzero(~number & 1)
        places, rows, number = places[even], rows[even], number[even] >> 1
    return places, rows
