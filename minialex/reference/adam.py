"""Definition of a step of Adam."""

from math import sqrt
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """Change p, the mean m and the mean square v, at step t = 1, 2, ..."""
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        m[i] = b1 * m[i] + (1 - b1) * slope
        v[i] = b2 * v[i] + (1 - b2) * slope**2
        mean, square = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
        p[i] -= lr * mean / (sqrt(square) + eps)
