"""The mean of each window, by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def avg_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    count_include_pad: bool,
) -> npt.NDArray[Any]:
    """Return the mean over each window of `x` (N, C, H, W).

    The sum is divided by the size of the window, or, without `count_include_pad`, by how many of
    its elements lie inside `x`.
    """
    N, C, H, W = x.shape
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = (H + 2 * ph - KH) // sh + 1, (W + 2 * pw - KW) // sw + 1
    y = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            rows = slice(max(i * sh - ph, 0), i * sh - ph + KH)
            columns = slice(max(j * sw - pw, 0), j * sw - pw + KW)
            window = x[:, :, rows, columns].astype(np.float64)
            count = KH * KW if count_include_pad else window.shape[2] * window.shape[3]
            y[:, :, i, j] = window.sum(axis=(2, 3)) / count
    return y
