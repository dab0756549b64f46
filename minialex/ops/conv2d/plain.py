"""conv2d as on a board: products of matrices with patches, which are what the window sees.

    patches[n, c, kh, kw, i, j] = padded[n, c, i sh + kh dh, j sw + kw dw]

For each image and group of channels, w as a matrix (OG, K), patches as (K, P) and y as (OG, P):

    y  = w patches + b
    gx = w^T gy           the gradient of patches, of which each element is added to its pixel
    gw = gy patches^T     summed over images
    gb = gy               summed over images and positions
"""

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.ops.conv2d.shape import ConvShape


def windows(padded: Array, s: ConvShape) -> Array:
    """Return patches (N, C, KH, KW, OH, OW) as a view of padded images."""
    (n, c, h, w), shape = padded.strides, (s.N, s.C, s.KH, s.KW, s.OH, s.OW)
    strides = n, c, s.dh * h, s.dw * w, s.sh * h, s.sw * w
    view: Array = array_module(padded).lib.stride_tricks.as_strided(padded, shape, strides)
    return view


def im2col(x: Array, s: ConvShape) -> Array:
    """Return the patches of `x` as matrices (N, G, K, P)."""
    padded = array_module(x).pad(x, ((0, 0), (0, 0), (s.ph, s.ph), (s.pw, s.pw)))
    return windows(padded, s).reshape(s.N, s.G, s.K, s.P)


def col2im(patches: Array, s: ConvShape) -> Array:
    """Return images (N, C, H, W), each pixel the sum of all elements of patches that show it."""
    H, W = s.H + 2 * s.ph, s.W + 2 * s.pw
    padded: Array = array_module(patches).zeros((s.N, s.C, H, W), patches.dtype)
    pixels = windows(padded, s)
    for kh, kw in np.ndindex(s.KH, s.KW):  # no two windows show a pixel at the same (kh, kw)
        pixels[:, :, kh, kw] += patches.reshape(pixels.shape)[:, :, kh, kw]
    return padded[:, :, s.ph : s.ph + s.H, s.pw : s.pw + s.W]


def forward(x: Array, w: Array, b: Array | None = None, **params: Any) -> tuple[Array, Any]:
    """Return the convolution."""
    s = ConvShape.of(x, w, **params)
    y = (w.reshape(s.G, s.OG, s.K) @ im2col(x, s)).reshape(s.N, s.O, s.OH, s.OW)
    return y if b is None else y + b[:, None, None], (x, w)


def backward(gy: Array, saved: Any, *, needs: Any = (True, True, True), **params: Any) -> Any:
    """Return the gradients of `x`, `w` and `b`."""
    (x, w), s = saved, ConvShape.of(*saved, **params)
    filters, rows = w.reshape(s.G, s.OG, s.K), gy.reshape(s.N, s.G, s.OG, s.P)
    gx = col2im(filters.swapaxes(1, 2) @ rows, s) if needs[0] else None
    gw = (rows @ im2col(x, s).swapaxes(2, 3)).sum(axis=0).reshape(w.shape) if needs[1] else None
    gb = gy.sum(axis=(0, 2, 3)) if needs[2] else None
    return gx, gw, gb
