"""Cases of the ops that layers are made of, on numbers that are not finite.

NaN and infinities must come out exactly where the definition has them: one bad pixel spoils what
is made of it, and neither another image nor another group. Gradients are known from the formulas,
written out here in loops. All finite numbers are small and whole, so that sums of them are exact,
and none is 0, so that what is NaN does not hang on a product of 0 and infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check.case import Answer, Case, Inputs, generator
from minialex.check.cases.inputs import constant
from minialex.reference import dropout

SPLITTING = ("tf32x3", "multistage_tf32x3")
"""Implementations that take a number apart, x = high + low: of an infinity they make NaN."""

TILING = ("winograd",)
"""Implementations that make many outputs of sums of all they depend on: all of these are NaN."""


def whole(name: str, *shape: int) -> Array:
    """Return whole numbers from 1 to 3 of both signs, the same ones for the same name."""
    rng = generator("not finite", name)
    return np.asarray(rng.integers(1, 4, shape) * rng.choice((-1.0, 1.0), shape))


def spoiled(a: Array, **places: tuple[int, ...]) -> Array:
    """Return a copy of `a` with NaN, infinity or its negative at the `places` of those names."""
    a = a.copy()
    for name, place in places.items():
        a[place] = {"nan": np.nan, "inf": np.inf, "low": -np.inf}[name]
    return a


def _case(name: str, inputs: Inputs, params: dict[str, Any], answer: Answer) -> Case:
    return Case(
        name,
        constant(*inputs),
        params,
        answer=answer,
        nan_for_infinity=SPLITTING,
        nan_for_anything=TILING,
    )


def _linear(name: str, x: Array, w: Array, gy: Array) -> Case:
    gx, gw = np.zeros(x.shape), np.zeros(w.shape)
    for r, o in np.ndindex(gy.shape):
        gx[r] += gy[r, o] * w[o]
        gw[o] += gy[r, o] * x[r]
    return _case(name, (x, w, whole("b", len(w))), {}, Answer(gy, (gx, gw, gy.sum(axis=0))))


def products() -> list[Case]:
    """Return the cases of linear."""
    x, w, gy = whole("x", 9, 20), whole("w", 6, 20), whole("gy", 9, 6)
    return [
        _linear("rows that are not finite", spoiled(x, nan=(0, 3), inf=(4, 19), low=(8, 0)), w, gy),
        _linear("weights that are not finite", x, spoiled(w, nan=(0, 19), inf=(5, 4)), gy),
        _linear("a cotangent that is not finite", x, w, spoiled(gy, nan=(8, 0), inf=(3, 5))),
    ]


def _conv2d(
    name: str,
    x: Array,
    w: Array,
    gy: Array,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Case:
    """Return the case of a convolution in two groups."""
    (ph, pw), (O, C, KH, KW) = padding, w.shape
    edges = (0, 0), (0, 0), (ph, ph), (pw, pw)
    padded, gw = np.asarray(np.pad(x, edges)), np.zeros(w.shape)
    gx: Array = np.zeros_like(padded)
    for n, o, i, j in np.ndindex(gy.shape):
        channels = slice(0, C) if o < O // 2 else slice(C, 2 * C)
        rows, columns = (
            slice(at * step, at * step + size)
            for at, step, size in zip((i, j), stride, (KH, KW), strict=True)
        )
        gx[n, channels, rows, columns] += gy[n, o, i, j] * w[o]
        gw[o] += gy[n, o, i, j] * padded[n, channels, rows, columns]
    gx = gx[:, :, ph : gx.shape[2] - ph, pw : gx.shape[3] - pw]
    params = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": 2}
    answer = Answer(gy, (gx, gw, gy.sum(axis=(0, 2, 3))))
    return _case(name, (x, w, whole("b", O)), params, answer)


def convolutions() -> list[Case]:
    """Return the cases of conv2d.

    Filters are not finite where each weight meets each pixel: elsewhere it is up to the
    implementation what they make of padding. See ``minialex.ops.conv2d``.
    """
    x, w = whole("x", 3, 4, 5, 6), whole("w", 6, 2, 3, 2)
    bad = spoiled(x, nan=(0, 1, 0, 5), inf=(1, 2, 2, 2))
    one, gy = whole("one", 6, 2, 1, 1), whole("gy", 3, 6, 5, 6)
    return [
        _conv2d("pixels that are not finite", bad, w, whole("gy", 3, 6, 3, 5)),
        _conv2d(
            "pixels that are not finite, padded, stride 2x1",
            bad,
            w,
            whole("gy", 3, 6, 3, 7),
            stride=(2, 1),
            padding=(1, 1),
        ),
        _conv2d(
            "pixels that are not finite, stride 2x3", bad, w, whole("gy", 3, 6, 2, 2), stride=(2, 3)
        ),
        _conv2d("filters that are not finite", x, spoiled(one, nan=(0, 1), inf=(5, 0)), gy),
        _conv2d(
            "a cotangent that is not finite",
            x,
            w,
            spoiled(whole("gy", 3, 6, 3, 5), nan=(0, 0, 2, 4), inf=(2, 5, 0, 0)),
        ),
    ]


def dropped() -> Case:
    """Return the case of dropout: what is dropped is 0, whatever it was."""
    params: dict[str, Any] = {"p": 0.5, "seed": 2, "offset": 1}
    bad = np.resize([np.nan, np.inf, -np.inf, 1.0, -2.0], 40)
    x, gy = bad.copy(), np.roll(bad, 2)
    return Case("not finite", constant(x), params, answer=Answer(gy, (dropout(gy, **params),)))


def rows_apart(rng: np.random.Generator) -> Inputs:
    """Return four rows of three logits: NaN, finite, infinity, finite."""
    x = rng.standard_normal((4, 3))
    x[0, 1], x[2, 2] = np.nan, np.inf
    return (x,)


def normalisations() -> list[Case]:
    """Return the cases of local response normalisation."""
    x, gy = whole("x", 2, 12, 2, 2), whole("gy", 2, 12, 2, 2)
    return [
        _lrn("NaN", spoiled(x, nan=(0, 5, 0, 1)), gy),
        _lrn("infinity", spoiled(x, inf=(1, 5, 1, 0)), gy),
        _lrn("a cotangent that is not finite", x, spoiled(gy, nan=(0, 0, 0, 0), inf=(1, 6, 0, 1))),
    ]


def _lrn(name: str, x: Array, gy: Array) -> Case:
    alpha, beta, k, half = 0.5, 0.75, 1.0, 1
    gx = np.zeros(x.shape)
    # infinity in a window makes that channel NaN, by 0 times infinity, and its neighbours 0
    with np.errstate(invalid="ignore"):
        for c in range(x.shape[1]):
            near = slice(max(0, c - half), c + half + 1)
            s = k + alpha * (x[:, near] ** 2).sum(axis=1)
            gx[:, c] += gy[:, c] * s**-beta
            pulled = 2 * alpha * beta * gy[:, c] * x[:, c] * s ** (-beta - 1)
            gx[:, near] -= pulled[:, None] * x[:, near]
    params = {"size": 2 * half + 1, "alpha": alpha, "beta": beta, "k": k}
    return Case(name, constant(x), params, answer=Answer(gy, (gx,)))
