"""Winograd's transforms: parts of images into the domain where tiles are multiplied, and back.

All tiles of an axis are transformed by one matrix. Of inputs, which overlap, it cuts tiles out,
leaves out what lies in the padding, and transforms each by B^T. Of an axis of 7 pixels with a
padding of 1, in 2 tiles of T = 6 inputs that begin 4 apart, it is 12 x 7:

    tile 0   0 x0 x1 x2 x3 x4 .  .  .        6 rows: B^T without its column 0
    tile 1             x3 x4 x5 x6 0 .       6 rows: B^T without its columns 4 and 5

Of outputs, which do not overlap, it transforms each by A, without what lies beyond the image. The
transposed matrices transform back, and add up where tiles overlap: y is had from tiles by that of
the outputs, gx by that of the inputs.

Two products and a copy lead either way, images (n, C, H, W) lying as (H, W, n, C):

    (H, W n C)                  by the matrix of the height    (T TH, W, n C)
    (W, n C) for each of T TH   by the matrix of the width     (T, T, TW, TH, n, C), T of the height
                                                               first

An axis of many tiles is cut into parts, so that its matrix, most of which is 0 then, stays small.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from minialex.arrays import Array, array_module
from minialex.cpu import layout, threads

POINTS = {
    6: np.array([0.0, 0.625, -0.625, 1.5, -1.5]),
    7: np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75]),
}
"""Where polynomials are evaluated, by T. One more point lies at infinity: the first coefficient."""

MAX_TILES = 5
"""How many tiles a part of an axis has at most."""


def powers(points: Array, n: int) -> Array:
    """Return the matrix (T, n) that evaluates a polynomial of `n` coefficients at all points."""
    return np.vstack([np.vander(points, n, increasing=True), np.eye(n)[-1]])


def interpolation(points: Array) -> Array:
    """Return the inverse of ``powers(points, T)``: column t is 1 at point t, 0 at the others."""
    columns = []
    for i, point in enumerate(points):
        others = np.delete(points, i)
        columns.append([*np.poly(others)[::-1] / np.prod(point - others), 0])
    return np.array([*columns, np.poly(points)[::-1]]).T


class Axis(NamedTuple):
    """Some tiles of one axis, of inputs or outputs.

    Attributes
    ----------
    tiles : int
        How many.
    pixels : slice
        What of the axis they are made of.
    matrix : array (T tiles, pixels)
        What makes tiles of pixels; T is the slower index of its rows.
    """

    tiles: int
    pixels: slice
    matrix: Array


@cache
def axis_parts(
    size: int, outputs: int, padding: int, M: int, T: int, dtype: str
) -> list[tuple[Axis, Axis]]:
    """Return the parts of an axis of `size` pixels and so many outputs: inputs and outputs of each.

    Tiles have `T` inputs, and `M` outputs.
    """
    A, B, total = powers(POINTS[T], M), interpolation(POINTS[T]), -(-outputs // M)
    parts = []
    for tiles in threads.chunks(total, -(-total // MAX_TILES)):
        inside = slice(tiles.start * M - padding, (tiles.stop - 1) * M + T - padding)
        parts.append(
            (
                _axis(tiles, inside, size, np.transpose(B), M, dtype),
                _axis(tiles, slice(tiles.start * M, tiles.stop * M), outputs, A, M, dtype),
            )
        )
    return parts


def _axis(tiles: slice, extent: slice, size: int, matrix: Array, step: int, dtype: str) -> Axis:
    """Return tiles that are `step` apart in `extent`, of which what lies in the axis is kept."""
    T, length = matrix.shape
    count = tiles.stop - tiles.start
    whole = np.zeros((T, count, extent.stop - extent.start))
    for i in range(count):
        whole[:, i, i * step : i * step + length] = matrix
    low, high = (min(max(0, end), size) for end in (extent.start, extent.stop))
    kept = whole.reshape(T * count, -1)[:, low - extent.start : high - extent.start]
    return Axis(count, slice(low, high), np.ascontiguousarray(kept, dtype))


def tile_sizes(n: int, channels: int, rows: Axis, columns: Axis) -> tuple[int, int]:
    """Return how many numbers the tiles of `n` images have, and how many are in between."""
    per_row, (H, W) = n * channels, (axis.matrix.shape[1] for axis in (rows, columns))
    bands = len(rows.matrix) * W * per_row
    return len(rows.matrix) * len(columns.matrix) * per_row, bands + H * W * per_row


class Tiles:
    """The transformed tiles of a part of `n` images, of inputs or outputs, and the way there.

    Parameters
    ----------
    numbers, between : arrays of one axis, of at least ``tile_sizes(...)``
        Where tiles are written, and where images are on the way: others may use that in between.
    n : int
    channels, groups : int
    rows, columns : Axis

    Attributes
    ----------
    matrices : array (T T, G, tiles, channels of a group)
        One matrix for each position of a tile, of tiles in the order (TW, TH, n).
    """

    def __init__(
        self,
        numbers: Array,
        between: Array,
        n: int,
        channels: int,
        groups: int,
        rows: Axis,
        columns: Axis,
    ) -> None:
        xp = array_module(numbers)
        self.xp, self.rows, self.columns = xp, rows, columns
        TH, TW = rows.tiles, columns.tiles
        T, (H, W) = len(rows.matrix) // TH, (axis.matrix.shape[1] for axis in (rows, columns))
        self._row_matrix, self._column_matrix = map(xp.asarray, (rows.matrix, columns.matrix))
        size, size_between = tile_sizes(n, channels, rows, columns)
        tiles = numbers[:size].reshape(T, T * TW, TH, n * channels)
        # one matrix for each row of a transformed tile
        self._by_row = tiles.swapaxes(1, 2)
        by_position = tiles.reshape(T * T, TW * TH * n, groups, channels // groups)
        self.matrices = by_position.swapaxes(1, 2)
        row = W * n * channels
        bands = between[: T * TH * row]
        self._bands = bands.reshape(T, TH, W, n * channels)
        self._pixels = between[len(bands) : size_between].reshape(H, W, n, channels)
        self._flat = self._bands.reshape(T * TH, row), self._pixels.reshape(H, row)

    def _part(self, images: Array) -> Array:
        """Return the view (H, W, n, C) of the part of images."""
        part = layout.pixels(images)[:, self.rows.pixels, self.columns.pixels]
        return part.transpose(1, 2, 0, 3)

    def transform(self, images: Array) -> None:
        """Transform images (n, C, H, W)."""
        bands, pixels = self._flat
        self._pixels[...] = self._part(images)
        self.xp.matmul(self._row_matrix, pixels, out=bands)
        self.xp.matmul(self._column_matrix, self._bands, out=self._by_row)

    def transform_back(self) -> Array:
        """Return what the tiles sum up to, (H, W, n, C), to be used before the next call."""
        bands, pixels = self._flat
        self.xp.matmul(self._column_matrix.T, self._by_row, out=self._bands)
        self.xp.matmul(self._row_matrix.T, bands, out=pixels)
        return self._pixels

    def write(self, images: Array, b: Array | None = None) -> None:
        """Write what the tiles sum up to, plus `b` of each channel, to `images`."""
        self.xp.add(self.transform_back(), 0 if b is None else b, out=self._part(images))

    def add(self, images: Array) -> None:
        """Add what the tiles sum up to to `images`."""
        part = self._part(images)
        part += self.transform_back()
