"""Definition of local response normalisation."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def local_response_norm(x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """y[c] = x[c] / (k + alpha sum of x[j]^2 over the channels j within size // 2 of c)^beta."""
    y = np.empty(x.shape)
    C = x.shape[1]
    for n, c, h, w in np.ndindex(x.shape):
        s = k
        for j in range(max(0, c - size // 2), min(C - 1, c + size // 2) + 1):
            s += alpha * x[n, j, h, w] ** 2
        y[n, c, h, w] = x[n, c, h, w] / s**beta
    return y
