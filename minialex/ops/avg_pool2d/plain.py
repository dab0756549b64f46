"""avg_pool2d in array operations: all windows at once, element by element of the window.

y[n, c, i, j]  = (sum of x[n, c, i sh - ph + kh, j sw - pw + kw] over kh, kw) / count
gx[n, c, h, w] = sum of gy[n, c, i, j] / count over the windows that hold (h, w)
"""

from __future__ import annotations

from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import Pair, pad_windows, unpad_images, window_elements

Shape = tuple[int, ...]


def forward(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each window."""
    windows = kernel_size, stride, padding, ceil_mode
    total = sum(window_elements(pad_windows(x, *windows), kernel_size, stride))
    return total / window_counts(x, *windows, count_include_pad), (x.shape,)


def backward(
    gy: Array, saved: tuple[Shape], *, count_include_pad: bool, **windows: Any
) -> Gradients:
    """Return the gradient of `x`: each window's share, added up where windows overlap."""
    (shape,) = saved
    gx = array_module(gy).zeros(shape, gy.dtype)
    share = gy / window_counts(gx, include_pad=count_include_pad, **windows)
    padded = pad_windows(gx, **windows)
    for element in window_elements(padded, windows["kernel_size"], windows["stride"]):
        element += share
    return (unpad_images(padded, windows["padding"], shape),)


def window_counts(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, include_pad: bool
) -> Any:
    """Return what each window's sum is divided by: a number, or (1, 1, OH, OW) of them."""
    (H, W), (ph, pw) = x.shape[2:], padding
    if include_pad and not ceil_mode:
        return kernel_size[0] * kernel_size[1]
    image = array_module(x).ones((1, 1, H, W), x.dtype)
    padded = pad_windows(image, kernel_size, stride, padding, ceil_mode)
    if include_pad:
        padded[:, :, : H + 2 * ph, : W + 2 * pw] = 1
    return sum(window_elements(padded, kernel_size, stride))
