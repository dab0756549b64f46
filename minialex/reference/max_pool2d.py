"""The largest element of each window, by its definition; what lies outside `x` never wins."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt


def count(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Return how many windows there are along an axis.

    Each lies within the padded image; with `ceil_mode` each begins in the image or in the padding
    before it, and is the last where it reaches the end of the padded image.
    """

    def exists(i: int) -> bool:
        if not ceil_mode:
            return i * stride + kernel <= size + 2 * padding
        return i * stride < size + padding and (i - 1) * stride + kernel < size + 2 * padding

    return next(i for i in itertools.count() if not exists(i))


def max_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
) -> npt.NDArray[Any]:
    """Return the maximum over each window of `x` (N, C, H, W)."""
    N, C, H, W = x.shape
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = count(H, KH, sh, ph, ceil_mode), count(W, KW, sw, pw, ceil_mode)
    y = np.zeros((N, C, OH, OW))
    for i in range(OH):
        for j in range(OW):
            rows = slice(max(i * sh - ph, 0), i * sh - ph + KH)
            columns = slice(max(j * sw - pw, 0), j * sw - pw + KW)
            y[:, :, i, j] = x[:, :, rows, columns].astype(np.float64).max(axis=(2, 3))
    return y
