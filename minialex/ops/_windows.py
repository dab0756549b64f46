"""Where a sliding window stands, along one axis."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array

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


def store_gradient(g: Array, out: Array | None) -> Array:
    """Return the gradient `g`, written to `out` where there is one."""
    if out is None or out is g:
        return g
    out[...] = g
    return out
