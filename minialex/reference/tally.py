"""Definition of what a training step counts of a batch."""

from math import isfinite
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def tally(x: Array, targets: Array, loss: Array, totals: Array, failed: Array) -> None:
    """Add N times the loss, and the rows whose first largest logit is their target's."""
    totals[0] += len(x) * float(loss)
    for row, target in zip(x, targets, strict=True):
        wrong = [c for c in range(len(row)) if row[c] != row[c]]
        best = wrong[0] if wrong else max(range(len(row)), key=lambda c: (row[c], -c))
        totals[1] += best == target
    if not isfinite(loss):
        failed[0] = 1
