"""Definition of a step of RMSprop."""

from math import sqrt
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def rmsprop(
    p: Array,
    g: Array,
    v: Array,
    m: Array | None,
    b: Array | None,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Change p, the square average v, the average m (if centered) and b (if there is momentum)."""
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        v[i] = alpha * v[i] + (1 - alpha) * slope**2
        variance = v[i]
        if m is not None:
            m[i] = alpha * m[i] + (1 - alpha) * slope
            variance = max(0.0, v[i] - m[i] ** 2)
        step = slope / (sqrt(variance) + eps)
        if b is not None:
            b[i] = step = momentum * b[i] + step
        p[i] -= lr * step
