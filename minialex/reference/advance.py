"""Definition of how a training step is counted."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def advance(counts: Array, rates: Array, failed: Array, table: Array, streams: int) -> None:
    """Count one step and its random streams, and take its rates; unless a loss was not finite."""
    if failed[0] == 0:
        counts[0] += 1
        counts[1] += streams
        rates[:] = table[int(counts[0]) % len(table)]
