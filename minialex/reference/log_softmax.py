"""Definition of log-softmax."""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def log_softmax(x: Array, *, dim: int) -> Array:
    """y[c] = x[c] - log sum_j e^x[j], computed around the largest x so that e^x is at most 1."""
    lines = np.moveaxis(x, dim, -1)
    y = np.empty(lines.shape)
    for i in np.ndindex(lines.shape[:-1]):
        top = float(lines[i].max())
        total = math.fsum(math.exp(value - top) for value in lines[i])
        for c, value in enumerate(lines[i]):
            y[(*i, c)] = value - top - math.log(total)
    return np.moveaxis(y, -1, dim)
