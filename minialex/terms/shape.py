"""The terms of ops that move elements: each is a copy, and each gradient goes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.terms.formula import Arrays, Formula, Index, Terms, term


def _copy(name: str, text: str, array: str, a: Arrays, index: Index) -> Formula:
    return Formula(name, text, (term(a.cell(array, *index)),))


def _as_dealt(index: Index, here: tuple[int, ...], there: tuple[int, ...]) -> Index:
    """Return where an element is in another shape, counted row by row."""
    number = np.ravel_multi_index(index, here) if here else 0
    return tuple(map(int, np.unravel_index(number, there))) if there else ()


def _reshape(a: Arrays, index: Index, **_: Any) -> Formula:
    return _copy("y", "x", "x", a, _as_dealt(index, a.shape("y"), a.shape("x")))


def _reshape_gradient(a: Arrays, index: Index, **_: Any) -> Formula:
    return _copy("gx", "gy", "gy", a, _as_dealt(index, a.shape("x"), a.shape("gy")))


RESHAPE = {"y": _reshape, "gx": _reshape_gradient}


def _permute(a: Arrays, index: Index, *, dims: tuple[int, ...]) -> Formula:
    return _copy("y", "x", "x", a, tuple(index[dims.index(d)] for d in range(len(dims))))


def _permute_gradient(a: Arrays, index: Index, *, dims: tuple[int, ...]) -> Formula:
    return _copy("gx", "gy", "gy", a, tuple(index[d] for d in dims))


PERMUTE = {"y": _permute, "gx": _permute_gradient}


def _numbers(a: Arrays, index: Any) -> Any:
    """Return, for each element of the result, the number of the one that was taken."""
    shape = a.shape("x")
    return np.asarray(np.arange(int(np.prod(shape))).reshape(shape)[index])


def _getitem(a: Arrays, place: Index, *, index: Any) -> Formula:
    number = _numbers(a, index)[place]
    return _copy("y", "x", "x", a, tuple(map(int, np.unravel_index(number, a.shape("x")))))


def _getitem_gradient(a: Arrays, place: Index, *, index: Any) -> Formula:
    number = np.ravel_multi_index(place, a.shape("x")) if place else 0
    taken = np.argwhere(_numbers(a, index) == number)
    terms = tuple(term(a.cell("gy", *out)) for out in taken)
    return Formula("gx", "sum of gy over the places that it was taken to", terms)


GETITEM = {"y": _getitem, "gx": _getitem_gradient}


def _concatenate(a: Arrays, index: Index, *, dim: int) -> Formula:
    at, names = index[dim], [name for name in a.arrays if name.startswith("x")]
    for name in names:
        length = a.shape(name)[dim]
        if at < length:
            return _copy("y", "x", name, a, (*index[:dim], at, *index[dim:][1:]))
        at -= length
    raise IndexError(f"index {index} is beyond the arrays")


def _part(k: int) -> Terms:
    def terms(a: Arrays, index: Index, *, dim: int) -> Formula:
        before = sum(a.shape(f"x{i}")[dim] for i in range(k))
        return _copy(f"gx{k}", "gy", "gy", a, (*index[:dim], before + index[dim], *index[dim:][1:]))

    return terms


MOST_PARTS = 64
"""How many arrays put together can be taken apart again."""

CONCATENATE = {"y": _concatenate} | {f"gx{k}": _part(k) for k in range(MOST_PARTS)}


def _same(a: Arrays, index: Index, **_: Any) -> Formula:
    return _copy("y", "x", "x", a, index)


def _same_gradient(a: Arrays, index: Index, **_: Any) -> Formula:
    return _copy("gx", "gy", "gy", a, index)


ASTYPE = TO = {"y": _same, "gx": _same_gradient}
