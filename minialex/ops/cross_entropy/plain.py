"""cross_entropy in array operations, with l = log_softmax(x), p = softmax(x), e = label_smoothing.

loss[n] = -sum_c s[c] l[n, c]           s = w ((1 - e) q + e / C)
gx[n]   = p sum_c s[c] - s              q = targets[n], or 1 for that class and 0 for the others
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients

Saved = tuple[Any, ...]


def forward(
    x: Array, targets: Array, w: Any, *, label_smoothing: float, ignore_index: int, reduction: str
) -> tuple[Array, Saved]:
    """Return the loss: a number, or one per row for reduction "none"."""
    xp = array_module(x)
    shifted = x - x.max(axis=1, keepdims=True)
    total = xp.exp(shifted).sum(axis=1, keepdims=True)
    s, weights = _soft_targets(x, targets, w, label_smoothing, ignore_index)
    # 0 times a logarithm that is not finite is 0 here
    loss = -(s * xp.where(s == 0, 0, shifted - xp.log(total))).sum(axis=1)
    divisor = weights.sum() if reduction == "mean" else xp.ones((), x.dtype)
    scale = 1 / xp.where(divisor == 0, 1, divisor)
    saved = xp.exp(shifted) / total, targets, w, scale
    return loss if reduction == "none" else loss.sum() * scale, saved


def backward(
    gy: Array, saved: Saved, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Gradients:
    """Return the gradient of the logits; targets and weights have none."""
    p, targets, w, scale = saved
    s, _ = _soft_targets(p, targets, w, label_smoothing, ignore_index)
    s *= array_module(p).broadcast_to(gy * scale, len(p))[:, None]
    total = s.sum(axis=1, keepdims=True)
    return array_module(p).where(total == 0, 0, p * total - s), None, None


def _soft_targets(
    x: Array, targets: Array, w: Array | None, e: float, ignore_index: int
) -> tuple[Array, Array]:
    """Return s, and how much each row counts: NaN where the target is no class."""
    xp, (N, C) = array_module(x), x.shape
    w = xp.ones(C, x.dtype) if w is None else w
    if targets.ndim == 2:
        return w * ((1 - e) * targets + e / C), xp.ones(N, x.dtype)
    q, known = (targets[:, None] == xp.arange(C)).astype(x.dtype), (targets >= 0) & (targets < C)
    rows = xp.where(targets == ignore_index, 0, xp.where(known, 1, np.nan)).astype(x.dtype)
    return w * ((1 - e) * q + e / C) * rows[:, None], (w * q).sum(axis=1) * rows
