"""Winograd's transforms: parts of images into the domain where tiles are multiplied, and back.

Tiles of inputs overlap, and are transformed by one matrix for all tiles of an axis: that cuts them
out, leaves out what lies in the padding, and transforms each by B^T. Of an axis of 7 pixels with a
padding of 1, in 2 tiles of T = 6 inputs that begin 4 apart, it is 12 x 7:

    tile 0   0 x0 x1 x2 x3 x4 .  .  .        rows 0 to 5: B^T without its column 0
    tile 1             x3 x4 x5 x6 0 .       rows 6 to 11: B^T without its columns 4 and 5

Its transpose sums up the gradients of overlapping tiles. So inputs take two products and a copy to
go either way, images (n, C, H, W) lying as (H, W, n, C):

    (H, W n C)                  by the matrix of the height    (T TH, W, n, C)
    (W, n C) for each of T TH   by the matrix of the width     (T, T, TW, TH, n, C), T of the height
                                                               first

Tiles of outputs do not overlap. They are transformed by A^T each, along one axis after the other.
An axis of many tiles is cut into parts, so that its matrix, most of which is 0 then, stays small.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minialex.arrays import Array
from minialex.cpu import layout, memory, threads

if TYPE_CHECKING:
    from minialex.ops.conv2d.winograd import Winograd

POINTS = {
    6: np.array([0.0, 0.625, -0.625, 1.5, -1.5]),
    7: np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75]),
}
"""Where polynomials are evaluated, by T. One more point lies at infinity: the first coefficient."""

MAX_TILES = 9
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


class AxisPart(NamedTuple):
    """Some tiles of one axis.

    Attributes
    ----------
    tiles : int
        How many.
    pixels, outputs : slice
        What of the axis their inputs are, without padding, and their outputs.
    matrix : array (T tiles, pixels)
        What transforms pixels into tiles; T is the slower index of rows.
    """

    tiles: int
    pixels: slice
    outputs: slice
    matrix: Array


class Section(NamedTuple):
    """The same part of all images: a part of each axis."""

    height: AxisPart
    width: AxisPart


@cache
def axis_parts(
    size: int, outputs: int, padding: int, M: int, T: int, dtype: str
) -> list[AxisPart]:
    """Return the parts of an axis of `size` pixels, in tiles of `M` outputs and `T` inputs each."""
    B, total, parts = interpolation(POINTS[T]), -(-outputs // M), []
    for chunk in threads.chunks(total, -(-total // MAX_TILES)):
        tiles = chunk.stop - chunk.start
        start, length = chunk.start * M - padding, (tiles - 1) * M + T
        matrix = np.zeros((T, tiles, length))
        for i in range(tiles):
            matrix[:, i, i * M : i * M + T] = B.T
        low, high = (min(max(0, end), size) for end in (start, start + length))
        inside = matrix.reshape(T * tiles, length)[:, low - start : high - start]
        outside = slice(chunk.start * M, min(chunk.stop * M, outputs))
        parts.append(AxisPart(tiles, slice(low, high), outside, inside.astype(dtype)))
    return parts


class Transforms:
    """The transformed tiles of a section of `n` images, and buffers on the way to them and back.

    Attributes
    ----------
    inputs : array (T T, G, tiles, CG)
    outputs : array (T T, G, tiles, OG)
        Tiles in the order (TW, TH, n).
    """

    def __init__(self, conv: Winograd, n: int, section: Section) -> None:
        self.conv, self.xp, self.n = conv, conv.xp, n
        self.rows, self.columns = section
        self.T, self.TH, self.TW = conv.T, self.rows.tiles, self.columns.tiles
        self.H, self.W = (part.pixels.stop - part.pixels.start for part in section)
        self._inputs, self.inputs = self._tiles(conv.s.C)
        self._outputs, self.outputs = self._tiles(conv.s.O)

    def _empty(self, *shape: int) -> Array:
        return memory.empty(self.xp, shape, self.conv.dtype)

    def _tiles(self, channels: int) -> tuple[Array, Array]:
        """Return uninitialised tiles (T, T, TW, TH, n channels), and by group."""
        whole = self._empty(self.T, self.T, self.TW, self.TH, self.n * channels)
        groups = self.conv.s.groups
        by_group = whole.reshape(self.T**2, -1, groups, channels // groups).swapaxes(1, 2)
        return whole, by_group

    # inputs -------------------------------------------------------------------------------------

    @cached_property
    def _pixels(self) -> Array:
        """(H, W, n, C)."""
        return self._empty(self.H, self.W, self.n, self.conv.s.C)

    @cached_property
    def _bands(self) -> Array:
        """(T, TH, W, n C): transformed along the height."""
        return self._empty(self.T, self.TH, self.W, self.n * self.conv.s.C)

    def _by_band(self) -> Array:
        """Return the view (T, TH, T TW, n C) of the inputs' tiles."""
        bands = self._inputs.reshape(self.T, self.T * self.TW, self.TH, -1)
        return bands.swapaxes(1, 2)

    def _part(self, x: Array) -> Array:
        """Return the view (H, W, n, C) of the section of images `x`."""
        return layout.pixels(x)[:, self.rows.pixels, self.columns.pixels].transpose(1, 2, 0, 3)

    def transform_inputs(self, x: Array) -> None:
        """Write the transformed tiles of images `x` to `inputs`."""
        self._pixels[...] = self._part(x)
        bands = self._bands.reshape(self.T * self.TH, -1)
        self.xp.matmul(self.rows.matrix, self._pixels.reshape(self.H, -1), out=bands)
        self.xp.matmul(self.columns.matrix, self._bands, out=self._by_band())

    def add_input_gradient(self, gx: Array) -> None:
        """Add the gradient of images to `gx`, given that of `inputs`."""
        self.xp.matmul(self.columns.matrix.T, self._by_band(), out=self._bands)
        bands = self._bands.reshape(self.T * self.TH, -1)
        self.xp.matmul(self.rows.matrix.T, bands, out=self._pixels.reshape(self.H, -1))
        part = self._part(gx)
        part += self._pixels

    # outputs ------------------------------------------------------------------------------------

    @cached_property
    def _half(self) -> Array:
        """(MH, T, TW TH n O): transformed back along the height."""
        return self._empty(self.conv.M[0], self.T, self._outputs[0, 0].size)

    @cached_property
    def _rows(self) -> Array:
        """(MH, MW, TW TH n O): outputs, by their position in a tile."""
        return self._empty(*self.conv.M, self._outputs[0, 0].size)

    @cached_property
    def _whole(self) -> Array:
        """(n, TH, MH, TW, MW, O): whole tiles of outputs; those beyond the image stay 0."""
        MH, MW = self.conv.M
        shape = self.n, self.TH, MH, self.TW, MW, self.conv.s.O
        return memory.zeros(self.xp, shape, self.conv.dtype)

    def _whole_by_position(self) -> tuple[Array, Array]:
        """Return views (MH, MW, TW, TH, n, O) of `_whole`, and of `_rows`."""
        whole = self._whole.transpose(2, 4, 3, 1, 0, 5)
        return whole, self._rows.reshape(whole.shape)

    def _images(self) -> Array:
        """Return the view (n, OH, OW, O) of `_whole` without what lies beyond the image."""
        MH, MW = self.conv.M
        images = self._whole.reshape(self.n, self.TH * MH, self.TW * MW, -1)
        OH, OW = (p.outputs.stop - p.outputs.start for p in (self.rows, self.columns))
        return images[:, :OH, :OW]

    def _outputs_of(self, y: Array) -> Array:
        return layout.pixels(y)[:, self.rows.outputs, self.columns.outputs]

    def transform_output_gradient(self, gy: Array) -> None:
        """Write the transformed tiles of the outputs' gradient to `outputs`."""
        AH, AW = self.conv.A
        self._images()[...] = self._outputs_of(gy)
        whole, rows = self._whole_by_position()
        rows[...] = whole
        self.xp.matmul(AW, self._rows, out=self._half)
        half, outputs = (a.reshape(len(a), -1) for a in (self._half, self._outputs))
        self.xp.matmul(AH, half, out=outputs)

    def inverse_transform(self, b: Array | None, y: Array) -> None:
        """Write the outputs, plus `b`, to `y`."""
        AH, AW = self.conv.A
        half, outputs = (a.reshape(len(a), -1) for a in (self._half, self._outputs))
        self.xp.matmul(AH.T, outputs, out=half)
        self.xp.matmul(AW.T, self._half, out=self._rows)
        whole, rows = self._whole_by_position()
        whole[...] = rows
        self.xp.add(self._images(), 0 if b is None else b, out=self._outputs_of(y))
