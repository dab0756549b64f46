"""Crop and resize: Pillow's bilinear filter with antialiasing, along the rows first, then down.

Between the two passes values are rounded to bytes, so their order shows. Pillow has gone along the
rows first; Pillow 13 decides by the shape of the whole image. Here each pass is a call of its own:
the images are the same with every Pillow, and pixels that the filter does not reach change nothing.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, right and bottom outside."""
Window: TypeAlias = tuple[int, int, int, int]
"""The same of whole pixels."""

Numbers: TypeAlias = npt.NDArray[np.float64] | npt.NDArray[np.int64]

WEIGHT_BITS = 22
REDUCING_GAP = 2.0
"""Where a side shrinks by twice this or more, pixels are averaged by whole numbers of them first:
quicker, and hardly to be told from the filter alone."""


def crop_and_resize(image: Image.Image | Pixels, box: Box, size: tuple[int, int]) -> Image.Image:
    """Return the crop `box` of an image, resized.

    Parameters
    ----------
    image : PIL.Image.Image or (H, W, 3) uint8
        RGB or grey.
    box : tuple of float
    size : pair of int
        Width and height of the result.
    """
    if is_reduced(box, size):
        whole = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return whole.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP)
    if isinstance(image, Image.Image):
        left, top, right, bottom = window(box, image.size, size)
        part = image.crop((left, top, right, bottom))
    else:
        left, top, right, bottom = window(box, image.shape[1::-1], size)
        part = Image.fromarray(image[top:bottom, left:right])
    width, rows = size[0], bottom - top
    wide = part.resize(
        (width, rows), Image.Resampling.BILINEAR, box=(box[0] - left, 0, box[2] - left, rows)
    )
    return wide.resize(size, Image.Resampling.BILINEAR, box=(0, box[1] - top, width, box[3] - top))


def filter_table(
    starts: Numbers, stops: Numbers, lengths: Numbers, size: int, taps: int
) -> npt.NDArray[np.int32]:
    """Return how the filter makes `size` pixels of a stretch of each of N rows of pixels.

    In integers, as Pillow's libImaging/Resample.c does: weight t of pixel i is
    max(0, 1 - abs(first + t + 0.5 - centre) / support), divided by the sum of the pixel's weights,
    times 2^22, rounded; centre = start + (i + 0.5) scale, scale = (stop - start) / size,
    support = max(1, scale).

    Parameters
    ----------
    starts, stops : (N,) float64
        The stretches, in pixels.
    lengths : (N,) int64
        How many pixels there are.
    size : int
    taps : int
        How many weights a pixel has room for: see `max_taps`.

    Returns
    -------
    (N, size, 1 + taps) int32
        The first pixel, and the weights of it and those after it. 0 ends them.
    """
    scales = (stops - starts) / size
    support = np.maximum(scales, 1.0)[:, None]
    centre = starts[:, None] + (np.arange(size) + 0.5) * scales[:, None]
    first = np.maximum(np.trunc(centre - support + 0.5), 0)
    last = np.minimum(np.trunc(centre + support + 0.5), lengths[:, None])
    pixel = first[..., None] + np.arange(taps)
    weights = 1 - np.abs(pixel + 0.5 - centre[..., None]) / support[..., None]
    weights[(pixel >= last[..., None]) | (weights < 0)] = 0
    weights /= weights.sum(axis=2, keepdims=True)
    table = np.zeros((*first.shape, 1 + taps), np.int32)
    table[..., 1:] = weights * (1 << WEIGHT_BITS) + 0.5
    # the first may be so small that it is rounded to 0, which would end them
    late = table[..., 1] == 0
    table[late, 1:-1] = table[late, 2:]
    table[late, -1] = 0
    table[..., 0] = first + late
    return table


def filter_tables(
    boxes: npt.NDArray[np.float64],
    windows: npt.NDArray[np.int64],
    extents: npt.NDArray[np.int64],
    size: tuple[int, int],
    taps: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return how N crops are filtered along the rows and down, counted from their windows' corners.

    Parameters
    ----------
    boxes, windows : (N, 4)
        See `window`.
    extents : (N, 2) int64
        Width and height of the images.
    size : pair of int
        Width and height of the results.
    taps : int

    Returns
    -------
    across, down : (N, width or height, 1 + taps) int32
    """
    tables = []
    for axis in (0, 1):
        table = filter_table(boxes[:, axis], boxes[:, axis + 2], extents[:, axis], size[axis], taps)
        table[:, :, 0] -= windows[:, axis, None]
        tables.append(table)
    return tables[0], tables[1]


def max_taps(box: Box, size: tuple[int, int]) -> int:
    """Return how many pixels of a crop the filter makes one of at most, along either axis."""
    sides = ((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    return math.ceil(2 * max(1.0, *sides))


def is_reduced(box: Box, size: tuple[int, int]) -> bool:
    """Return whether a crop is so large that pixels are averaged before the filter is applied."""
    sides = ((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    return max(sides) / REDUCING_GAP >= 2


def window(box: Box, extent: tuple[int, ...], size: tuple[int, int]) -> Window:
    """Return which pixels of an image of `extent` (width, height) the filter reads for a crop."""
    left, right = _reach(box[0], box[2], extent[0], size[0])
    top, bottom = _reach(box[1], box[3], extent[1], size[1])
    return left, top, right, bottom


def _reach(start: float, stop: float, length: int, size: int) -> tuple[int, int]:
    # a pixel of the result is made of those less than this far from its centre
    support = math.ceil(max(1.0, (stop - start) / size))
    return max(0, math.floor(start) - support), min(length, math.ceil(stop) + support)
