"""Definition of a step of stochastic gradient descent."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def sgd(
    p: Array, g: Array, b: Array | None, *, lr: float, weight_decay: float, momentum: float
) -> None:
    """Change p and, if there is momentum, b."""
    for i in range(len(p)):
        step = g[i] + weight_decay * p[i]
        if b is not None:
            b[i] = step = momentum * b[i] + step
        p[i] -= lr * step
