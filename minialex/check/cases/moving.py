"""Cases of the ops that move elements, and of sums and maxima."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import CPU
from minialex.check.case import Answer, Case
from minialex.check.cases.inputs import constant, distinct, normal, tied


def _shape(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> Case:
    return Case(name, normal(old), {"shape": new})


def _dims(old: tuple[int, ...], dims: tuple[int, ...]) -> Case:
    return Case(f"{old} by {dims}", normal(old), {"dims": dims})


def _index(name: str, old: tuple[int, ...], *index: Any) -> Case:
    return Case(name, normal(old), {"index": index})


def _joined(name: str, dim: int, *shapes: tuple[int, ...]) -> Case:
    return Case(name, normal(*shapes), {"dim": dim})


def _type(wanted: type) -> Case:
    dtype = np.dtype(wanted)
    return Case(f"to {dtype}", normal((3, 11)), {"dtype": dtype}, output_dtype=dtype)


_MASK = np.array([[True, False, True], [False, False, True]])

_REDUCTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "all of 31": ((31,), (0,)),
    "all of 33": ((33,), (0,)),
    "all of 1025": ((1025,), (0,)),
    "all of several axes": ((2, 3, 5), (0, 1, 2)),
    "rows": ((5, 7), (1,)),
    "columns": ((5, 7), (0,)),
    "channels' statistics": ((2, 3, 4, 5), (0, 2, 3)),
    "a number": ((), ()),
    "one element": ((1,), (0,)),
    "257 columns": ((2, 257), (0,)),
    "rows of a square": ((5, 5), (1,)),
    "two axes of a cube": ((3, 3, 3), (0, 2)),
}


def _reductions(draw: Any) -> list[Case]:
    return [
        Case(f"{name}{suffix}", draw(shape), {"dims": dims, "keepdim": keepdim})
        for name, (shape, dims) in _REDUCTIONS.items()
        for keepdim, suffix in ((False, ""), (True, ", kept"))
    ]


def _tie(name: str, x: Any, dims: tuple[int, ...], shares: Any) -> Case:
    """Return a maximum among equals, whose `shares` of the gradient are known."""
    x, shares = np.array(x, float), np.array(shares)
    gy = np.arange(1.0, 1 + x.size // np.prod([x.shape[d] for d in dims]))
    gy = gy.reshape([1 if d in dims else n for d, n in enumerate(x.shape)])
    answer = Answer(gy, (gy * shares,))
    return Case(name, constant(x), {"dims": dims, "keepdim": True}, answer=answer)


CASES: dict[str, list[Case]] = {
    "reshape": [
        _shape("flattened maps", (2, 3, 2, 2), (2, 12)),
        _shape("size left open", (5, 6), (3, -1)),
        _shape("to a row", (33,), (1, 33)),
        _shape("a number to an axis", (), (1,)),
        _shape("1025", (1025,), (5, 205)),
        _shape("same shape", (3, 5), (3, 5)),
        _shape("empty batch", (0, 4), (0, 2, 2)),
    ],
    "permute": [
        _dims((31, 33), (1, 0)),
        _dims((2, 3, 4, 5), (0, 2, 3, 1)),
        _dims((2, 3, 4, 5), (3, 0, 1, 2)),
        _dims((2, 3, 5), (2, 0, 1)),
        _dims((7,), (0,)),
        _dims((), ()),
        _dims((0, 3), (1, 0)),
    ],
    "getitem": [
        _index("a row", (5, 7), 2),
        _index("from the end", (5, 7), -1),
        _index("every second, backwards", (33,), slice(None, None, -2)),
        _index("a part", (2, 3, 5, 7), slice(None), 1, slice(1, 4), slice(2, None)),
        _index("dots and a new axis", (2, 3, 5), ..., None, 0),
        _index("one element", (31,), 30),
        _index("array with repeats", (5, 3), np.array([4, 0, 4, 4, 1])),
        _index("arrays in pairs, with repeats", (5, 3), np.array([0, 0, 2]), np.array([1, 1, 0])),
        _index("array of two axes", (7,), np.array([[0, 6], [6, 6]])),
        _index("array beside a slice", (2, 5, 3), slice(None), np.array([1, 1, 3])),
        _index("mask", (2, 3), _MASK),
        _index("mask of rows", (2, 3), np.array([False, True])),
        _index("nothing", (5, 3), slice(0, 0)),
        _index("257 of 31 with repeats", (31,), np.arange(257) * 7 % 31),
        _index("1025 times one of two rows", (2, 3), np.arange(1025) // 700),
        _index("arrays around a slice", (3, 4, 5), np.array([2, 2, 0]), slice(1, 3), np.array([4])),
        _index(
            "a mask beside an array", (3, 4), np.array([True, False, True]), np.array([[1]] * 3)
        ),
        _index("dots before an array", (2, 3, 4), ..., np.array([3, 0, 3])),
        _index("a new axis before an array", (4, 3), None, np.array([1, 1])),
        _index("no element", (5, 3), np.array([], int)),
    ],
    "concatenate": [
        _joined("two rows", 0, (1, 5), (1, 5)),
        _joined("unequal lengths", 1, (2, 1, 3), (2, 4, 3), (2, 2, 3)),
        _joined("maps of groups", 1, (2, 3, 4, 5), (2, 3, 4, 5)),
        _joined("one alone", 0, (3, 2)),
        _joined("31, 33 and 257", 0, (31,), (33,), (257,)),
        _joined("one of them empty", 0, (3, 2), (0, 2), (1, 2)),
        _joined("five", 1, (2, 1, 3), (2, 4, 3), (2, 1, 3), (2, 2, 3), (2, 2, 3)),
    ],
    "astype": [_type(np.float32), _type(np.float64)],
    "to": [Case("the CPU", normal((3, 11)), {"device": CPU}, output_device=CPU)],
    "sum": [
        *_reductions(normal),
        Case("of nothing", normal((0, 3)), {"dims": (0,), "keepdim": False}),
        Case("no axis", normal((2, 3)), {"dims": (), "keepdim": False}),
    ],
    "max": [
        *_reductions(distinct),
        Case("close together", normal((5, 33)), {"dims": (1,), "keepdim": False}),
        Case("ties", tied((6, 8)), {"dims": (1,), "keepdim": False}),
        _tie("two of three tie", [[2, 2, 1], [0, 1, 1]], (1,), [[0.5, 0.5, 0], [0, 0.5, 0.5]]),
        _tie("all tie", [[3, 3, 3, 3]], (1,), [[0.25] * 4]),
        _tie("tie across two axes", [[1, 5], [5, 5]], (0, 1), [[0, 1 / 3], [1 / 3, 1 / 3]]),
    ],
}
