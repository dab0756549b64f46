"""conv2d with fewer multiplications, where windows move by one pixel.

Winograd's minimal filtering (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", sections 3 and 4). A tile of M outputs of a filter of R elements depends on a tile of
T = M + R - 1 inputs. It can be had from T multiplications instead of M R: evaluate filter and
inputs at T points, multiply, and interpolate. Along one axis, with * element by element,

    y  = A^T (G w * B^T x)         row t of A and of G holds the powers of point t,
    gx = B (G w * A gy)            B^T undoes such a row of T powers
    gw = G^T (A gy * B^T x)

and along both axes the same with Kronecker products of these matrices. Over all channels, each of
the T x T positions of a tile is a product of matrices. gx is summed where tiles overlap, gw over
all tiles.

T is 7: outputs of 5 x 5 from a filter of 3 x 3 take 49 multiplications instead of 225. Along one
axis of 13 outputs, of an image of 15 pixels with its padding:

    tile 0    x[0:7]                  y[0:5]
    tile 1         x[5:12]            y[5:10]       inputs overlap by R - 1 = 2, outputs do not
    tile 2              x[10:17]      y[10:15]      x[15:17] are 0, y[13:15] are thrown away

So of a 13 x 13 image, 9 x 49 = 441 multiplications remain of 1521, and the transforms. The points
are those, of eighths, that round least. Still the root mean square error in float32 is about ten
times that of "blocked": 3e-6 of the output's instead of 3e-7.

Each core takes a block of images through all of it, so that tiles stay in its cache.

Numbers that are not finite spread further than the formula of convolution has it, since tiles are
put together from sums and differences of all they see: an infinity becomes NaN, and so does all
that its tile gives. Other tiles, and so other images, are untouched.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker, cache_blocks, slices_per_worker
from minialex.ops._windows import Pair
from minialex.ops.conv2d import blocked
from minialex.ops.conv2d.patches import LEADING_DIM_PADDING, PatchBuffer
from minialex.ops.conv2d.shape import ConvShape

POINTS = np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75])
"""Where polynomials are evaluated. One more point lies at infinity: the leading coefficient."""

T = len(POINTS) + 1
TT = T * T

MULTIPLICATIONS_PER_TRANSFORM = 70
"""How many multiplications take as long as one number of a tile: 49 are made for it, and copies."""

SMALL_GEMM_MULTIPLICATIONS = 1_000_000
"""Up to how many multiplications OpenBLAS multiplies without packing matrices first.

Products with a matrix of 49 x 9 are mostly packing otherwise.
"""

GRADIENT_TILE_BYTES_PER_FILTER_BYTE = 2
"""How much larger than filters the tiles of a block are when gradients are computed.

Each block reads and writes the filters' gradient once more, to add to it: fewer, larger blocks.
"""

TRANSFORM_BLOCK_BYTES = 2 << 20
"""How many bytes of tiles a core transforms, or transforms back, at a time: they stay in L2."""


def powers(n: int) -> Array:
    """Return the matrix (T, n) that evaluates a polynomial of `n` coefficients at all points."""
    return np.vstack([np.vander(POINTS, n, increasing=True), np.eye(n)[-1]])


def interpolation() -> Array:
    """Return the inverse of ``powers(T)``, whose column t is 1 at point t and 0 at the others."""
    columns = []
    for i, point in enumerate(POINTS):
        others = np.delete(POINTS, i)
        columns.append([*np.poly(others)[::-1] / np.prod(point - others), 0])
    return np.array([*columns, np.poly(POINTS)[::-1]]).T


@functools.cache
def matrices(M: Pair, R: Pair, dtype: str) -> tuple[Array, Array, Array]:
    """Return A, G and B for outputs and filters of these heights and widths, for both axes."""
    pairs = (map(powers, M), map(powers, R), (interpolation(), interpolation()))
    A, G, B = (np.kron(*pair).astype(dtype) for pair in pairs)
    return A, G, B


def tile_outputs(s: ConvShape) -> tuple[Pair, Pair]:
    """Return the height and width of a tile's outputs, and how many tiles cover an image."""
    MH, MW = T + 1 - s.KH, T + 1 - s.KW
    return (MH, MW), (-(-s.OH // MH), -(-s.OW // MW))


def is_possible(s: ConvShape) -> bool:
    """Return whether the window moves by one pixel and a tile holds several of its outputs."""
    return s.sh == s.sw == s.dh == s.dw == 1 and 1 < max(s.KH, s.KW) < T


def saves_a_third(s: ConvShape) -> bool:
    """Return whether tiles take at most two thirds of a convolution's time, in multiplications."""
    if not is_possible(s):
        return False
    tiles, taps = s.N * prod(tile_outputs(s)[1]), s.KH * s.KW
    # transforming filters, a product with a narrow matrix, takes four times as long as others
    products = TT * (tiles + 4 * taps) * s.CG * s.OG
    transforms = TT * tiles * (s.CG + s.OG) * MULTIPLICATIONS_PER_TRANSFORM
    return 3 * (products + transforms) <= 2 * s.N * s.P * taps * s.CG * s.OG


def forward(
    x: Array, w: Array, b: Array | None = None, **params: Any
) -> tuple[Array, tuple[Array, Array]]:
    """Return the convolution; where tiles are not possible, as the blocked engine computes it."""
    xp, s = array_module(x), ConvShape.of(x, w, **params)
    if not is_possible(s):
        return blocked.forward(x, w, b, **params)
    y = memory.empty(xp, (s.N, s.O, s.OH, s.OW), x.dtype)
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
        gx = memory.empty(xp, x.shape, x.dtype) if out[0] is None else out[0]
    if needs[1]:
        gw = memory.empty(xp, w.shape, w.dtype) if out[1] is None else out[1]
    if needs[0] or needs[1]:
        gradients(gy, x, w, Winograd(s, xp, x.dtype), gx, gw)
    if needs[2]:
        gb = xp.empty(len(w), w.dtype) if out[2] is None else out[2]
        blocked.bias_gradient(gy, gb)
    return gx, gw, gb


class Winograd:
    """A convolution by tiles, and its three matrices for both axes at once.

    What is transformed is one matrix per position of a tile: filters (T T, G, OG, CG), and tiles of
    inputs and outputs (T T, G, tiles, channels of a group).
    """

    def __init__(self, s: ConvShape, xp: Any, dtype: np.dtype[Any]) -> None:
        self.s, self.xp, self.dtype = s, xp, dtype
        self.M, self.tiles = tile_outputs(s)
        # a tile of inputs is a patch: what a window of T x T that moves by M sees
        (MH, MW), (TH, TW) = self.M, self.tiles
        H, W = (TH - 1) * MH + T - 2 * s.ph, (TW - 1) * MW + T - 2 * s.pw
        windows = s._replace(H=H, W=W, OH=TH, OW=TW)
        self.windows = windows._replace(KH=T, KW=T, sh=MH, sw=MW, groups=1)
        self.A: Array
        self.G: Array
        self.B: Array
        self.A, self.G, self.B = map(xp.asarray, matrices(self.M, (s.KH, s.KW), str(dtype)))

    def blocks_per_worker(self, tile_bytes_per_filter_byte: int = 1) -> list[list[slice]]:
        """Return the blocks of images that are worked on together, a list for each worker.

        The tiles of a block take about as many bytes as the filters, or that many times as many:
        those of a larger one would leave the cache, and for smaller ones filters would come from
        memory more often.
        """
        s, position_bytes = self.s, TT * self.s.groups * self.dtype.itemsize
        image_bytes = position_bytes * prod(self.tiles) * (s.CG + s.OG)
        filter_bytes = position_bytes * s.CG * s.OG
        block_bytes = tile_bytes_per_filter_byte * filter_bytes
        return blocks_per_worker(self.xp, s.N, image_bytes, block_bytes)

    def filters(self, w: Array) -> Array:
        """Return the transformed filters (T T, G, C, D) of `w` (G, C, D, KH, KW)."""
        G, C, D, KH, KW = w.shape
        filters = memory.empty(self.xp, (TT, G, C * D), self.dtype)

        def transform_blocks(blocks: list[slice]) -> None:
            for block in blocks:
                taps = w[:, block].transpose(0, 3, 4, 1, 2).reshape(G, KH * KW, -1)
                out = filters[..., block.start * D : block.stop * D]
                self.xp.matmul(self.G, taps, out=out.swapaxes(0, 1))

        multiplications = TT * KH * KW * D
        threads.run(
            transform_blocks,
            blocks_per_worker(self.xp, C, multiplications, SMALL_GEMM_MULTIPLICATIONS),
        )
        return filters.reshape(TT, G, C, D)

    def filter_gradient(self, total: Array) -> Array:
        """Return the gradient of filters, (KH KW, O CG), given that of the transformed ones."""
        return self.G.T @ total.reshape(TT, -1)


class Transforms:
    """Buffers for the transforms of `n` images into tiles, and back."""

    def __init__(self, conv: Winograd, n: int) -> None:
        self.conv, self.xp, s = conv, conv.xp, conv.s
        (MH, MW), (TH, TW), C, O = conv.M, conv.tiles, s.C, s.O
        self._images = PatchBuffer(conv.windows, self.xp, conv.dtype, [slice(0, n)])
        self._windows = self._images.windows[0].transpose(3, 4, 0, 1, 2, 5)
        self._patches = memory.empty(self.xp, (TT, n * TH * TW * C), conv.dtype)
        self._patches_by_axis = self._patches.reshape(self._windows.shape)
        # as many whole tiles of outputs as tiles of inputs reach over
        H, W = ((TH - 1) * MH + -(-T // MH) * MH, (TW - 1) * MW + -(-T // MW) * MW)
        self._sums = memory.empty(self.xp, (n, H, W, C), conv.dtype)
        self._sums_and_patches = self._disjoint_sums()
        shape = n, TH * MH, TW * MW, O + LEADING_DIM_PADDING
        outputs = memory.zeros(self.xp, shape, conv.dtype)[..., :O]
        self._outputs = outputs[:, : s.OH, : s.OW].transpose(0, 3, 1, 2)
        self._output_tiles = outputs.reshape(n, TH, MH, TW, MW, O).transpose(2, 4, 0, 1, 3, 5)
        self._output_rows = memory.empty(self.xp, (MH * MW, n * TH * TW * O), conv.dtype)

    def _disjoint_sums(self) -> list[tuple[Array, Array]]:
        """Return views of `_sums` that no two tiles share, each with the patches added to it.

        Tiles of 7 inputs that are 5 apart overlap by 2: inputs 0 to 4 of all tiles are one view,
        inputs 5 and 6, which are 0 and 1 of the next tile, another. On both axes that makes four.
        """
        (MH, MW), (TH, TW) = self.conv.M, self.conv.tiles
        n, H, W, C = self._sums.shape
        sums = self._sums.reshape(n, H // MH, MH, W // MW, MW, C).transpose(2, 4, 0, 1, 3, 5)
        pairs = []
        for i, j in product(range(-(-T // MH)), range(-(-T // MW))):
            patches = self._patches_by_axis[i * MH : (i + 1) * MH, j * MW : (j + 1) * MW]
            kh, kw = patches.shape[:2]
            pairs.append((sums[:kh, :kw, :, i : i + TH, j : j + TW], patches))
        return pairs

    def transform_inputs(self, x: Array, tiles: Array) -> None:
        """Write the transformed tiles of the images `x` to `tiles`, one row per position."""
        self._images.load(x)
        self._patches_by_axis[...] = self._windows
        self.xp.matmul(self.conv.B.T, self._patches, out=tiles)

    def input_gradient(self, tiles: Array, gx: Array) -> None:
        """Write the gradient of images to `gx`, given that of their transformed tiles."""
        s = self.conv.s
        self.xp.matmul(self.conv.B, tiles, out=self._patches)
        self._sums.fill(0)
        for sums, patches in self._sums_and_patches:
            sums += patches
        gx[...] = self._sums[:, s.ph : s.ph + s.H, s.pw : s.pw + s.W].transpose(0, 3, 1, 2)

    def transform_output_gradient(self, gy: Array, tiles: Array) -> None:
        """Write the transformed tiles of the outputs' gradient to `tiles`."""
        self._outputs[...] = gy
        self._output_rows.reshape(self._output_tiles.shape)[...] = self._output_tiles
        self.xp.matmul(self.conv.A, self._output_rows, out=tiles)

    def inverse_transform(self, tiles: Array, b: Array | None, y: Array) -> None:
        """Write the outputs of transformed tiles, plus `b`, to `y`."""
        self.xp.matmul(self.conv.A.T, tiles, out=self._output_rows)
        self._output_tiles[...] = self._output_rows.reshape(self._output_tiles.shape)
        self.xp.add(self._outputs, 0 if b is None else b.reshape(-1, 1, 1), out=y)


class Tiles:
    """The transformed tiles of a block of `n` images, made from a few images at a time.

    Attributes
    ----------
    inputs : array (T T, G, tiles, CG)
    outputs : array (T T, G, tiles, OG)
    """

    def __init__(self, conv: Winograd, n: int) -> None:
        self.conv, self.n, s = conv, n, conv.s
        self._inputs, self.inputs = self._empty(s.C)
        self._outputs, self.outputs = self._empty(s.O)
        image_bytes = TT * prod(conv.tiles) * max(s.C, s.O) * conv.dtype.itemsize
        blocks = cache_blocks(conv.xp, slice(0, n), image_bytes, TRANSFORM_BLOCK_BYTES)
        sizes = {block.stop - block.start for block in blocks}
        transforms = {size: Transforms(conv, size) for size in sizes}
        self._blocks = [(block, transforms[block.stop - block.start]) for block in blocks]

    def _empty(self, channels: int) -> tuple[Array, Array]:
        """Return uninitialised tiles, (T T, n, tiles of an image x channels), and by group."""
        conv, tiles = self.conv, prod(self.conv.tiles)
        whole = memory.empty(conv.xp, (TT, self.n, tiles * channels), conv.dtype)
        return whole, whole.reshape(TT, self.n * tiles, conv.s.groups, -1).swapaxes(1, 2)

    def transform_inputs(self, x: Array) -> None:
        """Transform the tiles of the images `x`."""
        for block, transforms in self._blocks:
            transforms.transform_inputs(x[block], self._inputs[:, block].reshape(TT, -1))

    def input_gradient(self, gx: Array) -> None:
        """Write the gradient of images to `gx`, given that of `inputs`."""
        for block, transforms in self._blocks:
            transforms.input_gradient(self._inputs[:, block].reshape(TT, -1), gx[block])

    def transform_output_gradient(self, gy: Array) -> None:
        """Transform the tiles of the outputs' gradient."""
        for block, transforms in self._blocks:
            tiles = self._outputs[:, block].reshape(TT, -1)
            transforms.transform_output_gradient(gy[block], tiles)

    def inverse_transform(self, b: Array | None, y: Array) -> None:
        """Write the outputs, plus `b`, to `y`."""
        for block, transforms in self._blocks:
            tiles = self._outputs[:, block].reshape(TT, -1)
            transforms.inverse_transform(tiles, b, y[block])

    def multiply(self, total: Array, add: bool) -> None:
        """Write the products of all tiles' outputs and inputs to `total`, or add them to it."""
        rows = self.outputs.swapaxes(2, 3)
        if not add:
            self.conv.xp.matmul(rows, self.inputs, out=total)
            return
        for position in threads.chunks(TT, TT if self.conv.xp is np else 1):
            total[position] += rows[position] @ self.inputs[position]


def blocks_and_tiles(conv: Winograd, blocks: list[slice]) -> Iterator[tuple[slice, Tiles]]:
    """Yield blocks of images, each with tiles: the same as before for a block of that size."""
    tiles = None
    for block in blocks:
        n = block.stop - block.start
        if tiles is None or tiles.n != n:
            tiles = Tiles(conv, n)
        yield block, tiles


def convolve(x: Array, w: Array, b: Array | None, conv: Winograd, y: Array) -> None:
    """Write the convolution of `x` with `w`, plus `b`, to `y`."""
    s = conv.s
    filters = conv.filters(w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW).swapaxes(1, 2))

    def compute_blocks(blocks: list[slice]) -> None:
        for block, tiles in blocks_and_tiles(conv, blocks):
            tiles.transform_inputs(x[block])
            conv.xp.matmul(tiles.inputs, filters, out=tiles.outputs)
            tiles.inverse_transform(b, y[block])

    threads.run(compute_blocks, conv.blocks_per_worker())


def gradients(
    gy: Array, x: Array, w: Array, conv: Winograd, gx: Array | None, gw: Array | None
) -> None:
    """Write the gradients of the images and the filters, each where there is an array for it.

    Blocks are the same whichever are wanted, and so are bits: the order in which BLAS sums the
    terms of an element depends on how far that is from the edge of the matrix.
    """
    s, xp = conv.s, conv.xp
    filters = conv.filters(w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW)) if gx is not None else None

    def compute_blocks(blocks: list[slice]) -> Array:
        total = memory.empty(xp, (TT, s.groups, s.OG, s.CG) if gw is not None else (0,), conv.dtype)
        for block, tiles in blocks_and_tiles(conv, blocks):
            tiles.transform_output_gradient(gy[block])
            if gx is not None:
                xp.matmul(tiles.outputs, filters, out=tiles.inputs)
                tiles.input_gradient(gx[block])
            if gw is not None:
                tiles.transform_inputs(x[block])
                tiles.multiply(total, add=block is not blocks[0])
        return conv.filter_gradient(total)

    sums = threads.run(compute_blocks, conv.blocks_per_worker(GRADIENT_TILE_BYTES_PER_FILTER_BYTE))
    if gw is not None:
        _sum_workers(sums, gw)


def _sum_workers(sums: list[Array], gw: Array) -> None:
    """Write to `gw` the sum of what each worker has of it, (KH KW, O CG)."""
    xp, (O, C, KH, KW) = array_module(gw), gw.shape

    def sum_filters(filters: slice) -> None:
        columns = slice(filters.start * C, filters.stop * C)
        total = xp.zeros((KH * KW, columns.stop - columns.start), gw.dtype)
        for one in sums:
            total += one[:, columns]
        gw[filters] = total.T.reshape(gw[filters].shape)

    threads.run(sum_filters, slices_per_worker(xp, O))
