"""The mean of each window, by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.reference.max_pool2d import count


def avg_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
    count_include_pad: bool,
) -> npt.NDArray[Any]:
    """Return the mean over each window of `x` (N, C, H, W).

    The sum is divided by how many elements of the window lie inside `x` or, with
    `count_include_pad`, inside `x` and its padding.
    """
    N, C, H, W = x.shape
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = count(H, KH, sh, ph, ceil_mode), count(W, KW, sw, pw, ceil_mode)
    y = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            rows = slice(max(i * sh - ph, 0), i * sh - ph + KH)
            columns = slice(max(j * sw - pw, 0), j * sw - pw + KW)
            window = x[:, :, rows, columns].astype(np.float64)
            number = window.shape[2] * window.shape[3]
            if count_include_pad:
                number = min(KH, H + 2 * ph - i * sh) * min(KW, W + 2 * pw - j * sw)
            y[:, :, i, j] = window.sum(axis=(2, 3)) / number
    return y
