"""Cases of the ops that work element by element, with broadcasting, and of those on one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.check.case import Answer, Case
from minialex.check.cases.inputs import (
    away,
    between,
    constant,
    distinct,
    extreme,
    normal,
    tied,
)

SIZES = (1, 31, 33, 257, 1025)

BROADCASTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "same shape": ((3, 5), (3, 5)),
    "bias of channels": ((2, 3, 4, 5), (3, 1, 1)),
    "row and column": ((1, 31), (11, 1)),
    "33": ((33,), (1,)),
    "number on the right": ((257,), ()),
    "number on the left": ((), (2, 3)),
    "axes of length 1 on both": ((4, 1, 3), (1, 5, 1)),
    "batch of one": ((1, 3, 4), (3, 4)),
    "1025": ((1025,), (1025,)),
    "two numbers": ((), ()),
    "empty batch": ((0, 3), (1, 3)),
}


def binary(op: str, a: tuple[int, ...], b: tuple[int, ...], name: str = "") -> Case:
    """Return a case of an arithmetic op on operands of the shapes `a` and `b`."""
    right = away(0.5, b) if op == "divide" else normal(b)
    return Case(name or f"{a} and {b}", lambda rng: (*normal(a)(rng), *right(rng)))


def _binary(op: str) -> list[Case]:
    return [binary(op, a, b, name) for name, (a, b) in BROADCASTS.items()]


def _unary(draw: Any, **params: Any) -> list[Case]:
    """Return a case for each of the sizes, one with many axes, one of a number and one empty."""
    sized = [Case(f"{n}", draw((n,)), params) for n in SIZES]
    shaped = [Case(f"shape {s}", draw(s), params) for s in ((2, 3, 5, 7), (), (0, 3))]
    return [*sized, *shaped]


def _kinked(at: list[float], slopes: list[float]) -> Case:
    """Return the case of a function whose slopes at some elements are known."""
    x, gy = np.array(at), np.arange(1.0, 1 + len(at))
    return Case("at the kink", constant(x), answer=Answer(gy, (gy * slopes,)))


def _known(name: str, x: Any, gy: Any, gx: Any, **params: Any) -> Case:
    """Return the case of one row whose gradient is known."""
    answer = Answer(np.array([gy]), (np.array([gx]),))
    return Case(name, constant(np.array(x)), params, answer=answer)


def _whole(low: float) -> Any:
    """Return draws of positive numbers, away from 0."""
    return lambda shape: between(low, low + 3, shape)


def _far(distance: float) -> Any:
    return lambda shape: away(distance, shape)


CASES: dict[str, list[Case]] = {
    **{op: _binary(op) for op in ("add", "subtract", "multiply", "divide")},
    "negative": _unary(normal),
    "power": [
        Case("square", normal((31,)), {"exponent": 2}),
        Case("cube of both signs", normal((33,)), {"exponent": 3}),
        Case("root", between(0.5, 3, (257,)), {"exponent": 0.5}),
        Case("inverse", away(0.5, (3, 11)), {"exponent": -1}),
        Case("inverse root", between(0.5, 3, (1025,)), {"exponent": -0.5}),
        Case("to the 0, at 0 too", tied((3, 3)), {"exponent": 0}),
        Case("to the 1, at 0 too", tied((3, 3)), {"exponent": 1}),
        Case("square at 0", constant(np.array([0.0, -0.0, 1.0])), {"exponent": 2}),
        Case("to the 2.5", between(0.1, 2, (2, 3, 5)), {"exponent": 2.5}),
        Case("empty batch", normal((0, 3)), {"exponent": 2}),
    ],
    "exp": [*_unary(normal), Case("from -80 to 20", between(-80, 20, (33,)))],
    "log": [*_unary(_whole(0.1)), Case("from 1e-3 to 1e3", between(1e-3, 1e3, (33,)))],
    "sqrt": [*_unary(_whole(0.1)), Case("from 1e-3 to 1e3", between(1e-3, 1e3, (33,)))],
    "tanh": [*_unary(normal), Case("saturated", constant(np.linspace(-16, 16, 33)))],
    "absolute": [
        *_unary(_far(0.05)),
        Case("near the kink", normal((33,))),
        _kinked([-2.0, -0.0, 0.0, 1e-30, 3.0], [-1, 0, 0, 1, 1]),
    ],
    "relu": [
        *_unary(distinct),
        Case("near the kink", normal((2, 3, 7, 5))),
        Case("ties with 0", tied((3, 5))),
        Case("batch of one, AlexNet's first channels", normal((1, 4, 11, 13))),
        _kinked([-2.0, -0.0, 0.0, 1e-30, 3.0], [0, 0, 0, 1, 1]),
        _known("not finite", [[np.nan, np.inf, -np.inf]], [1.0, 2.0, 4.0], [0.0, 2.0, 0.0]),
    ],
}


def _along_an_axis() -> list[Case]:
    sized = [Case(f"{n} classes", normal((2, n)), {"dim": 1}) for n in SIZES]
    return [
        *sized,
        Case("70 rows of 31", normal((70, 31)), {"dim": 1}),
        Case("300 rows of 3", normal((300, 3)), {"dim": 1}),
        Case("first axis", normal((5, 3)), {"dim": 0}),
        Case("first axis of 33 by 257", normal((33, 257)), {"dim": 0}),
        Case("middle axis", normal((2, 5, 3)), {"dim": 1}),
        Case("one axis", normal((10,)), {"dim": 0}),
        Case("batch of one, 10 classes", normal((1, 10)), {"dim": 1}),
        Case("logits of +-1000", extreme((6, 10)), {"dim": 1}),
        Case("all equal", constant(np.full((2, 4), 3.0)), {"dim": 1}),
        Case("empty batch", normal((0, 4)), {"dim": 1}),
    ]


_SHUT_OUT = "the first class is out of the question", [[-np.inf, 1.0, 1.0]], [1.0, 2.0, 4.0]

CASES["softmax"] = [*_along_an_axis(), _known(*_SHUT_OUT, [0.0, -0.5, 0.5], dim=1)]
CASES["log_softmax"] = [*_along_an_axis(), _known(*_SHUT_OUT, [1.0, -1.5, 0.5], dim=1)]
