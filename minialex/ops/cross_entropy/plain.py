"""cross_entropy in array operations, with l = log_softmax(x), p = softmax(x), e = label_smoothing.

loss[n] = -sum_c s[c] l[n, c]           s = w (1 - e) q + w e / C
gx[n]   = p sum_c s[c] - s              q = targets[n], or 1 for that class and 0 for the others
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients


def forward(
    x: Array, targets: Array, w: Any, *, label_smoothing: float, ignore_index: int, reduction: str
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss: a number, or one per row for reduction "none"."""
    xp, log_p = array_module(x), x - x.max(axis=1, keepdims=True)
    p = xp.exp(log_p)
    total = p.sum(axis=1, keepdims=True)
    p, log_p = p / total, log_p - xp.log(total)
    parts, weights = _shares(x, targets, w, label_smoothing, ignore_index)
    # 0 times a logarithm that is not finite is 0 here
    loss: Any = -sum((s * xp.where(s == 0, 0, log_p[classes])).sum(axis=1) for classes, s in parts)
    divisor = weights.sum() if reduction == "mean" else xp.ones((), x.dtype)
    scale = 1 / xp.where(divisor == 0, 1, divisor)
    return loss if reduction == "none" else loss.sum() * scale, (p, targets, w, scale)


def backward(
    gy: Array, saved: tuple[Any, ...], *, label_smoothing: float, ignore_index: int, reduction: str
) -> Gradients:
    """Return the gradient of the logits; targets and weights have none."""
    p, targets, w, scale = saved
    g = array_module(p).broadcast_to(gy * scale, len(p))[:, None]
    parts, _ = _shares(p, targets, w, label_smoothing, ignore_index)
    total: Any = g * sum(s.sum(axis=1, keepdims=True) for _, s in parts)
    gx = p * total
    for classes, s in parts:
        gx[classes] -= s * g
    gx[total[:, 0] == 0] = 0
    return gx, None, None


def _shares(x: Array, targets: Array, w: Any, e: float, ignore_index: int) -> tuple[Any, Array]:
    """Return the parts of s, each with the classes that it is for, and how much each row counts."""
    xp, (N, C) = array_module(x), x.shape
    w = xp.ones(C, x.dtype) if w is None else w
    if targets.ndim == 2:
        rows = weights = xp.ones(N, x.dtype)
        parts: list[Any] = [(..., (1 - e) * w * targets)]
    else:
        known, t = (targets >= 0) & (targets < C), targets.clip(0, C - 1)
        rows = xp.where(targets == ignore_index, 0, xp.where(known, 1, np.nan)).astype(x.dtype)
        weights = w[t] * rows
        parts = [((xp.arange(N)[:, None], t[:, None]), (1 - e) * weights[:, None])]
    return parts + ([(..., w * (e / C) * rows[:, None])] if e else []), weights
