"""Two-dimensional convolution by its definition.

    y[n, o, i, j] = b[o] + sum over c, kh, kw of
                    w[o, c, kh, kw] x[n, g C + c, i sh - ph + kh dh, j sw - pw + kw dw]

x is zero outside its borders, C is its number of channels in each group, and g the group of
output channel o.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def conv2d(
    x: npt.NDArray[Any],
    w: npt.NDArray[Any],
    b: npt.NDArray[Any] | None = None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> npt.NDArray[Any]:
    """Return the convolution of `x` (N, C, H, W) with `w` (O, C / groups, KH, KW)."""
    (N, _, H, W), (O, C, KH, KW) = x.shape, w.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    OH = (H + 2 * ph - dh * (KH - 1) - 1) // sh + 1
    OW = (W + 2 * pw - dw * (KW - 1) - 1) // sw + 1
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    y = np.zeros((N, O, OH, OW))
    for o in range(O):
        first = o // (O // groups) * C
        for i in range(OH):
            for j in range(OW):
                rows = slice(i * sh, i * sh + dh * (KH - 1) + 1, dh)
                columns = slice(j * sw, j * sw + dw * (KW - 1) + 1, dw)
                window = padded[:, first : first + C, rows, columns]
                y[:, o, i, j] = (window * w[o]).sum(axis=(1, 2, 3))
        if b is not None:
            y[:, o] += b[o]
    return y
