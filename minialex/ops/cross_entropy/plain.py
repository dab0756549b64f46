"""cross_entropy in array operations, with l = log_softmax(x), p = softmax(x), e = label_smoothing.

Of classes:
loss[n] = -(1 - e) w[t] l[n, t] - e / C sum_c w[c] l[n, c]         t = targets[n]
gx[n]   = (1 - e) w[t] (p - onehot t) + e / C (p sum_c w[c] - w)

Of probabilities:
loss[n] = -sum_c s[c] l[n, c]              s = w ((1 - e) targets[n] + e / C)
gx[n]   = p sum_c s[c] - s
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
    log_p = shifted - xp.log(total)
    if targets.ndim == 2:
        s = _soft_targets(targets, w, label_smoothing)
        # 0 times a logarithm of -inf is 0 here
        loss, row_weights = -(s * xp.where(s == 0, 0, log_p)).sum(axis=1), xp.ones(len(x), x.dtype)
    else:
        loss, row_weights = _of_classes(log_p, targets, w, label_smoothing, ignore_index)
    divisor = row_weights.sum() if reduction == "mean" else xp.ones((), x.dtype)
    scale = 1 / xp.where(divisor == 0, 1, divisor)
    saved = xp.exp(shifted) / total, targets, w, scale
    return loss if reduction == "none" else loss.sum() * scale, saved


def _of_classes(
    log_p: Array, targets: Array, w: Array | None, e: float, ignore_index: int
) -> tuple[Array, Array]:
    """Return the loss of each row, and w[t]."""
    xp, (N, C) = array_module(log_p), log_p.shape
    counts, t, weights, wt = _weights(log_p, targets, w, ignore_index)
    loss = -(1 - e) * wt * log_p[xp.arange(N), t]
    if e:
        loss -= e / C * (weights * log_p).sum(axis=1)
    return xp.where(counts, loss, 0), wt


def _soft_targets(q: Array, w: Array | None, e: float) -> Array:
    """Return what the logarithms of probabilities are multiplied by."""
    s: Array = (1 - e) * q + e / q.shape[1]
    return s if w is None else s * w


def backward(
    gy: Array, saved: Saved, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Gradients:
    """Return the gradient of the logits; targets and weights have none."""
    (p, targets, w, scale), e = saved, label_smoothing
    xp, (N, C), row = array_module(p), p.shape, gy * scale
    if targets.ndim == 2:
        s = _soft_targets(targets, w, e)
        gx = p * s.sum(axis=1, keepdims=True) - s
        return gx * xp.broadcast_to(row, N)[:, None], None, None
    counts, t, weights, wt = _weights(p, targets, w, ignore_index)
    gx = p * ((1 - e) * wt * row)[:, None]
    gx[xp.arange(N), t] -= (1 - e) * wt * row
    if e:
        gx += (e / C * xp.broadcast_to(row, N))[:, None] * (p * weights.sum() - weights)
    gx[~counts] = 0
    return gx, None, None


def _weights(x: Array, targets: Array, w: Array | None, ignore_index: int) -> tuple[Array, ...]:
    """Return which rows count, a class t of each, w, and w[t]: NaN where the target is no class."""
    xp, C = array_module(x), x.shape[1]
    counts, known = targets != ignore_index, (targets >= 0) & (targets < C)
    t, w = xp.where(known, targets, 0), xp.ones(C, x.dtype) if w is None else w
    return counts, t, w, xp.where(counts, xp.where(known, w[t], np.nan), 0)
