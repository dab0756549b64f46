"""In which order the elements of an array lie in memory.

Images (N, C, H, W) from the CPU's convolutions have their channels last: the shape is as ever, but
the elements of all channels at a pixel lie side by side, in the order (N, H, W, C). A product of
patches with filters comes out in that order, and a window takes from it runs of whole pixels. Ops
on single elements keep the order that they find.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from minialex.arrays import Array, array_module
from minialex.cpu import memory

Axes = tuple[int, ...]

CHANNELS_LAST: Axes = (0, 2, 3, 1)
"""The axes of images (N, C, H, W) with their channels last, from the outermost to the innermost."""


def memory_axes(a: Array) -> Axes:
    """Return the axes of `a` from the outermost to the innermost in memory.

    ``a.transpose`` of them is C-contiguous, but where `a` has gaps, as every second column has:
    then they are in their own order.
    """
    axes = tuple(range(a.ndim))
    if a.flags.c_contiguous:
        return axes
    if a.ndim == 4 and a.transpose(CHANNELS_LAST).flags.c_contiguous:
        return CHANNELS_LAST
    return axes


def empty(xp: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, axes: Axes) -> Array:
    """Return an uninitialised array of `shape` in the order of `axes`, one of `memory_axes`."""
    if axes != CHANNELS_LAST:
        return memory.empty(xp, shape, dtype)
    N, C, H, W = shape
    return memory.empty(xp, (N, H, W, C), dtype).transpose(0, 3, 1, 2)


def empty_images(xp: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return uninitialised images (N, C, H, W) with their channels last."""
    return empty(xp, shape, dtype, CHANNELS_LAST)


def flat(a: Array, axes: Axes) -> Array:
    """Return the elements of `a` in the order of `axes`: a view if they lie so, else a copy."""
    return array_module(a).ascontiguousarray(a.transpose(axes)).reshape(-1)  # type: ignore[no-any-return]


def pixels(images: Array) -> Array:
    """Return images (N, C, H, W) as (N, H, W, C), a view."""
    return images.transpose(CHANNELS_LAST)
