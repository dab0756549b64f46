"""Definition of the rectified linear unit."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def relu(x: Array) -> Array:
    """0 where an element is negative, else the element: what is not a number stays so."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if not x[i] < 0:
            y[i] = x[i]
    return y
