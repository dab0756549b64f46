"""Definition of the cross-entropy."""

import math
from typing import Any

import numpy as np

from minialex.reference.log_softmax import log_softmax

Array = np.ndarray[Any, np.dtype[np.float64]]


def cross_entropy(
    x: Array,
    targets: Array,
    w: Array | None,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> Array:
    """Minus the sum over classes of (smoothed target) x (class weight) x (log-probability).

    Targets are classes (N,), or probabilities (N, C).
    """
    N, C = x.shape
    log_p = log_softmax(x, dim=1)
    losses, weight = np.zeros(N), 0.0
    for n in range(N):
        if targets.ndim == 1 and targets[n] == ignore_index:
            continue
        q = targets[n] if targets.ndim == 2 else [float(c == targets[n]) for c in range(C)]
        weight += 1.0 if w is None or targets.ndim == 2 else float(w[int(targets[n])])
        for c in range(C):
            s = label_smoothing / C + (1 - label_smoothing) * q[c]
            s *= 1.0 if w is None else float(w[c])
            if s:
                losses[n] -= s * log_p[n, c]
    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return np.array(total if reduction == "sum" else total / weight if weight else 0.0)
