"""Cases of the ops that work element by element, with broadcasting, and of those on one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.check.case import Answer, Case, Inputs
from minialex.check.cases.inputs import (
    Draw,
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
    "column of a square": ((4, 4), (4, 1)),
    "row of a square": ((4, 4), (4,)),
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


def _with_number(draw: Draw, *number: Any) -> Draw:
    """Return a draw followed by a constant."""
    return lambda rng: (*draw(rng), *(np.array(n, float) for n in number))


def _with_mask(draw: Draw, mask: Any) -> Draw:
    """Return a draw after a mask."""
    return lambda rng: (np.array(mask, bool), *draw(rng))


def _known_at_0() -> Case:
    """Return powers of 0, with gradients by PyTorch's rules."""
    answer = Answer(np.array([1.0, 2, 4]), (np.array([0.0, 2, 0]), np.zeros(3)))
    return Case("powers of 0", constant(np.zeros(3), np.array([0.0, 1, 2])), answer=answer)


def _choice_of_two(op: str) -> list[Case]:
    """Return pairs far enough apart, and ties, whose gradients are shared."""
    a, b = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 3.0, 2.0, 0.0])
    gy = np.array([2.0, 4.0, 8.0, 16.0])
    gradients = np.array([1.0, 0, 8, 16]), np.array([1.0, 4, 0, 16])
    answer = Answer(gy, gradients if op == "maximum" else gradients[::-1])

    def apart(rng: np.random.Generator) -> Inputs:
        numbers = rng.permutation(np.linspace(-3.0, 3, 2 * 30))
        return numbers[:30].reshape(2, 3, 5), numbers[30:].reshape(2, 3, 5)

    return [
        Case("same shape", apart),
        Case("bias of channels", lambda rng: (*normal((2, 3, 4, 5))(rng), np.array([[[0.5]]] * 3))),
        Case("number on the left", lambda rng: (np.array(0.0), *distinct((33,))(rng))),
        Case("empty batch", normal((0, 3), (1, 3))),
        Case("ties and NaN", constant(a, b), answer=answer),
    ]


_AT_BOUNDS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [0.0, 2.0, 4.0, 8.0, 0.0, 0.0]

CASES: dict[str, list[Case]] = {
    **{op: _binary(op) for op in ("add", "subtract", "multiply", "divide")},
    "negative": _unary(normal),
    "power": [
        Case("square", _with_number(normal((31,)), 2), constant=(1,)),
        Case("cube of both signs", _with_number(normal((33,)), 3), constant=(1,)),
        Case("root", _with_number(between(0.5, 3, (257,)), 0.5)),
        Case("inverse", _with_number(away(0.5, (3, 11)), -1), constant=(1,)),
        Case("a number to powers", between(0.5, 3, (), (1025,))),
        Case("row to the power of a column", between(0.5, 3, (1, 5), (3, 1))),
        Case("empty batch", between(0.5, 3, (0, 3), (3,))),
        _known_at_0(),
    ],
    **{op: _choice_of_two(op) for op in ("maximum", "minimum")},
    "where": [
        Case("mask", _with_mask(normal((2, 3), (2, 3)), [[1, 0, 1], [0, 0, 1]]), linear=(1, 2)),
        Case("mask of columns", _with_mask(normal((3, 1), (257,)), np.arange(257) % 3 > 0)),
        Case("a number and a row", _with_mask(normal((), (3,)), [[True], [False]])),
        Case("empty batch", _with_mask(normal((0, 3), (3,)), np.ones((0, 3)))),
    ],
    "clip": [
        *(
            Case(f"{low} to {high}", distinct((33,)), {"min": low, "max": high})
            for low, high in ((-0.4, 0.7), (None, 0.2), (0, None), (1, -1))
        ),
        _known("at the bounds", [-2.0, -1.0, 0.0, 1.0, 2.0, np.nan], *_AT_BOUNDS, min=-1, max=1),
        Case("empty batch", normal((0, 3)), {"min": -1, "max": 1}),
    ],
    "exp": [*_unary(normal), Case("from -80 to 20", between(-80, 20, (33,)))],
    "log": [*_unary(_whole(0.1)), Case("from 1e-3 to 1e3", between(1e-3, 1e3, (33,)))],
    "sqrt": [*_unary(_whole(0.1)), Case("from 1e-3 to 1e3", between(1e-3, 1e3, (33,)))],
    "tanh": [*_unary(normal), Case("saturated", constant(np.linspace(-16, 16, 33)))],
    "sigmoid": [
        *_unary(normal),
        Case("saturated", constant(np.array([-1000.0, -80, -16, 16, 80, 1000]))),
    ],
    "absolute": [
        *_unary(_far(0.05)),
        Case("near the kink", normal((33,))),
        _kinked([-2.0, -0.0, 0.0, 1e-30, 3.0], [-1, 0, 0, 1, 1]),
        _known("not finite", [[np.nan, np.inf, -np.inf]], [1.0, 2.0, 4.0], [np.nan, 2.0, -4.0]),
    ],
    "relu": [
        *_unary(distinct),
        Case("near the kink", normal((2, 3, 7, 5))),
        Case("ties with 0", tied((3, 5))),
        Case("batch of one, AlexNet's first channels", normal((1, 4, 11, 13))),
        _kinked([-2.0, -0.0, 0.0, 1e-30, 3.0], [0, 0, 0, 1, 1]),
        _known("not finite", [[np.nan, np.inf, -np.inf]], [1.0, 2.0, 4.0], [1.0, 2.0, 0.0]),
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
        Case("first axis of a square", normal((4, 4)), {"dim": 0}),
        Case("middle axis of a cube", normal((3, 3, 3)), {"dim": 1}),
        Case("one axis", normal((10,)), {"dim": 0}),
        Case("batch of one, 10 classes", normal((1, 10)), {"dim": 1}),
        Case("logits of +-1000", extreme((6, 10)), {"dim": 1}),
        Case("all equal", constant(np.full((2, 4), 3.0)), {"dim": 1}),
        Case("empty batch", normal((0, 4)), {"dim": 1}),
    ]


_SHUT_OUT = "the first class is out of the question", [[-np.inf, 1.0, 1.0]], [1.0, 2.0, 4.0]

CASES["softmax"] = [*_along_an_axis(), _known(*_SHUT_OUT, [0.0, -0.5, 0.5], dim=1)]
CASES["log_softmax"] = [*_along_an_axis(), _known(*_SHUT_OUT, [1.0, -1.5, 0.5], dim=1)]
