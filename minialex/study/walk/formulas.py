"""The formulas of every op as ``minialex step`` shows them, and each gradient in a sentence.

They are those of the modules in ``minialex/ops``: `gy` is the gradient of the output y, `gx` that
of the input x, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OpFormula:
    """What an op computes, and what its backward computes.

    Attributes
    ----------
    forward : str
    gradients : tuple of str
        One for each input that has a gradient; the last stands for all that follow it.
    why : tuple of str
        For each of them, in a sentence.
    broadcasts : bool
        Whether inputs may be smaller than the output.
    """

    forward: str
    gradients: tuple[str, ...]
    why: tuple[str, ...]
    broadcasts: bool = False

    def gradient(self, i: int, summed: bool = False) -> tuple[str, str]:
        """Return the formula of the gradient of input `i`, and why it is that.

        It is `summed` where the input was broadcast.
        """
        i = min(i, len(self.gradients) - 1)
        return self.gradients[i] + SUMMED * (self.broadcasts and summed), self.why[i]


def _one(forward: str, gradient: str, why: str) -> OpFormula:
    return OpFormula(forward, (gradient,), (why,))


def _two(forward: str, gradients: tuple[str, str], why: tuple[str, str]) -> OpFormula:
    return OpFormula(forward, gradients, why, broadcasts=True)


SUMMED = ", summed over the axes along which it was broadcast"
"""What follows the formula of the gradient of an input that is smaller than the output."""

_COPY = "y is x moved by as much as x moves: the gradient is passed on"
_WHERE_FROM = "each element of y is one of x: its gradient goes back to where it came from"
_SLOPE = "each element of y depends on one of x: its gradient times the slope there"

FORMULAS: dict[str, OpFormula] = {
    "add": _two(
        "y = a + b",
        ("ga = gy", "gb = gy"),
        (
            "y moves by as much as a does: the gradient is passed on whole",
            "y moves by as much as b does: the gradient is passed on whole, not shared out",
        ),
    ),
    "subtract": _two(
        "y = a - b",
        ("ga = gy", "gb = -gy"),
        (
            "y moves by as much as a does: the gradient is passed on",
            "y falls where b rises: the gradient is passed on with the other sign",
        ),
    ),
    "multiply": _two(
        "y = a b",
        ("ga = gy b", "gb = gy a"),
        (
            "a is multiplied by b, so y moves b times as far as a: each factor gets the other",
            "b is multiplied by a, so y moves a times as far as b: each factor gets the other",
        ),
    ),
    "divide": _two(
        "y = a / b",
        ("ga = gy / b", "gb = -gy y / b"),
        (
            "a is divided by b, and so is its gradient",
            "a larger b makes y smaller: its slope is -a / b^2, which is -y / b",
        ),
    ),
    "negative": _one("y = -x", "gx = -gy", "y falls where x rises"),
    "power": _two(
        "y = x^p",
        ("gx = gy p x^(p-1)", "gp = gy y ln x"),
        (_SLOPE, "the slope of x^p by its exponent is x^p ln x"),
    ),
    "exp": _one("y = e^x", "gx = gy y", "the slope of e^x is e^x itself, which is y"),
    "log": _one("y = ln x", "gx = gy / x", "the slope of ln x is 1 / x"),
    "sqrt": _one("y = sqrt x", "gx = gy / (2 y)", "the slope of the root is 1 / (2 sqrt x)"),
    "tanh": _one(
        "y = tanh x", "gx = gy (1 - y^2)", "the slope is 1 at 0, and 0 far out, where tanh is flat"
    ),
    "sigmoid": _one(
        "y = 1 / (1 + e^-x)", "gx = gy y (1 - y)", "the slope is 1/4 at 0, and 0 far out"
    ),
    "absolute": _one("y = |x|", "gx = gy sign x", "the slope is 1 or -1, and 0 is taken at 0"),
    "relu": _one(
        "y = max(x, 0)",
        "gx = gy where y > 0, else 0",
        "where x was cut off, y does not move with it: nothing passes; at 0 itself any slope "
        "from 0 to 1 would do, and 0 is taken",
    ),
    "sum": _one(
        "y = sum of x",
        "gx = gy, given to each element that was summed",
        "the sum moves by as much as any of its elements does",
    ),
    "max": _one(
        "y = max of x",
        "gx = gy at the maximum, else 0",
        "y moves with the largest element alone; several of that size share",
    ),
    "maximum": _two(
        "y = max(a, b)",
        ("ga = gy where a > b, else 0", "gb = gy where b > a, else 0"),
        ("y moves with the larger; equals get half each",) * 2,
    ),
    "minimum": _two(
        "y = min(a, b)",
        ("ga = gy where a < b, else 0", "gb = gy where b < a, else 0"),
        ("y moves with the smaller; equals get half each",) * 2,
    ),
    "where": OpFormula(
        "y = a where c, else b",
        ("", "ga = gy where c, else 0", "gb = 0 where c, else gy"),
        ("",) + ("y moves with the one that was taken",) * 2,
        broadcasts=True,
    ),
    "clip": _one(
        "y = x kept between min and max",
        "gx = gy where min <= x <= max, else 0",
        "where x was cut off, y does not move with it",
    ),
    "reshape": _one("y = x in another shape", "gx = gy in the shape of x", _WHERE_FROM),
    "permute": _one("y = x with its axes in another order", "gx = gy, axes back", _WHERE_FROM),
    "getitem": _one(
        "y = x[index]",
        "gx = zeros, to which gy is added at the index",
        "what was not taken has no part in y; what was taken twice gets both gradients",
    ),
    "concatenate": _one(
        "y = inputs joined", "each gets its piece of gy", "each element of y is one of an input"
    ),
    "astype": _one("y = x in another type", "gx = gy in the type of x", _COPY),
    "to": _one("y = x on another device", "gx = gy on the device of x", _COPY),
    "matmul": _two(
        "y = a b, of matrices",
        ("ga = gy b^T", "gb = a^T gy"),
        (
            "a[i, k] has a part in row i of y, by way of row k of b: the sum runs over columns",
            "b[k, j] has a part in column j of y, by way of column k of a: the sum runs over rows",
        ),
    ),
    "linear": OpFormula(
        "y = x w^T + b",
        ("gx = gy w", "gw = gy^T x", "gb = gy summed over rows"),
        (
            "x[n, i] has a part in each output o of its row, by w[o, i]: the sum runs over outputs",
            "w[o, i] has a part in output o of each row, by x[n, i]: the sum runs over rows",
            "b[o] is added to output o of each row: a sum over rows, not a mean",
        ),
    ),
    "conv2d": OpFormula(
        "y[n, o, i, j] = b[o] + sum of w[o, c, k, l] x[n, c, i sh - ph + k, j sw - pw + l]",
        (
            "gx = at each pixel, the sum of w gy over the windows that hold it",
            "gw = for each tap, the sum of gy x over images and windows",
            "gb = gy summed over images and windows",
        ),
        (
            "a pixel has a part in each window that holds it, each time by another tap: the "
            "later the window the earlier the tap, which flips the filter; at stride s only each "
            "s-th tap",
            "a tap has a part in every output of its filter, each time by another pixel",
            "b[o] is added to every output of filter o: a sum, not a mean",
        ),
    ),
    "max_pool2d": _one(
        "y = largest of each window of x",
        "gx = at each pixel, the sum of gy over the windows whose maximum it is",
        "y moves with the maximum alone, of several equals the first; others get 0",
    ),
    "avg_pool2d": _one(
        "y = mean of each window of x",
        "gx = at each pixel, the sum of gy / (size of the window) over the windows that hold it",
        "a pixel has an equal part in each window that holds it",
    ),
    "adaptive_avg_pool2d": _one(
        "y = mean of each part of x",
        "gx = at each pixel, the sum of gy / (size of the part) over the parts that hold it",
        "a pixel has an equal part in each part that holds it",
    ),
    "local_response_norm": _one(
        "y = x s^-beta, s = k + alpha times the sum of x^2 over neighbouring channels",
        "gx = gy s^-beta - 2 alpha beta x times the sum of gy y / s over neighbouring channels",
        "x is scaled itself, and is part of what its neighbours are divided by",
    ),
    "dropout": _one(
        "y = x / (1 - p) where kept, else 0",
        "gx = gy / (1 - p) where kept, else 0",
        "what was dropped has no part in y; what was kept was scaled",
    ),
    "softmax": _one(
        "y = e^x / sum e^x",
        "gx = y (gy - sum of gy y)",
        "raising one x takes from all other y of its row, as they add up to 1",
    ),
    "log_softmax": _one(
        "y = x - ln sum e^x",
        "gx = gy - e^y sum of gy",
        "raising one x lowers all other y of its row, by its share e^y",
    ),
    "cross_entropy": _one(
        "y = mean over rows n of -ln p[n, t[n]], p = softmax(x)",
        "gx = gy (p - onehot t) / N",
        "-ln p[t] is ln sum e^x - x[t]: the slope of the first is p, of the second 1 at t; "
        "1/N is from the mean",
    ),
}
