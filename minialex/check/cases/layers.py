"""Cases of the ops that layers are made of, but for convolution and pooling."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minialex.check.case import Answer, Case, Inputs
from minialex.check.cases import not_finite
from minialex.check.cases.inputs import Draw, constant, extreme, normal
from minialex.reference.dropout import random_word


def product(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> Case:
    """Return a case of a product of matrices of the shapes `a` and `b`."""
    return Case(name, normal(a, b), linear=(0, 1))


def linear(name: str, x: tuple[int, ...], O: int, bias: bool = True) -> Case:
    """Return a case of a fully connected layer of `O` features."""
    shapes = (x, (O, x[-1]), (O,) if bias else None)
    return Case(name, normal(*shapes), linear=(0, 1, 2) if bias else (0, 1))


def lrn(name: str, x: tuple[int, ...], size: int, alpha: float, beta: float, k: float) -> Case:
    """Return a case of local response normalisation."""
    return Case(name, normal(x), {"size": size, "alpha": alpha, "beta": beta, "k": k})


def dropout(name: str, x: tuple[int, ...], p: float, seed: int, offset: int) -> Case:
    """Return a case of dropout."""
    return Case(name, normal(x), {"p": p, "seed": seed, "offset": offset}, linear=(0,))


PAPER = 5, 1e-4, 0.75, 2.0
"""AlexNet's size, alpha, beta and k of local response normalisation."""


def cross_entropy(
    name: str,
    logits: Draw,
    targets: Any,
    weights: Any = None,
    *,
    smoothing: float = 0.0,
    ignore: int = -100,
    reduction: str = "mean",
) -> Case:
    """Return a case of the cross-entropy; its weights have no gradient."""
    w = None if weights is None else np.array(weights, float)
    params = {"label_smoothing": smoothing, "ignore_index": ignore, "reduction": reduction}
    return Case(
        name,
        lambda rng: (*logits(rng), np.array(targets, np.int64), w),
        params,
        constant=(2,),
        term=1.0,
    )


def soft_cross_entropy(
    name: str,
    logits: Draw,
    shape: tuple[int, int],
    weights: Any = None,
    *,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Case:
    """Return a case of the cross-entropy with probabilities; these and weights have no gradient."""
    case = cross_entropy(name, logits, (), weights, smoothing=smoothing, reduction=reduction)

    def draw(rng: np.random.Generator) -> Inputs:
        N, C = shape
        x, _, w = case.inputs(rng)
        return x, rng.dirichlet(np.ones(C), N), w

    return dataclasses.replace(case, inputs=draw, constant=(1, 2))


def _soft_losses() -> list[Case]:
    shut_out = np.array([[-np.inf, 1.0, 1.0]]), np.array([[0.0, 0.25, 0.75]]), None
    gradient = np.array([[0.0, 0.25, -0.25]])
    return [
        soft_cross_entropy("probabilities", normal((5, 4)), (5, 4)),
        *(
            soft_cross_entropy(
                f"probabilities, weights and smoothing, {reduction}",
                normal((5, 3)),
                (5, 3),
                [0.5, 2.0, 1.0],
                smoothing=0.1,
                reduction=reduction,
            )
            for reduction in ("sum", "none")
        ),
        soft_cross_entropy("probabilities of 130 classes", normal((3, 130)), (3, 130)),
        soft_cross_entropy(
            "probabilities of 257 classes", normal((2, 257)), (2, 257), np.arange(257) / 99
        ),
        soft_cross_entropy("no probabilities", normal((0, 3)), (0, 3)),
        dataclasses.replace(
            soft_cross_entropy("probability 0 of what is out of the question", normal(), (1, 3)),
            inputs=constant(*shut_out),
            answer=Answer(np.ones(()), (gradient, None, None)),
        ),
    ]


def _losses() -> list[Case]:
    five, three = [3, 0, 2, 2, 1], [0.5, 2.0, 1.0]
    plain = [
        cross_entropy(f"{reduction}", normal((5, 4)), five, reduction=reduction)
        for reduction in ("mean", "sum", "none")
    ]
    weighted = [
        cross_entropy(
            f"weights, smoothing and a row that does not count, {reduction}",
            normal((5, 3)),
            [2, 0, -100, 2, 1],
            three,
            smoothing=0.1,
            reduction=reduction,
        )
        for reduction in ("mean", "sum", "none")
    ]
    return [
        *plain,
        *weighted,
        cross_entropy("batch of one, 10 classes", normal((1, 10)), [7]),
        cross_entropy("31 rows of 33 classes", normal((31, 33)), np.arange(31) * 5 % 33),
        cross_entropy("257 classes", normal((2, 257)), [256, 0], smoothing=0.1),
        cross_entropy("1025 classes", normal((1, 1025)), [1024]),
        cross_entropy("1000 classes, batch of 3", normal((3, 1000)), [0, 999, 500]),
        cross_entropy("logits of +-1000", extreme((6, 10)), [0, 1, 2, 3, 4, 9]),
        cross_entropy(
            "logits of +-1000, smoothed", extreme((6, 10)), [0, 1, 2, 3, 4, 9], smoothing=0.2
        ),
        cross_entropy("weights", normal((5, 3)), [2, 0, 1, 2, 1], three),
        cross_entropy("a weight of 0", normal((3, 3)), [0, 1, 2], [0.0, 1.0, 2.0]),
        cross_entropy("all smoothing", normal((3, 4)), [0, 1, 2], smoothing=1.0),
        cross_entropy("a class is ignored", normal((4, 3)), [0, 1, 1, 2], ignore=1),
        cross_entropy("no row counts", normal((2, 3)), [-100, -100]),
        *(
            cross_entropy(f"no row counts, {r}", normal((2, 3)), [-100, -100], reduction=r)
            for r in ("sum", "none")
        ),
        cross_entropy("empty batch", normal((0, 3)), np.zeros(0)),
        cross_entropy("empty batch, none", normal((0, 3)), np.zeros(0), reduction="none"),
        cross_entropy("300 rows of 5 classes", normal((300, 5)), np.arange(300) * 7 % 5),
        cross_entropy(
            "33 rows of 130 classes", normal((33, 130)), np.arange(33) * 4, smoothing=0.1
        ),
        cross_entropy(
            "257 classes with weights, smoothed",
            normal((3, 257)),
            [0, 256, 7],
            np.arange(257) / 99,
            smoothing=0.1,
        ),
        cross_entropy("one class", normal((3, 1)), [0, 0, 0]),
        *(
            cross_entropy(
                f"one class and a row that does not count, {r}",
                normal((3, 1)),
                [0, -100, 0],
                [2.0],
                smoothing=0.1,
                reduction=r,
            )
            for r in ("mean", "none")
        ),
        cross_entropy("as many rows as classes, weights", normal((3, 3)), [2, 0, 2], three),
        *(
            cross_entropy(
                f"rows that do not count are not finite, {r}",
                not_finite.rows_apart,
                [-100, 0, -100, 2],
                three,
                smoothing=0.1,
                reduction=r,
            )
            for r in ("mean", "none")
        ),
        _confident(),
        *_soft_losses(),
    ]


def _confident() -> Case:
    """Return rows whose loss is as good as 0: what is left of a gradient must be just as small."""
    x = np.array([[60.0, 0.0, 0.0], [0.0, 0.0, 60.0]])
    gradients = (np.zeros((2, 3)), None, None)
    case = cross_entropy("sure and right", constant(x), [0, 2])
    return Case(case.name, case.inputs, case.params, (2,), answer=Answer(np.ones(()), gradients))


CASES: dict[str, list[Case]] = {
    "matmul": [
        product("3x4 by 4x5", (3, 4), (4, 5)),
        product("square matrices", (4, 4), (4, 4)),
        product("31x33 by 33x7", (31, 33), (33, 7)),
        product("1x257 by 257x1", (1, 257), (257, 1)),
        product("row of 1025", (1025,), (1025, 2)),
        product("column", (3, 5), (5,)),
        product("two vectors", (31,), (31,)),
        product("stacks", (2, 3, 4), (2, 4, 5)),
        product("stack with one matrix", (2, 3, 4), (4, 5)),
        product("stacks that broadcast", (2, 1, 3, 4), (3, 4, 2)),
        product("stack with a vector", (2, 3, 4), (4,)),
        product("inner size 1", (3, 1), (1, 5)),
        product("no row", (0, 3), (3, 2)),
    ],
    "linear": [
        linear("small", (3, 4), 5),
        linear("without a bias", (3, 4), 5, bias=False),
        linear("as many rows, features and outputs", (4, 4), 4),
        linear("31 to 33", (2, 31), 33),
        linear("257 to 7", (5, 257), 7),
        linear("130 rows", (130, 6), 5),
        linear("1025 to 1", (2, 1025), 1),
        linear("batch of one, AlexNet's last", (1, 256), 10),
        linear("one feature", (4, 1), 1),
        linear("more axes", (2, 3, 4), 5),
        linear("a row without a batch", (4,), 3),
        linear("empty batch", (0, 4), 3),
        *not_finite.products(),
    ],
    "local_response_norm": [
        lrn("AlexNet's constants", (2, 7, 3, 2), *PAPER),
        lrn("AlexNet's constants, a small map", (1, 9, 3, 3), *PAPER),
        lrn("every term matters", (2, 7, 3, 2), 3, 0.7, 0.5, 1.0),
        lrn("every term matters, window of 5", (1, 11, 2, 5), 5, 0.7, 0.75, 1.0),
        lrn("window wider than the channels", (2, 2, 3, 3), 5, 0.7, 0.75, 2.0),
        lrn("window of one", (2, 3, 2, 2), 1, 0.7, 0.75, 2.0),
        # 3/4 has a form of its own, and only 3/4
        lrn("beta near 3/4", (2, 5, 2, 2), 3, 0.7, 0.755, 2.0),
        lrn("beta nearer to 3/4", (2, 5, 2, 2), 3, 0.7, 0.75 - 1e-6, 2.0),
        lrn("one channel", (1, 1, 5, 7), 3, 0.7, 1.0, 1.0),
        lrn("31 channels", (1, 31, 1, 1), 5, 0.7, 0.75, 2.0),
        lrn("33 channels", (1, 33, 1, 2), 9, 0.3, 1.5, 1.0),
        lrn("257 places", (1, 3, 1, 257), 3, 0.7, 0.75, 2.0),
        lrn("1025 channels", (1, 1025, 1, 1), 5, 0.7, 0.75, 2.0),
        lrn("32 channels of 32 places", (1, 32, 4, 8), 5, 0.7, 0.75, 2.0),
        lrn("tiles that begin within images", (3, 67, 3, 5), 5, 0.7, 0.75, 1.0),
        lrn("window of 17", (1, 40, 2, 3), 17, 0.2, 0.75, 1.0),
        lrn("window of 63", (1, 100, 1, 3), 63, 0.1, 0.6, 1.0),
        lrn("256 channels", (1, 256, 1, 2), 5, 0.7, 0.75, 2.0),
        lrn("empty batch", (0, 3, 2, 2), 3, 0.7, 0.75, 2.0),
        *not_finite.normalisations(),
    ],
    "dropout": [
        dropout("half", (3, 5), 0.5, 1, 0),
        dropout("half of 1025", (1025,), 0.5, 7, 3),
        dropout("a tenth of 257", (257,), 0.1, 2**63 + 5, 2**40 + 1),
        dropout("31 of a large seed", (31,), 0.5, 2**64 - 1, 2**64 - 1),
        dropout("33", (33,), 0.9, 0, 0),
        dropout("none", (2, 3), 0.0, 1, 0),
        dropout("all", (2, 3), 1.0, 1, 0),
        dropout("maps, batch of one", (1, 3, 5, 7), 0.5, 3, 9),
        dropout("a number", (), 0.5, 1, 4),
        dropout("empty batch", (0, 3), 0.5, 1, 0),
        # an element whose word is p 2^32 to the bit stays
        dropout("a word at the threshold", (9,), random_word(2, 5, 0) / 2**32, 5, 0),
        not_finite.dropped(),
    ],
    "cross_entropy": _losses(),
}
