"""Windows that slide over images: how many there are, and which elements they hold."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module

Pair = tuple[int, int]


def output_length(
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int = 1,
    *,
    ceil_mode: bool = False,
) -> int:
    """Return how many outputs a window has along an axis: below 1 where it does not fit.

    With `ceil_mode` a last window may reach beyond the padding. It must begin in the image or in
    the padding before it: at stride 2, windows of 2 on 5 pixels are 3, the last with one pixel; at
    stride 3 they are 2, as a third would begin at pixel 6.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    length = -(-room // stride) + 1
    return length - 1 if (length - 1) * stride >= size + padding else length


def pooled_size(
    shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Pair:
    """Return (OH, OW) of a pooling of images of `shape`."""
    OH, OW = (
        output_length(*sizes, ceil_mode=ceil_mode)
        for sizes in zip(shape[2:], kernel_size, stride, padding, strict=True)
    )
    return OH, OW


def argmax_dtype(kernel_size: Pair) -> np.dtype[Any]:
    """Return the smallest unsigned type that numbers all elements of a window."""
    return np.min_scalar_type(prod(kernel_size) - 1)


def strided_slice(first: int, count: int, step: int) -> slice:
    """Return the slice of `count` elements from `first`, `step` apart."""
    return slice(first, first + (count - 1) * step + 1, step)


def pad_images(x: Array, padding: Pair) -> Array:
    """Return a copy of `x` (N, C, H, W) with `padding` zeros on each side of H and of W."""
    (ph, pw) = padding
    return array_module(x).pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))  # type: ignore[no-any-return]


def pad_windows(x: Array, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """Return `pad_images` of `x`, with as many more zeros behind as the last windows reach to."""
    outputs = pooled_size(x.shape, kernel_size, stride, padding, ceil_mode)
    sides = [
        (p, max(p, (count - 1) * s + k - size - p))
        for count, size, k, s, p in zip(
            outputs, x.shape[2:], kernel_size, stride, padding, strict=True
        )
    ]
    return array_module(x).pad(x, ((0, 0), (0, 0), *sides))  # type: ignore[no-any-return]


def unpad_images(padded: Array, padding: Pair, shape: tuple[int, ...]) -> Array:
    """Return the view of images of `shape` in what `pad_images` or `pad_windows` made of them."""
    (H, W), (ph, pw) = shape[2:], padding
    return padded[:, :, ph : ph + H, pw : pw + W]


def window_elements(padded: Array, kernel_size: Pair, stride: Pair) -> list[Array]:
    """Return, for each element (kh, kw) of a window in row-major order, those of all windows.

    They are views (N, C, OH, OW). In the row 0 1 2 3 4 5 6, windows of 3 that move by 2 are 0 1 2,
    2 3 4 and 4 5 6: their first elements are 0 2 4, their second 1 3 5, their third 2 4 6.
    """
    OH, OW = (output_length(*s, 0) for s in zip(padded.shape[2:], kernel_size, stride, strict=True))
    return [
        padded[:, :, strided_slice(kh, OH, stride[0]), strided_slice(kw, OW, stride[1])]
        for kh in range(kernel_size[0])
        for kw in range(kernel_size[1])
    ]


def store_gradient(g: Array, out: Array | None) -> Array:
    """Return the gradient `g`, written to `out` where there is one."""
    if out is None or out is g:
        return g
    out[...] = g
    return out
