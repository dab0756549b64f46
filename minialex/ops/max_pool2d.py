"""The largest element of each window (Krizhevsky, Sutskever and Hinton 2012, section 3.4).

    y[n, c, i, j]  = max of x[n, c, i sh - ph + k, j sw - pw + l] over k, l
    gx[n, c, h, w] = sum of gy[n, c, i, j] over the windows whose maximum stands at (h, w)

(sh, sw) is the stride, (ph, pw) the padding, which never wins. Among equals the first wins, in
row-major order of the window; NaN wins over everything, and the last NaN over the others.

saved = (winner, shape of x): winner (N, C, OH, OW) is k KW + l of each window's maximum, in the
smallest unsigned type that holds KH KW - 1 (uint8 up to 16 x 16).
"""

from __future__ import annotations

from math import prod

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._shapes import ITEM_BYTES
from minialex.ops._windows import Pair, every, pooling, positions

Shape = tuple[int, ...]


def winner_type(kernel_size: Pair) -> np.dtype[np.unsignedinteger]:
    """Return the type that the places of a window are numbered in."""
    return np.min_scalar_type(prod(kernel_size) - 1)


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array, tuple[Array, Shape]]:
    """Return the maxima, found by going through the places of the window in order."""
    xp = array_module(x)
    (N, C, H, W), (KH, KW), (sh, sw), (ph, pw) = x.shape, kernel_size, stride, padding
    OH, OW = (positions(*s) for s in zip((H, W), kernel_size, stride, padding, strict=True))
    padded = xp.full((N, C, H + 2 * ph, W + 2 * pw), -np.inf, x.dtype)
    padded[:, :, ph : ph + H, pw : pw + W] = x
    y = xp.full((N, C, OH, OW), -np.inf, x.dtype)
    winner = xp.empty((N, C, OH, OW), winner_type(kernel_size))
    # the first place inside the image, which wins where all are minus infinity
    winner[...] = xp.asarray(
        [[max(0, ph - i * sh) * KW + max(0, pw - j * sw) for j in range(OW)] for i in range(OH)]
    )
    for k in range(KH):
        for l in range(KW):
            here = padded[:, :, every(k, OH, sh), every(l, OW, sw)]
            wins = (here > y) | (here != here)
            xp.copyto(winner, k * KW + l, where=wins)
            xp.copyto(y, here, where=wins)
    return y, (winner, x.shape)


def backward(
    gy: Array, saved: tuple[Array, Shape], *, kernel_size: Pair, stride: Pair, padding: Pair
) -> Gradients:
    """Return the gradient of `x`: each output's goes to the element that won."""
    winner, (N, C, H, W) = saved
    xp = array_module(gy)
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = gy.shape[2:]
    gx = xp.zeros((N, C, H + 2 * ph, W + 2 * pw), gy.dtype)
    for k in range(KH):
        for l in range(KW):
            here = gx[:, :, every(k, OH, sh), every(l, OW, sw)]
            here += xp.where(winner == k * KW + l, gy, gy.dtype.type(0))
    return (gx[:, :, ph : ph + H, pw : pw + W],)


def cost(shapes: Shapes, *, kernel_size: Pair, stride: Pair, padding: Pair) -> Cost:
    """One comparison for each element of each window."""
    (shape,) = shapes
    assert shape is not None
    OH, OW = (positions(*s) for s in zip(shape[2:], kernel_size, stride, padding, strict=True))
    size = shape[0] * shape[1] * OH * OW
    return Cost(size * prod(kernel_size), ITEM_BYTES * (prod(shape) + size))


OP = Op("max_pool2d", {"array": Implementation(forward, backward)}, cost)


def max_pool2d(
    x: Tensor, *, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """Return the largest element of each window of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    kernel_size : int or (int, int)
        Height and width of the window, in pixels: 1 or more.
    stride : int or (int, int), optional
        How far the window moves from one output to the next, in pixels: 1 or more. As far as it
        is large where not given, so that windows tile the image; less makes them overlap.
    padding : int or (int, int)
        How many pixels at top and bottom, and left and right, windows may reach beyond the image:
        0 up to half of `kernel_size`. What lies there never is the maximum.

    Returns
    -------
    Tensor (N, C, OH, OW)
        ``OH = floor((H + 2 padding - KH) / stride) + 1``, and so OW. The gradient of each output
        goes to the maximum of its window, the first in row-major order where there are several.

    Raises
    ------
    ValueError
        If `x` is not a batch of images, the window does not fit, or a parameter is out of range.
    TypeError
        If a parameter is not a whole number or two, or `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    return OP(x, **pooling("max_pool2d", x, kernel_size, stride, padding))
