"""The largest element of each window, by its definition; what lies outside `x` never wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def max_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> npt.NDArray[Any]:
    """Return the maximum over each window of `x` (N, C, H, W)."""
    N, C, H, W = x.shape
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = (H + 2 * ph - KH) // sh + 1, (W + 2 * pw - KW) // sw + 1
    y = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            rows = slice(max(i * sh - ph, 0), i * sh - ph + KH)
            columns = slice(max(j * sw - pw, 0), j * sw - pw + KW)
            y[:, :, i, j] = x[:, :, rows, columns].astype(np.float64).max(axis=(2, 3))
    return y
