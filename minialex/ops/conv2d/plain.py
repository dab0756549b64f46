"""conv2d in array operations: products of matrices with patches, which are what windows hold.

For each image and group, w is a matrix (OG, K), patches are (K, P), y is (OG, P): see `ConvShape`.

    y  = w patches + b
    gx = w^T gy, the gradient of patches, each element of which is added to its pixel
    gw = gy patches^T, summed over images
    gb = gy, summed over images and positions
"""

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.ops._windows import Pair, pad_images, unpad_images
from minialex.ops.conv2d.shape import ConvShape


def im2col(x: Array, s: ConvShape) -> Array:
    """Return the patches of images, (N, groups, K, P)."""
    padded = pad_images(x, (s.ph, s.pw))
    elements = [padded[:, :, s.rows(kh), s.columns(kw)] for kh, kw in np.ndindex(s.KH, s.KW)]
    patches: Array = array_module(x).stack(elements, axis=2)
    return patches.reshape(s.N, s.groups, s.K, s.P)


def col2im(patches: Array, s: ConvShape) -> Array:
    """Return images of which each pixel is the sum of what patches have for it, (N, C, H, W)."""
    padded = array_module(patches).zeros((s.N, s.C, s.H + 2 * s.ph, s.W + 2 * s.pw), patches.dtype)
    elements = patches.reshape(s.N, s.C, s.KH, s.KW, s.OH, s.OW)
    for kh, kw in np.ndindex(s.KH, s.KW):
        padded[:, :, s.rows(kh), s.columns(kw)] += elements[:, :, kh, kw]
    return unpad_images(padded, (s.ph, s.pw), (s.N, s.C, s.H, s.W))


def forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array, Any]:
    """Return the convolution."""
    s = ConvShape.of(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    y = (w.reshape(s.groups, s.OG, s.K) @ im2col(x, s)).reshape(s.N, s.O, s.OH, s.OW)
    return y if b is None else y + b[:, None, None], (x, w)


def backward(gy: Array, saved: Any, *, needs: Any = (True, True, True), **params: Any) -> Any:
    """Return the gradients of `x`, `w` and `b`."""
    (x, w), s = saved, ConvShape.of(*saved, **params)
    filters, rows = w.reshape(s.groups, s.OG, s.K), gy.reshape(s.N, s.groups, s.OG, s.P)
    gx = col2im(filters.swapaxes(1, 2) @ rows, s) if needs[0] else None
    gw = (rows @ im2col(x, s).swapaxes(2, 3)).sum(axis=0).reshape(w.shape) if needs[1] else None
    gb = gy.sum(axis=(0, 2, 3)) if needs[2] else None
    return gx, gw, gb
