"""conv2d with fewer multiplications, where windows move by one pixel: one more implementation.

Winograd's minimal filtering (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", sections 3 and 4). A tile of M outputs of a filter of R elements depends on a tile of
T = M + R - 1 inputs. It can be had from T multiplications instead of M R: evaluate filter and
inputs at T points, multiply, and interpolate. Along one axis, with * element by element,

    y  = A^T (G w * B^T x)         row t of A and of G holds the powers of point t,
    gx = B (G w * A gy)            B^T undoes such a row of T powers
    gw = G^T (A gy * B^T x)

and along both axes the same with Kronecker products of these matrices. Over all channels, each of
the T x T positions of a tile is a product of matrices. gx is added up where tiles overlap, gw over
all tiles.

T is 7: outputs of 5 x 5 from a filter of 3 x 3 take 49 multiplications instead of 225. What tiles
compute beyond the image is thrown away: of a 13 x 13 image, 441 multiplications remain of 1521,
and the transforms. The points are those, of eighths, that round least. Still the root mean square
error in float32 is about ten times that of "plain": 3e-6 of the output's instead of 3e-7.

Any other convolution is computed as "plain" does. "auto", which is what a CPU runs by itself,
takes "winograd" where it saves a third of the time or more, and else "plain": of few channels, for
instance, or of very few images, as filters are transformed for all of them together.
saved = (x, w).

Each core takes a block of images through all of it, so that tiles stay in its cache.

Numbers that are not finite spread further than the formula of convolution has it, since tiles are
put together from sums and differences of all they see: an infinity becomes NaN, and so does all
that its tile gives. Other tiles, and so other images, are untouched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker, cache_blocks, slices_per_worker
from minialex.ops._windows import Pair
from minialex.ops.conv2d.patches import APART, Room, Sizes

POINTS = np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75])
"""Where polynomials are evaluated. One more point lies at infinity: the leading coefficient."""

T = len(POINTS) + 1
TT = T * T

TRANSFORM = 70
"""How many multiplications take as long as one number of a tile does, made or undone."""

SMALL = 1_000_000
"""Up to how many multiplications BLAS has a quicker way to multiply narrow matrices."""

ENOUGH = 2
"""Tiles of how many times the bytes of filters make up for one more addition to their gradient."""

CACHE = 2 << 20
"""How many bytes of tiles a core makes, or undoes, at a time."""


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


def outputs_of_tiles(s: Sizes) -> tuple[Pair, Pair]:
    """Return the height and width of a tile's outputs, and how many tiles there are."""
    MH, MW = T + 1 - s.KH, T + 1 - s.KW
    return (MH, MW), (-(-s.OH // MH), -(-s.OW // MW))


def possible(s: Sizes) -> bool:
    """Return whether the window moves by one pixel and a tile holds several of its outputs."""
    return s.stride == s.dilation == (1, 1) and 1 < max(s.KH, s.KW) < T


def pays(s: Sizes) -> bool:
    """Return whether tiles save a third of the time, in multiplications, of a convolution."""
    if not possible(s):
        return False
    tiles, taps = s.N * prod(outputs_of_tiles(s)[1]), s.KH * s.KW
    # transforming filters, a product with a narrow matrix, takes four times as long as others
    products = TT * (tiles + 4 * taps) * s.C * s.O
    transforms = TT * tiles * (s.C + s.O) * TRANSFORM
    return 3 * (products + transforms) <= 2 * s.N * s.P * taps * s.C * s.O


class Winograd:
    """A convolution by tiles, and its three matrices for both axes at once.

    What is transformed is a matrix a position: filters (T T, G, O, C), and tiles of inputs and
    outputs (T T, G, tiles, channels of a group).
    """

    def __init__(self, s: Sizes, xp: Any, dtype: np.dtype[Any]) -> None:
        self.s, self.xp, self.dtype = s, xp, dtype
        self.M, self.tiles = outputs_of_tiles(s)
        # a tile of inputs is a patch: what a window of T x T that moves by M sees
        H, W = (
            (n - 1) * m + T - 2 * p for n, m, p in zip(self.tiles, self.M, s.padding, strict=True)
        )
        self.windows = replace(s, G=1, C=s.G * s.C, H=H, W=W, KH=T, KW=T, stride=self.M)
        self.A: Array
        self.G: Array
        self.B: Array
        self.A, self.G, self.B = map(xp.asarray, matrices(self.M, (s.KH, s.KW), str(dtype)))

    def blocks_per_worker(self, filters: int = 1) -> list[list[slice]]:
        """Return the blocks of images that are worked on together, a list for each worker.

        The tiles of a block take about as many bytes as the filters, or `filters` times as many:
        those of a larger one would leave the cache, and for smaller ones filters would come from
        memory more often.
        """
        s, each = self.s, TT * self.s.G * self.dtype.itemsize
        image = each * prod(self.tiles) * (s.C + s.O)
        return blocks_per_worker(self.xp, s.N, image, filters * each * s.C * s.O)

    def filters(self, w: Array) -> Array:
        """Return the transformed filters (T T, G, C, D) of `w` (G, C, D, KH, KW)."""
        G, C, D, KH, KW = w.shape
        filters = memory.empty(self.xp, (TT, G, C * D), self.dtype)

        def some(blocks: list[slice]) -> None:
            for block in blocks:
                taps = w[:, block].transpose(0, 3, 4, 1, 2).reshape(G, KH * KW, -1)
                out = filters[..., block.start * D : block.stop * D]
                self.xp.matmul(self.G, taps, out=out.swapaxes(0, 1))

        threads.run(some, blocks_per_worker(self.xp, C, TT * KH * KW * D, SMALL))
        return filters.reshape(TT, G, C, D)

    def filter_gradient(self, total: Array) -> Array:
        """Return the gradient of filters, (KH KW, G O C), given that of the transformed ones."""
        return self.G.T @ total.reshape(TT, -1)


class Transforms:
    """Room to take `n` images apart into transformed tiles, and to put them together again."""

    def __init__(self, at: Winograd, n: int) -> None:
        self.at, self.xp, s = at, at.xp, at.s
        (MH, MW), (TH, TW), C, O = at.M, at.tiles, s.G * s.C, s.G * s.O
        self._images = Room(at.windows, self.xp, at.dtype, [slice(0, n)])
        self._seen = self._images.windows[0].transpose(3, 4, 0, 1, 2, 5)
        self._patches = memory.empty(self.xp, (TT, n * TH * TW * C), at.dtype)
        self._patches_apart = self._patches.reshape(self._seen.shape)
        # as many whole tiles of outputs as tiles of inputs reach over
        H, W = ((TH - 1) * MH + -(-T // MH) * MH, (TW - 1) * MW + -(-T // MW) * MW)
        self._sums = memory.empty(self.xp, (n, H, W, C), at.dtype)
        self._sums_of_parts = self._parts()
        whole = memory.zeros(self.xp, (n, TH * MH, TW * MW, O + APART), at.dtype)[..., :O]
        self._whole = whole[:, : s.OH, : s.OW].transpose(0, 3, 1, 2)
        self._apart = whole.reshape(n, TH, MH, TW, MW, O).transpose(2, 4, 0, 1, 3, 5)
        self._places = memory.empty(self.xp, (MH * MW, n * TH * TW * O), at.dtype)

    def _parts(self) -> list[tuple[Array, Array]]:
        """Return parts of `_sums` that no two tiles share, each with what is added to it."""
        (MH, MW), (TH, TW) = self.at.M, self.at.tiles
        n, H, W, C = self._sums.shape
        sums = self._sums.reshape(n, H // MH, MH, W // MW, MW, C).transpose(2, 4, 0, 1, 3, 5)
        parts = []
        for i, j in product(range(-(-T // MH)), range(-(-T // MW))):
            part = self._patches_apart[i * MH : (i + 1) * MH, j * MW : (j + 1) * MW]
            kh, kw = part.shape[:2]
            parts.append((sums[:kh, :kw, :, i : i + TH, j : j + TW], part))
        return parts

    def take_inputs(self, x: Array, tiles: Array) -> None:
        """Write the transformed tiles of the images `x` to `tiles`, a row a position."""
        self._images.see(x)
        self._patches_apart[...] = self._seen
        self.xp.matmul(self.at.B.T, self._patches, out=tiles)

    def give_inputs(self, tiles: Array, gx: Array) -> None:
        """Write the gradient of images to `gx`, given that of their transformed tiles."""
        s, (ph, pw) = self.at.s, self.at.s.padding
        self.xp.matmul(self.at.B, tiles, out=self._patches)
        self._sums.fill(0)
        for sums, part in self._sums_of_parts:
            sums += part
        gx[...] = self._sums[:, ph : ph + s.H, pw : pw + s.W].transpose(0, 3, 1, 2)

    def take_outputs(self, gy: Array, tiles: Array) -> None:
        """Write the transformed tiles of the outputs' gradient to `tiles`."""
        self._whole[...] = gy
        self._places.reshape(self._apart.shape)[...] = self._apart
        self.xp.matmul(self.at.A, self._places, out=tiles)

    def give_outputs(self, tiles: Array, b: Array | None, y: Array) -> None:
        """Write to `y` what transformed outputs come to, plus `b`."""
        self.xp.matmul(self.at.A.T, tiles, out=self._places)
        self._apart[...] = self._places.reshape(self._apart.shape)
        self.xp.add(self._whole, 0 if b is None else b.reshape(-1, 1, 1), out=y)


class Tiles:
    """The transformed tiles of a block of `n` images, which make a few images at a time.

    Attributes
    ----------
    inputs : array (T T, G, tiles, C)
    outputs : array (T T, G, tiles, O)
    """

    def __init__(self, at: Winograd, n: int) -> None:
        self.at, self.n, s = at, n, at.s
        self._inputs, self.inputs = self._empty(s.G * s.C)
        self._outputs, self.outputs = self._empty(s.G * s.O)
        image = TT * prod(at.tiles) * s.G * max(s.C, s.O) * at.dtype.itemsize
        few = cache_blocks(at.xp, slice(0, n), image, CACHE)
        rooms = {k: Transforms(at, k) for k in {block.stop - block.start for block in few}}
        self._few = [(block, rooms[block.stop - block.start]) for block in few]

    def _empty(self, channels: int) -> tuple[Array, Array]:
        """Return room for tiles, (T T, n, tiles of an image x channels), and its view by group."""
        at, tiles = self.at, prod(self.at.tiles)
        room = memory.empty(at.xp, (TT, self.n, tiles * channels), at.dtype)
        return room, room.reshape(TT, self.n * tiles, at.s.G, -1).swapaxes(1, 2)

    def take_inputs(self, x: Array) -> None:
        """Transform the tiles of the images `x`."""
        for some, room in self._few:
            room.take_inputs(x[some], self._inputs[:, some].reshape(TT, -1))

    def give_inputs(self, gx: Array) -> None:
        """Write the gradient of images to `gx`, given that of `inputs`."""
        for some, room in self._few:
            room.give_inputs(self._inputs[:, some].reshape(TT, -1), gx[some])

    def take_outputs(self, gy: Array) -> None:
        """Transform the tiles of the outputs' gradient."""
        for some, room in self._few:
            room.take_outputs(gy[some], self._outputs[:, some].reshape(TT, -1))

    def give_outputs(self, b: Array | None, y: Array) -> None:
        """Write to `y` what `outputs` come to, plus `b`."""
        for some, room in self._few:
            room.give_outputs(self._outputs[:, some].reshape(TT, -1), b, y[some])

    def multiply(self, total: Array, add: bool) -> None:
        """Write the products of all tiles' outputs and inputs to `total`, or add them to it."""
        rows = self.outputs.swapaxes(2, 3)
        if not add:
            self.at.xp.matmul(rows, self.inputs, out=total)
            return
        for at in threads.chunks(TT, TT if self.at.xp is np else 1):
            total[at] += rows[at] @ self.inputs[at]


def each(at: Winograd, blocks: list[slice]) -> Iterator[tuple[slice, Tiles]]:
    """Yield blocks of images with room for their tiles, the same while the size is."""
    tiles = None
    for block in blocks:
        n = block.stop - block.start
        if tiles is None or tiles.n != n:
            tiles = Tiles(at, n)
        yield block, tiles


def convolve(x: Array, w: Array, b: Array | None, at: Winograd, y: Array) -> None:
    """Write the convolution of `x` with `w`, plus `b`, to `y`."""
    s = at.s
    filters = at.filters(w.reshape(s.G, s.O, s.C, s.KH, s.KW).swapaxes(1, 2))

    def some(blocks: list[slice]) -> None:
        for block, tiles in each(at, blocks):
            tiles.take_inputs(x[block])
            at.xp.matmul(tiles.inputs, filters, out=tiles.outputs)
            tiles.give_outputs(b, y[block])

    threads.run(some, at.blocks_per_worker())


def gradients(
    gy: Array, x: Array, w: Array, at: Winograd, gx: Array | None, gw: Array | None
) -> None:
    """Write the gradients of the images and the filters, each where there is an array for it.

    Blocks are the same whichever are wanted, and so are bits: the order in which BLAS adds up an
    element of a product depends on how far it is from the edge of the matrix.
    """
    s, xp = at.s, at.xp
    filters = at.filters(w.reshape(s.G, s.O, s.C, s.KH, s.KW)) if gx is not None else None

    def some(blocks: list[slice]) -> Array:
        total = memory.empty(xp, (TT, s.G, s.O, s.C) if gw is not None else (0,), at.dtype)
        for block, tiles in each(at, blocks):
            tiles.take_outputs(gy[block])
            if gx is not None:
                xp.matmul(tiles.outputs, filters, out=tiles.inputs)
                tiles.give_inputs(gx[block])
            if gw is not None:
                tiles.take_inputs(x[block])
                tiles.multiply(total, add=block is not blocks[0])
        return at.filter_gradient(total)

    parts = threads.run(some, at.blocks_per_worker(ENOUGH))
    if gw is not None:
        _add_up(parts, gw)


def _add_up(parts: list[Array], gw: Array) -> None:
    """Write to `gw` the sum of its parts, (KH KW, O C) each."""
    xp, (O, C, KH, KW) = array_module(gw), gw.shape

    def some(filters: slice) -> None:
        columns = slice(filters.start * C, filters.stop * C)
        total = xp.zeros((KH * KW, columns.stop - columns.start), gw.dtype)
        for part in parts:
            total += part[:, columns]
        gw[filters] = total.T.reshape(gw[filters].shape)

    threads.run(some, slices_per_worker(xp, O))


def implementation(array: Implementation, taken: Callable[[Sizes], bool]) -> Implementation:
    """Return an implementation that does what is `taken`, and leaves the rest to `array`."""

    def forward(
        x: Array, w: Array, b: Array | None = None, *, groups: int, **params: Pair
    ) -> tuple[Array, tuple[Array, Array]]:
        xp, s = array_module(x), Sizes.of(x, w, **params, G=groups)
        if not taken(s):
            return array.forward(x, w, b, groups=groups, **params)
        at = Winograd(s, xp, x.dtype)
        y = memory.empty(xp, (s.N, s.G * s.O, s.OH, s.OW), x.dtype)
        convolve(x, w, b, at, y)
        return y, (x, w)

    def backward(
        gy: Array,
        saved: tuple[Array, Array],
        *,
        groups: int,
        needs: tuple[bool, ...] = (True, True, True),
        out: Gradients = (None, None, None),
        **params: Pair,
    ) -> Gradients:
        x, w = saved
        xp, s = array_module(x), Sizes.of(x, w, **params, G=groups)
        if not taken(s):
            return array.backward(gy, saved, groups=groups, needs=needs, out=out, **params)
        at, gx, gw = Winograd(s, xp, x.dtype), None, None
        if needs[0]:
            gx = memory.empty(xp, x.shape, x.dtype) if out[0] is None else out[0]
        if needs[1]:
            gw = memory.empty(xp, w.shape, w.dtype) if out[1] is None else out[1]
        if needs[0] or needs[1]:
            gradients(gy, x, w, at, gx, gw)
        only_b = (False, False, needs[2])
        gb = array.backward(gy, saved, groups=groups, needs=only_b, out=out, **params)[2]
        return gx, gw, gb

    return Implementation(forward, backward)
