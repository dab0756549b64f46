"""Definition of the rectified linear unit."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def relu(x: Array) -> Array:
    """Each element where it is positive, else 0."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if x[i] > 0:
            y[i] = x[i]
    return y
