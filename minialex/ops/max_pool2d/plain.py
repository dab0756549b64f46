"""max_pool2d in array operations: all windows at once, element by element of the window.

y[n, c, i, j]  = max of x[n, c, i sh - ph + kh, j sw - pw + kw] over kh, kw
gx[n, c, h, w] = sum of gy[n, c, i, j] over the windows whose maximum is at (h, w)
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import Pair, argmax_dtype, pad_windows, unpad_images, window_elements

Shape = tuple[int, ...]


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, Shape]]:
    """Return the maxima."""
    xp = array_module(x)
    elements, inside = (
        window_elements(
            pad_windows(a, kernel_size, stride, padding, ceil_mode), kernel_size, stride
        )
        for a in (x, xp.ones((1, 1, *x.shape[2:]), bool))
    )
    y, argmax = xp.zeros(elements[0].shape, x.dtype), xp.full(elements[0].shape, -1)
    for k, element in enumerate(elements):
        # the first that is in the image is the largest so far, and NaN is larger than everything
        is_larger = inside[k] & ((argmax < 0) | (element > y) | xp.isnan(element))
        y, argmax = xp.where(is_larger, element, y), xp.where(is_larger, k, argmax)
    return y, (argmax.astype(argmax_dtype(kernel_size)), x.shape)


def backward(
    gy: Array,
    saved: tuple[Array, Shape],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
) -> Gradients:
    """Return the gradient of `x`: each output's goes to the maximum of its window."""
    argmax, shape = saved
    xp = array_module(gy)
    gx = pad_windows(xp.zeros(shape, gy.dtype), kernel_size, stride, padding, ceil_mode)
    for k, element in enumerate(window_elements(gx, kernel_size, stride)):
        element += xp.where(argmax == k, gy, 0)
    return (unpad_images(gx, padding, shape),)
