"""Definition of softmax."""

import math
from typing import Any

import numpy as np

from minialex.reference.log_softmax import log_softmax

Array = np.ndarray[Any, np.dtype[np.float64]]


def softmax(x: Array, *, dim: int) -> Array:
    """y[c] = e^x[c] / sum_j e^x[j]."""
    y = log_softmax(x, dim=dim)
    for i in np.ndindex(y.shape):
        y[i] = math.exp(y[i])
    return y
