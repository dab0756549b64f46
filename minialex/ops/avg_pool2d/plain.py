"""avg_pool2d in array operations: all windows at once, element by element of the window.

y[n, c, i, j]  = (sum of x[n, c, i sh - ph + kh, j sw - pw + kw] over kh, kw) / count
gx[n, c, h, w] = sum of gy[n, c, i, j] / count over the windows that hold (h, w)
"""

from __future__ import annotations

from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import Pair, pad_images, unpad_images, window_elements

Shape = tuple[int, ...]


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each window."""
    total = sum(window_elements(pad_images(x, padding), kernel_size, stride))
    return total / window_counts(x, kernel_size, stride, padding, count_include_pad), (x.shape,)


def backward(
    gy: Array,
    saved: tuple[Shape],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Gradients:
    """Return the gradient of `x`: each window's share, added up where windows overlap."""
    (shape,) = saved
    gx = array_module(gy).zeros(shape, gy.dtype)
    share = gy / window_counts(gx, kernel_size, stride, padding, count_include_pad)
    padded = pad_images(gx, padding)
    for element in window_elements(padded, kernel_size, stride):
        element += share
    return (unpad_images(padded, padding),)


def window_counts(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair, include_pad: bool
) -> Any:
    """Return what each window's sum is divided by: a number, or (1, 1, OH, OW) of them."""
    if include_pad:
        return kernel_size[0] * kernel_size[1]
    image = array_module(x).ones((1, 1, *x.shape[2:]), x.dtype)
    return sum(window_elements(pad_images(image, padding), kernel_size, stride))
