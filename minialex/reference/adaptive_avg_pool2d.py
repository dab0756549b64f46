"""The mean of each cell of a grid laid over the image, by its definition.

Of `OH` cells over `H` rows, cell `i` runs from row ``floor(i H / OH)`` up to, not including, row
``ceil((i + 1) H / OH)``: cells overlap where `OH` does not divide `H`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def adaptive_avg_pool2d(x: npt.NDArray[Any], *, output_size: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the mean of each of ``OH x OW`` cells of `x` (N, C, H, W)."""
    N, C, H, W = x.shape
    OH, OW = output_size
    y = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            rows = slice(i * H // OH, -(-(i + 1) * H // OH))
            columns = slice(j * W // OW, -(-(j + 1) * W // OW))
            y[:, :, i, j] = x[:, :, rows, columns].astype(np.float64).mean(axis=(2, 3))
    return y
