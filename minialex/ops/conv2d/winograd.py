"""conv2d with fewer multiplications, where windows move by one pixel.

Winograd's minimal filtering (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", sections 3 and 4). A tile of M outputs of a filter of R elements depends on a tile of
T = M + R - 1 inputs. It can be had from T multiplications instead of M R: evaluate filter and
inputs at T points, multiply, and interpolate. Along one axis, with * element by element,

    y  = A^T (G w * B^T x)         row t of A and of G holds the powers of point t,
    gx = B (G w * A gy)            B^T undoes such a row of T powers
    gw = G^T (A gy * B^T x)

and along both axes the same, one after the other. Over all channels, each of the T x T positions of
a tile is a product of matrices. gx is summed where tiles overlap, gw over all tiles.

With T = 7, outputs of 5 x 5 from a filter of 3 x 3 take 49 multiplications instead of 225. Along
one axis of 13 outputs, of an image of 15 pixels with its padding:

    tile 0    x[0:7]                  y[0:5]
    tile 1         x[5:12]            y[5:10]       inputs overlap by R - 1 = 2, outputs do not
    tile 2              x[10:17]      y[10:15]      x[15:17] are 0, y[13:15] are thrown away

So of a 13 x 13 image, 9 x 49 = 441 multiplications remain of 1521, and the transforms. T is 6 where
that takes fewer: outputs of 7 x 7 are 4 tiles of either size. The points are those, of eighths,
that round least. Still the root mean square error in float32 is about ten times that of "blocked",
3e-6 of the output's instead of 3e-7; with T = 6 it is four times that.

Each core takes a block of images through all of it, so that tiles stay in its cache.

Numbers that are not finite spread further than the formula of convolution has it, since tiles are
put together from sums and differences of all they see, by matrices that are 0 elsewhere: an
infinity becomes NaN, and so does its part of the image, up to 5 x 5 tiles (see ``tiles.py``). Other
images are untouched.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import layout, memory, threads
from minialex.cpu.sharing import blocks_per_worker, cache_blocks, slices_per_worker
from minialex.ops._windows import Pair
from minialex.ops.conv2d import blocked
from minialex.ops.conv2d.shape import ConvShape
from minialex.ops.conv2d.tiles import POINTS, Axis, Tiles, axis_parts, powers, tile_sizes

Section: TypeAlias = tuple[tuple[Axis, Axis], tuple[Axis, Axis]]
"""The same part of all images: of the height and of the width, each of inputs and outputs."""

MULTIPLICATIONS_PER_TRANSFORM = 25
"""How many multiplications take as long as one number of a tile: to make it, and to copy it."""

SMALL_GEMM_MULTIPLICATIONS = 1_000_000
"""Up to how many multiplications OpenBLAS multiplies without packing matrices first.

Products with a matrix of 49 x 9 are mostly packing otherwise.
"""

MIN_BLOCK_BYTES = 2 << 20
"""The least bytes of tiles in a block: in smaller ones, calls cost more than caches save."""

MIN_BYTES_PER_WORKER = 1 << 19
"""How many bytes of tiles are worth another core."""

PARALLEL_MULTIPLICATIONS = 10_000_000
"""How many multiplications of the filters' transform are worth another core."""

PRODUCT_BYTES = 1 << 19
"""How many bytes of the filters' gradient a core computes at a time, before it adds them."""


def tile_outputs(s: ConvShape, T: int) -> tuple[Pair, Pair]:
    """Return the height and width of a tile's outputs, and how many tiles cover an image."""
    MH, MW = T + 1 - s.KH, T + 1 - s.KW
    return (MH, MW), (-(-s.OH // MH), -(-s.OW // MW))


def is_possible(s: ConvShape) -> bool:
    """Return whether the window moves by one pixel and a tile holds several of its outputs."""
    return s.sh == s.sw == s.dh == s.dw == 1 and 1 < max(s.KH, s.KW) < min(POINTS)


def multiplications(s: ConvShape, T: int) -> int:
    """Return how many multiplications take as long as the convolution by tiles of T x T."""
    tiles, taps = s.N * prod(tile_outputs(s, T)[1]), s.KH * s.KW
    # transforming filters, a product with a narrow matrix, takes four times as long as others
    products = (tiles + 4 * taps) * s.CG * s.O
    return T * T * (products + tiles * (s.C + s.O) * MULTIPLICATIONS_PER_TRANSFORM)


@functools.cache
def best_tile(s: ConvShape) -> int:
    """Return the T that takes the least time."""
    return min(POINTS, key=lambda T: multiplications(s, T))


@functools.cache
def filter_matrix(T: int, R: Pair, dtype: str) -> Array:
    """Return G for both axes at once, (T T, KH KW), of filters of these heights and widths."""
    return np.kron(*(powers(POINTS[T], r) for r in R)).astype(dtype)


@functools.cache
def saves_a_third(s: ConvShape) -> bool:
    """Return whether tiles take at most two thirds of a convolution's time, in multiplications."""
    direct = s.N * s.P * s.KH * s.KW * s.CG * s.O
    return is_possible(s) and 3 * multiplications(s, best_tile(s)) <= 2 * direct


def forward(
    x: Array, w: Array, b: Array | None = None, **params: Any
) -> tuple[Array, tuple[Array, Array]]:
    """Return the convolution; where tiles are not possible, as the blocked engine computes it."""
    xp, s = array_module(x), ConvShape.of(x, w, **params)
    if not is_possible(s):
        return blocked.forward(x, w, b, **params)
    y = layout.empty_images(xp, (s.N, s.O, s.OH, s.OW), x.dtype)
    convolve(x, w, b, Winograd(s, xp, x.dtype), y)
    return y, (x, w)


def backward(
    gy: Array,
    saved: tuple[Array, Array],
    *,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
    **params: Any,
) -> Gradients:
    """Return the gradients of `x`, `w` and `b`."""
    x, w = saved
    xp, s = array_module(x), ConvShape.of(x, w, **params)
    if not is_possible(s):
        return blocked.backward(gy, saved, needs=needs, out=out, **params)
    gx = gw = gb = None
    if needs[0]:
        gx = layout.empty_images(xp, x.shape, x.dtype) if out[0] is None else out[0]
    if needs[1]:
        gw = memory.empty(xp, w.shape, w.dtype) if out[1] is None else out[1]
    if needs[0] or needs[1]:
        conv = Winograd(s, xp, x.dtype)
        blocked.share_gradients(xp, s, lambda gx, gw: gradients(gy, x, w, conv, gx, gw), gx, gw)
    if needs[2]:
        gb = xp.empty(len(w), w.dtype) if out[2] is None else out[2]
        blocked.bias_gradient(gy, gb)
    return gx, gw, gb


class Winograd:
    """A convolution by tiles of T x T: its matrices, and the sections that images are cut into.

    What is transformed is one matrix per position of a tile: filters (T T, G, OG, CG), and tiles of
    inputs and outputs (T T, G, tiles, channels of a group).
    """

    def __init__(self, s: ConvShape, xp: Any, dtype: np.dtype[Any]) -> None:
        self.s, self.xp, self.dtype, self.T = s, xp, dtype, best_tile(s)
        (MH, MW), _ = tile_outputs(s, self.T)
        self.G: Array = xp.asarray(filter_matrix(self.T, (s.KH, s.KW), str(dtype)))
        heights = axis_parts(s.H, s.OH, s.ph, MH, self.T, str(dtype))
        widths = axis_parts(s.W, s.OW, s.pw, MW, self.T, str(dtype))
        self.sections = list(product(heights, widths))

    @property
    def image_bytes(self) -> int:
        """The bytes of the tiles of a section of one image."""
        tiles = max(rows[0].tiles * columns[0].tiles for rows, columns in self.sections)
        return self.T**2 * tiles * (self.s.C + self.s.O) * self.dtype.itemsize

    def tile_memory(self, n: int) -> list[Array]:
        """Return memory for the tiles of any section of `n` images, and for what is in between."""
        inputs, outputs, between = 0, 0, 0
        for rows, columns in self.sections:
            of_inputs = tile_sizes(n, self.s.C, rows[0], columns[0])
            of_outputs = tile_sizes(n, self.s.O, rows[1], columns[1])
            inputs, outputs = max(inputs, of_inputs[0]), max(outputs, of_outputs[0])
            between = max(between, of_inputs[1], of_outputs[1])
        return [memory.empty(self.xp, (size,), self.dtype) for size in (inputs, outputs, between)]

    def tiles(self, n: int, section: Section, arrays: list[Array]) -> tuple[Tiles, Tiles]:
        """Return the tiles of a section of `n` images, of inputs and of outputs, in `arrays`."""
        s, (rows, columns), (inputs, outputs, between) = self.s, section, arrays
        return (
            Tiles(inputs, between, n, s.C, s.groups, rows[0], columns[0]),
            Tiles(outputs, between, n, s.O, s.groups, rows[1], columns[1]),
        )

    def blocks_per_worker(self) -> list[list[slice]]:
        """Return the blocks of images that are worked on together, a list for each worker.

        The tiles of a section of a block take about as many bytes as the filters: those of a larger
        one would leave the cache, and for smaller ones filters would come from memory more often.
        """
        filter_bytes = self.T**2 * self.s.CG * self.s.O * self.dtype.itemsize
        block_bytes = max(filter_bytes, MIN_BLOCK_BYTES)
        sizes = self.s.N, self.image_bytes, block_bytes, MIN_BYTES_PER_WORKER
        return blocks_per_worker(self.xp, *sizes)

    def filters(self, w: Array) -> Array:
        """Return the transformed filters (T T, G, C, D) of `w` (G, C, D, KH, KW)."""
        G, C, D, KH, KW = w.shape
        filters = memory.empty(self.xp, (self.T**2, G, C * D), self.dtype)

        def transform_blocks(blocks: list[slice]) -> None:
            for block in blocks:
                taps = w[:, block].transpose(0, 3, 4, 1, 2).reshape(G, KH * KW, -1)
                out = filters[..., block.start * D : block.stop * D]
                self.xp.matmul(self.G, taps, out=out.swapaxes(0, 1))

        limits = SMALL_GEMM_MULTIPLICATIONS, PARALLEL_MULTIPLICATIONS
        blocks = blocks_per_worker(self.xp, C, self.T**2 * KH * KW * D, *limits)
        threads.run(transform_blocks, blocks)
        return filters.reshape(self.T**2, G, C, D)

    def filter_gradient(self, total: Array, gw: Array) -> None:
        """Write the gradient of filters to `gw`, given that of the transformed ones."""
        rows = total.reshape(self.T**2, -1).T @ self.G
        gw[...] = rows.reshape(gw.shape)


def blocks_and_tiles(
    conv: Winograd, blocks: list[slice], sections: list[Section]
) -> Iterator[tuple[slice, Tiles, Tiles]]:
    """Yield blocks of images, each with tiles for each section: memory is used again."""
    sizes = [block.stop - block.start for block in blocks]
    arrays = conv.tile_memory(max(sizes, default=0))
    for section in sections:
        size = 0
        for block, n in zip(blocks, sizes, strict=True):
            if n != size:
                inputs, outputs = conv.tiles(n, section, arrays)
                size = n
            yield block, inputs, outputs


def convolve(x: Array, w: Array, b: Array | None, conv: Winograd, y: Array) -> None:
    """Write the convolution of `x` with `w`, plus `b`, to `y`."""
    s = conv.s
    filters = conv.filters(w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW).swapaxes(1, 2))

    def compute(work: tuple[list[slice], list[Section]]) -> None:
        for block, inputs, outputs in blocks_and_tiles(conv, *work):
            inputs.transform(x[block])
            conv.xp.matmul(inputs.matrices, filters, out=outputs.matrices)
            outputs.write(y[block], b)

    blocks_per_worker = conv.blocks_per_worker()
    if s.N == 1:
        # each worker has some sections of the one image
        parts = slices_per_worker(conv.xp, len(conv.sections), conv.image_bytes)
        threads.run(compute, [(blocks_per_worker[0], conv.sections[part]) for part in parts])
    else:
        threads.run(compute, [(blocks, conv.sections) for blocks in blocks_per_worker])


def gradients(
    gy: Array, x: Array, w: Array, conv: Winograd, gx: Array | None, gw: Array | None
) -> None:
    """Write the gradients of the images and the filters, each where there is an array for it.

    Blocks are the same whichever are wanted, and so are bits: the order in which BLAS sums the
    terms of an element depends on how far that is from the edge of the matrix.
    """
    s, xp, one_section = conv.s, conv.xp, len(conv.sections) == 1
    if gx is not None:
        filters = conv.filters(w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW))
        if not one_section:
            gx[...] = 0

    def compute_blocks(blocks: list[slice]) -> Array:
        shape = (conv.T**2, s.groups, s.OG, s.CG) if gw is not None else (0,)
        total = memory.zeros(xp, shape, conv.dtype)
        for block, inputs, outputs in blocks_and_tiles(conv, blocks, conv.sections):
            outputs.transform(gy[block])
            if gx is not None:
                xp.matmul(outputs.matrices, filters, out=inputs.matrices)
                (inputs.write if one_section else inputs.add)(gx[block])
            if gw is not None:
                inputs.transform(x[block])
                add_products(outputs.matrices.swapaxes(2, 3), inputs.matrices, total)
        return total

    sums = threads.run(compute_blocks, conv.blocks_per_worker())
    if gw is not None and sums:
        sum_workers(sums, conv, gw)
    elif gw is not None:
        gw[...] = 0


def add_products(a: Array, b: Array, total: Array) -> None:
    """Add the products of matrices to `total`, as many at a time as stay in cache."""
    xp = array_module(total)
    for part in cache_blocks(xp, slice(0, len(total)), total[0].nbytes, PRODUCT_BYTES):
        total[part] += xp.matmul(a[part], b[part])


def sum_workers(sums: list[Array], conv: Winograd, gw: Array) -> None:
    """Write to `gw` the gradient of filters, given what each worker has of the transformed one."""
    totals = [one.reshape(conv.T**2, len(gw), -1) for one in sums]

    def sum_filters(filters: slice) -> None:
        total: Any = sum((one[:, filters] for one in totals[1:]), start=totals[0][:, filters])
        conv.filter_gradient(total, gw[filters])

    filter_bytes = conv.T**2 * gw[0].nbytes / (gw.shape[2] * gw.shape[3])
    threads.run(sum_filters, slices_per_worker(conv.xp, len(gw), filter_bytes))
