"""cross_entropy in array operations, with l = log_softmax(x), p = softmax(x), e = label_smoothing.

loss[n] = -(1 - e) w[t] l[n, t] - e / C sum_c w[c] l[n, c]         t = targets[n]
gx[n]   = (1 - e) w[t] (p - onehot t) + e / C (p sum_c w[c] - w)
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
    xp, (N, C), e = array_module(x), x.shape, label_smoothing
    counts, t, weights, wt = _weights(x, targets, w, ignore_index)
    shifted = x - x.max(axis=1, keepdims=True)
    total = xp.exp(shifted).sum(axis=1, keepdims=True)
    log_p = shifted - xp.log(total)
    loss = -(1 - e) * wt * log_p[xp.arange(N), t]
    if e:
        loss -= e / C * (weights * log_p).sum(axis=1)
    loss = xp.where(counts, loss, 0)
    divisor = wt.sum() if reduction == "mean" else xp.ones((), x.dtype)
    scale = 1 / xp.where(divisor == 0, 1, divisor)
    saved = xp.exp(shifted) / total, targets, w, scale
    return loss if reduction == "none" else loss.sum() * scale, saved


def backward(
    gy: Array, saved: Saved, *, label_smoothing: float, ignore_index: int, reduction: str
) -> Gradients:
    """Return the gradient of the logits; targets and weights have none."""
    (p, targets, w, scale), e = saved, label_smoothing
    xp, (N, C), row = array_module(p), p.shape, gy * scale
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
