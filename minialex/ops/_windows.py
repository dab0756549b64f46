"""Windows that slide over images: how many there are, and which elements they hold."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module

Pair = tuple[int, int]


def output_length(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Return how many outputs a window has along an axis: below 1 where it does not fit."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


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


def unpad_images(padded: Array, padding: Pair) -> Array:
    """Return the view of `padded` without what `pad_images` added."""
    (H, W), (ph, pw) = padded.shape[2:], padding
    return padded[:, :, ph : H - ph, pw : W - pw]


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
