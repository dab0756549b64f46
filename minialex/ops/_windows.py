"""What convolution and pooling share: reading sizes, and where a sliding window stands."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.autograd import Tensor
from minialex.cpu import threads
from minialex.ops._arguments import check_float, is_sequence, whole_number

Pair = tuple[int, int]


def pair(op: str, name: str, value: Any, least: int) -> Pair:
    """Return `value`, one whole number or two, as two (height, width), each `least` or more."""
    values = value if is_sequence(value) else (value, value)
    try:
        h, w = (whole_number(op, name, v) for v in values)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: {name} is {value!r}; give a whole number, or two of them (height, width)"
        ) from None
    if min(h, w) < least:
        raise ValueError(f"{op}: {name} is {value!r}; it must be {least} or more")
    return h, w


def check_images(op: str, x: Tensor) -> None:
    """Refuse what is not a batch of images of a floating-point type."""
    if x.ndim != 4:
        hint = "; for one image give x.reshape(1, C, H, W)" if x.ndim == 3 else ""
        raise ValueError(f"{op}: x must have the shape (N, C, H, W), not {x.shape}{hint}")
    check_float(op, x=x)


def positions(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Return how many places a window has along an axis: below 1 where it does not fit."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def output_size(
    op: str,
    x: Tensor,
    kernel: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
) -> Pair:
    """Return (OH, OW).

    Raises
    ------
    ValueError
        If the window does not fit into the padded image.
    """
    OH, OW = (
        positions(*sizes)
        for sizes in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    if min(OH, OW) < 1:
        reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
        raise ValueError(
            f"{op}: the window of {reach} does not fit into the image of {padded} (with padding); "
            "use larger images, a smaller kernel or more padding"
        )
    return OH, OW


def winner_type(kernel_size: Pair) -> np.dtype[Any]:
    """Return the smallest unsigned type that numbers all places of a window."""
    return np.min_scalar_type(prod(kernel_size) - 1)


def every(first: int, count: int, step: int) -> slice:
    """Return the slice of `count` elements from `first`, `step` apart."""
    return slice(first, first + (count - 1) * step + 1, step)


def pieces(xp: Any, total: int) -> list[slice]:
    """Cut ``range(total)`` into a slice for each worker: one on a GPU."""
    return threads.chunks(total, _workers(xp))


def _workers(xp: Any) -> int:
    return threads.cores() if xp is np else 1


def shares(xp: Any, N: int, image_bytes: int, cache: int, least: int = 1) -> list[list[slice]]:
    """Share `N` images out to the workers: a list of blocks of images, as below, for each.

    There are fewer workers where each would have fewer than `least` bytes.
    """
    worth = max(1, N * image_bytes // least)
    pieces = threads.chunks(N, min(worth, _workers(xp)))
    return [blocks_of(xp, piece, image_bytes, cache) for piece in pieces]


def blocks_of(xp: Any, images: slice, image_bytes: int, cache: int) -> list[slice]:
    """Cut some images into blocks of about the same size.

    A block on a CPU takes at most `cache` bytes (but one image at least), so that it stays in a
    core's cache; on a GPU, which only large blocks keep busy, a gigabyte.
    """
    at_once = max(1, (cache if xp is np else _GPU_BYTES) // max(1, image_bytes))
    total = images.stop - images.start
    blocks = threads.chunks(total, -(-total // at_once))
    return [slice(images.start + block.start, images.start + block.stop) for block in blocks]


_GPU_BYTES = 1 << 30


def delivered(g: Array, home: Array | None) -> Array:
    """Return the gradient `g`, written to its `home` where it has one."""
    if home is None or home is g:
        return g
    home[...] = g
    return home


def pooling(
    op: str, x: Tensor, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> dict[str, Pair]:
    """Return the parameters that poolings share, checked against the images `x`."""
    check_images(op, x)
    kernel = pair(op, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(op, "stride", stride, 1)
    border = pair(op, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(border, kernel, strict=True)):
        raise ValueError(
            f"{op}: padding is {padding!r}; it must be at most half of kernel_size, here "
            f"{kernel_size!r}, or some windows would see nothing but padding"
        )
    output_size(op, x, kernel, steps, border)
    return {"kernel_size": kernel, "stride": steps, "padding": border}
