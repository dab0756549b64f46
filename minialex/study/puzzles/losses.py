"""Puzzles about softmax and the cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.autograd import OPS
from minialex.study.puzzles.puzzle import BACKWARD, Puzzle
from minialex.study.puzzles.python_puzzles import (
    Backward,
    Forward,
    Functions,
    OpPuzzle,
    own_backward,
)


def _along(op: str, f: Functions) -> tuple[Forward, Backward]:
    return own_backward(op, lambda gy, saved, *, dim: (f.backward(gy, *saved, dim),))


def _stable_forward(f: Functions) -> tuple[Forward, Backward]:
    def forward(x: Any, *, dim: int) -> tuple[Any, tuple[Any]]:
        # an empty row has no largest element
        y = f.forward(x, dim) if x.size else x.copy()
        return y, (y,)

    return forward, OPS["log_softmax"].implementations["plain"].backward


Targets = Any
"""(N,) classes or (N, C) probabilities."""


def _cross_entropy(soft_targets: Any, divisor: Any, gradient: Any) -> tuple[Forward, Backward]:
    """Return the cross-entropy made of three functions, of which one is the solution's.

    Parameters
    ----------
    soft_targets : ``soft_targets(q, w, e)``
    divisor : ``divisor(row_weights, counts)``
    gradient : ``gradient(gy, p, s, scale)``
    """

    def soft_rows(x: Any, targets: Any, w: Any, e: float, ignore: int) -> tuple[Any, Any, Any]:
        N, C = x.shape
        w = np.ones(C, x.dtype) if w is None else w
        if targets.ndim == 2:
            return soft_targets(targets.astype(x.dtype), w, e), np.ones(N, x.dtype), None
        q = (targets[:, None] == np.arange(C)).astype(x.dtype)
        counts = targets != ignore
        s = np.where(counts[:, None], soft_targets(q, w, e), 0)
        return s, w[np.where(counts, targets, 0)], counts

    def forward(
        x: Any, targets: Any, w: Any, *, label_smoothing: float, ignore_index: int, reduction: str
    ) -> tuple[Any, tuple[Any, ...]]:
        shifted = x - x.max(axis=1, keepdims=True)
        total = np.exp(shifted).sum(axis=1, keepdims=True)
        s, weights, counts = soft_rows(x, targets, w, label_smoothing, ignore_index)
        loss = -(s * np.where(s == 0, 0, shifted - np.log(total))).sum(axis=1)
        below = np.ones((), x.dtype)
        if reduction == "mean":
            counts = np.ones(len(x), bool) if counts is None else counts
            below = np.asarray(divisor(weights, counts), x.dtype)
        with np.errstate(divide="ignore"):
            scale = 1 / below
        saved = np.exp(shifted) / total, targets, w, scale
        return loss if reduction == "none" else loss.sum() * scale, saved

    def backward(
        gy: Any, saved: Any, *, label_smoothing: float, ignore_index: int, reduction: str
    ) -> tuple[Any, None, None]:
        p, targets, w, scale = saved
        s, _, _ = soft_rows(p, targets, w, label_smoothing, ignore_index)
        rows = np.broadcast_to(gy, len(p))
        return gradient(rows, p, s, scale), None, None

    return forward, backward


def _soft_targets(q: Any, w: Any, e: float) -> Any:
    return w * ((1 - e) * q + e / q.shape[1])


def _divisor(weights: Any, counts: Any) -> Any:
    total = weights[counts].sum()
    return total if total else 1


def _gradient(gy: Any, p: Any, s: Any, scale: Any) -> Any:
    total = s.sum(axis=1, keepdims=True)
    return np.where(total == 0, 0, p * total - s) * (gy * scale)[:, None]


PUZZLES: list[Puzzle] = [
    OpPuzzle(
        name="softmax",
        title="The sum in softmax's gradient",
        kind=BACKWARD,
        topic="softmax",
        op="softmax",
        implement=lambda f: _along("softmax", f),
        functions=("backward",),
        task="""
        y = softmax(x) along the axis dim. Given gy and y, return the gradient of x: each y depends
        on every x of its row.
        """,
        hint="dy[c]/dx[k] = y[c] ([c is k] - y[k]): add up gy[c] times that over c.",
        why="sum_c gy[c] y[c] ([c is k] - y[k]) = y[k] (gy[k] - sum_c gy[c] y[c]).",
        template="""
        import numpy as np


        def backward(gy, y, dim):
            @@
        """,
        begun="return gy * y * (1 - y)",
        solved="return y * (gy - (gy * y).sum(axis=dim, keepdims=True))",
    ),
    OpPuzzle(
        name="log-softmax",
        title="The gradient of a log-softmax, from its output",
        kind=BACKWARD,
        topic="softmax",
        op="log_softmax",
        implement=lambda f: _along("log_softmax", f),
        functions=("backward",),
        task="""
        y = log(softmax(x)) along the axis dim. Given gy and y, return the gradient of x.
        """,
        hint="y[c] = x[c] - log sum_k exp(x[k]); what is the derivative of that sum's logarithm?",
        why="The derivative of log sum exp is the softmax, exp(y); it is met once for every gy.",
        template="""
        import numpy as np


        def backward(gy, y, dim):
            @@
        """,
        begun="return gy - np.exp(y)",
        solved="return gy - np.exp(y) * gy.sum(axis=dim, keepdims=True)",
    ),
    OpPuzzle(
        name="log-softmax-forward",
        title="Logits of a thousand",
        kind=BACKWARD,
        topic="softmax",
        op="log_softmax",
        implement=_stable_forward,
        functions=("forward",),
        task="""
        Return log(softmax(x)) along the axis dim, for any finite x: of logits of +-1000 the right
        answers are finite, and no step on the way may overflow, or lose them to log(0).
        """,
        hint="Taking one number off all logits of a row changes nothing. Which number, and where "
        "is the logarithm taken?",
        why="With the largest logit of each row taken off, no exponential overflows and the sum "
        "is 1 at least; its logarithm is subtracted, so none is taken of a softmax that is 0.",
        template="""
        import numpy as np


        def forward(x, dim):
            @@
        """,
        begun="""
        e = np.exp(x)
        return np.log(e / e.sum(axis=dim, keepdims=True))
        """,
        solved="""
        shifted = x - x.max(axis=dim, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
        """,
    ),
    OpPuzzle(
        name="p-minus-y",
        title="p - y, and what it is multiplied by",
        kind=BACKWARD,
        topic="cross-entropy",
        op="cross_entropy",
        implement=lambda f: _cross_entropy(_soft_targets, _divisor, f.gradient),
        functions=("gradient",),
        task="""
        The loss of row n is -sum_c s[n, c] log p[n, c], with p = softmax(x), and what is returned
        is scale times the sum of the losses, or each of them by itself, where scale is 1. s is the
        one-hot target in the simplest case; with class weights a row of it does not sum to 1, and
        a row that does not count is all 0: its gradient is 0, whatever p is, NaN too. gy has one
        number per row. Return the gradient of x.
        """,
        hint="Use the gradient of log_softmax: it has the sum over the row of what comes in.",
        why="The gradient of sum_c s[c] log p[c] is s - p sum_c s[c]; only where s sums to 1 is "
        "that s - p.",
        template="""
        import numpy as np


        def gradient(gy, p, s, scale):
            @@
        """,
        begun="return p - s",
        solved="""
        total = s.sum(axis=1, keepdims=True)
        return np.where(total == 0, 0, p * total - s) * (gy * scale)[:, None]
        """,
    ),
    OpPuzzle(
        name="label-smoothing",
        title="Smoothed labels, with class weights",
        kind=BACKWARD,
        topic="cross-entropy",
        op="cross_entropy",
        implement=lambda f: _cross_entropy(f.soft_targets, _divisor, _gradient),
        functions=("soft_targets",),
        task="""
        q (N, C) are targets, one-hot or probabilities. Label smoothing of e takes the share e from
        them and gives it to all C classes in equal parts, the right one too. The loss of class c
        then counts w[c] times. Return s (N, C), where the loss is -sum_c s[n, c] log p[n, c].
        """,
        hint="First smooth, then weigh.",
        why="The smoothed target is (1 - e) q + e / C, and every class's logarithm has its weight.",
        template="""
        import numpy as np


        def soft_targets(q, w, e):
            N, C = q.shape
            @@
        """,
        begun="return q * w",
        solved="return w * ((1 - e) * q + e / C)",
    ),
    OpPuzzle(
        name="mean-loss",
        title="What a mean loss is divided by",
        kind=BACKWARD,
        topic="cross-entropy",
        op="cross_entropy",
        implement=lambda f: _cross_entropy(_soft_targets, f.divisor, _gradient),
        functions=("divisor",),
        task="""
        The mean of the losses is a weighted one: row n weighs row_weights[n], the weight of its
        class, and counts[n] says whether it counts at all (a row whose target is to be ignored
        does not). Return what the sum of the losses is divided by. Where nothing counts, the loss
        is 0 and not NaN: divide by 1 then.
        """,
        hint="The losses of a row already contain its weight.",
        why="A weighted mean divides by the sum of the weights, of those that count.",
        template="""
        import numpy as np


        def divisor(row_weights, counts):
            @@
        """,
        begun="return len(row_weights)",
        solved="""
        total = row_weights[counts].sum()
        return total if total else 1
        """,
    ),
]
