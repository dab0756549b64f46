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
error in float32 is about ten times that of "array": 3e-6 of the output's instead of 3e-7.

Any other convolution, and one of which this would save less than a third of the multiplications
(of very few images, for instance, as the filters are transformed for all of them together), is
computed as "array" does. saved = (x, w).

Numbers that are not finite spread further than the formula of convolution has it, since tiles are
put together from sums and differences of all they see: an infinity becomes NaN, and so does all
that its tile gives. Other tiles, and so other images, are untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from minialex import threads
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._patches import APART, Room, Sizes
from minialex.ops._windows import Pair, pieces, shares

POINTS = np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75])
"""Where polynomials are evaluated. One more point lies at infinity: the leading coefficient."""

T = len(POINTS) + 1
TT = T * T

ROOM = 64 << 20
"""How many bytes of transformed tiles are made at a time."""

CACHE = 2 << 20
"""How many of them a core makes, or undoes, at a time."""


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


def outputs_of_tiles(s: Sizes) -> tuple[Pair, Pair]:
    """Return the height and width of a tile's outputs, and how many tiles there are."""
    MH, MW = T + 1 - s.KH, T + 1 - s.KW
    return (MH, MW), (-(-s.OH // MH), -(-s.OW // MW))


def pays(s: Sizes) -> bool:
    """Return whether tiles save a third of the multiplications of a convolution."""
    if s.stride != (1, 1) or s.dilation != (1, 1) or max(s.KH, s.KW) > T - 1:
        return False
    _, (TH, TW) = outputs_of_tiles(s)
    # transforming filters, a product with a narrow matrix, takes four times as long as others
    return 3 * TT * (s.N * TH * TW + 4 * s.KH * s.KW) <= 2 * s.N * s.KH * s.KW * s.P


class Winograd:
    """The tiles of a convolution, and its three matrices for both axes at once.

    Transformed tiles are a matrix a position: (T T, tiles, channels of all groups).
    """

    def __init__(self, s: Sizes, xp: Any, dtype: np.dtype[Any]) -> None:
        self.s, self.xp, self.dtype = s, xp, dtype
        self.M, self.tiles = outputs_of_tiles(s)
        # a tile of inputs is a patch: what a window of T x T that moves by M sees
        H, W = (
            (n - 1) * m + T - 2 * p for n, m, p in zip(self.tiles, self.M, s.padding, strict=True)
        )
        self.windows = replace(s, G=1, C=s.G * s.C, H=H, W=W, KH=T, KW=T, stride=self.M)
        self.A = self._both(*map(powers, self.M))
        self.G = self._both(powers(s.KH), powers(s.KW))
        self.B = self._both(interpolation(), interpolation())

    def _both(self, down: Array, across: Array) -> Array:
        return self.xp.asarray(np.kron(down, across), self.dtype)  # type: ignore[no-any-return]

    # which images and positions are worked on together ----------------------------------------

    def _image_bytes(self, channels: int) -> int:
        return TT * prod(self.tiles) * channels * self.dtype.itemsize

    def batches(self) -> list[slice]:
        """Return the images whose tiles are made at a time."""
        bytes_ = self.s.N * self._image_bytes(self.s.G * (self.s.C + self.s.O))
        return threads.chunks(self.s.N, -(-bytes_ // ROOM))

    def _each(self, some: Callable[[list[slice]], None], n: int, channels: int) -> None:
        """Share `n` images out to the workers, in blocks."""
        threads.run(some, shares(self.xp, n, 2 * self._image_bytes(channels), CACHE))

    def _of(self, block: slice, tiles: Array) -> Array:
        """Return the transformed tiles of some images as a matrix with a row a position."""
        each = prod(self.tiles) * tiles.shape[2]
        return tiles.reshape(TT, -1)[:, block.start * each : block.stop * each]

    def _by_group(self, tiles: Array) -> Array:
        """Return the view (T T, G, tiles, channels of a group)."""
        return tiles.reshape(TT, tiles.shape[1], self.s.G, -1).swapaxes(1, 2)

    def _empty(self, n: int, channels: int) -> Array:
        return self.xp.empty((TT, n * prod(self.tiles), channels), self.dtype)  # type: ignore[no-any-return]

    # transforms -------------------------------------------------------------------------------

    def filters(self, w: Array) -> Array:
        """Return the transformed filters (T T, G, C, D) of `w` (G, C, D, KH, KW)."""
        G, C, D, KH, KW = w.shape
        filters = self.xp.empty((TT, G, C, D), self.dtype)

        def some(channels: slice) -> None:
            taps = w[:, channels].transpose(0, 3, 4, 1, 2).reshape(G, KH * KW, -1)
            columns = slice(channels.start * D, channels.stop * D)
            out = filters.reshape(TT, G, -1).swapaxes(0, 1)[..., columns]
            self.xp.matmul(self.G, taps, out=out)

        threads.run(some, pieces(self.xp, C))
        return filters  # type: ignore[no-any-return]

    def inputs(self, x: Array) -> Array:
        """Return the transformed tiles of images."""
        tiles = self._empty(*x.shape[:2])

        def some(blocks: list[slice]) -> None:
            room = Room(self.windows, self.xp, self.dtype, blocks)
            for block in blocks:
                seen = room.see(x[block]).transpose(0, 4, 5, 1, 2, 3, 6)
                self.xp.matmul(self.B.T, seen.reshape(TT, -1), out=self._of(block, tiles))

        self._each(some, *x.shape[:2])
        return tiles

    def add_up_inputs(self, tiles: Array, gx: Array) -> None:
        """Write the gradient of images to `gx`, given that of their transformed tiles."""
        s, (TH, TW) = self.s, self.tiles

        def some(blocks: list[slice]) -> None:
            room = Room(self.windows, self.xp, self.dtype, blocks)
            for block in blocks:
                patches = (self.B @ self._of(block, tiles)).reshape(1, T, T, -1, TH, TW, s.G * s.C)
                images = room.add_up(patches.transpose(0, 3, 4, 5, 1, 2, 6))
                gx[block] = images[:, 0, :, : s.H, : s.W]

        self._each(some, *gx.shape[:2])

    def outputs(self, tiles: Array, b: Array | None, y: Array) -> None:
        """Write to `y` what transformed outputs come to, plus `b`."""
        xp, s, (MH, MW), (TH, TW) = self.xp, self.s, self.M, self.tiles
        bias = 0 if b is None else b.reshape(-1, 1, 1)

        def some(blocks: list[slice]) -> None:
            for block in blocks:
                n, O = block.stop - block.start, y.shape[1]
                apart = xp.empty((n, TH * MH, TW * MW, O + APART), self.dtype)[..., :O]
                out = (self.A.T @ self._of(block, tiles)).reshape(MH, MW, n, TH, TW, O)
                apart.reshape(n, TH, MH, TW, MW, O)[...] = out.transpose(2, 3, 0, 4, 1, 5)
                xp.add(apart[:, : s.OH, : s.OW].transpose(0, 3, 1, 2), bias, out=y[block])

        self._each(some, *y.shape[:2])

    def cotangents(self, gy: Array) -> Array:
        """Return the transformed tiles of the outputs' gradient."""
        s, (MH, MW), (TH, TW), O = self.s, self.M, self.tiles, gy.shape[1]
        tiles = self._empty(*gy.shape[:2])

        def some(blocks: list[slice]) -> None:
            for block in blocks:
                rows = self.xp.zeros((block.stop - block.start, TH * MH, TW * MW, O), self.dtype)
                rows[:, : s.OH, : s.OW] = gy[block].transpose(0, 2, 3, 1)
                apart = rows.reshape(-1, TH, MH, TW, MW, O).transpose(2, 4, 0, 1, 3, 5)
                self.xp.matmul(self.A, apart.reshape(MH * MW, -1), out=self._of(block, tiles))

        self._each(some, *gy.shape[:2])
        return tiles

    # products, position by position -----------------------------------------------------------

    def multiply(self, tiles: Array, filters: Array) -> Array:
        """Return the products of transformed tiles with transformed filters (T T, G, C, D)."""
        products = self.xp.empty((*tiles.shape[:2], self.s.G * filters.shape[3]), self.dtype)
        a, out = self._by_group(tiles), self._by_group(products)

        def some(at: slice) -> None:
            self.xp.matmul(a[at], filters[at], out=out[at])

        threads.run(some, pieces(self.xp, TT))
        return products  # type: ignore[no-any-return]

    def add_products(self, cotangents: Array, inputs: Array, total: Array) -> None:
        """Add the gradient of the transformed filters to `total` (T T, G, O, C)."""
        a, b = self._by_group(cotangents).swapaxes(2, 3), self._by_group(inputs)

        def some(at: slice) -> None:
            total[at] += a[at] @ b[at]

        threads.run(some, threads.chunks(TT, TT if self.xp is np else 1))

    def filter_gradient(self, total: Array, gw: Array) -> None:
        """Write the gradient of the filters to `gw`, given that of the transformed ones."""

        def some(filters: slice) -> None:
            each = total.reshape(TT, len(gw), -1)[:, filters].reshape(TT, -1).T
            gw[filters] = (each @ self.G).reshape(gw[filters].shape)

        threads.run(some, pieces(self.xp, len(gw)))


def convolve(x: Array, w: Array, b: Array | None, at: Winograd, y: Array) -> None:
    """Write the convolution of `x` with `w`, plus `b`, to `y`."""
    s = at.s
    filters = at.filters(w.reshape(s.G, s.O, s.C, s.KH, s.KW).swapaxes(1, 2))
    for some in at.batches():
        at.outputs(at.multiply(at.inputs(x[some]), filters), b, y[some])


def gradients(
    gy: Array, x: Array, w: Array, at: Winograd, gx: Array | None, gw: Array | None
) -> None:
    """Write the gradients of `x` and `w` to `gx` and `gw`, where they are arrays."""
    s = at.s
    filters: Array | None = None
    total: Array | None = None
    if gx is not None:
        filters = at.filters(w.reshape(s.G, s.O, s.C, s.KH, s.KW))
    if gw is not None:
        total = at.xp.zeros((TT, s.G, s.O, s.C), at.dtype)
    for some in at.batches():
        cotangents = at.cotangents(gy[some])
        if gx is not None and filters is not None:
            at.add_up_inputs(at.multiply(cotangents, filters), gx[some])
        if total is not None:
            at.add_products(cotangents, at.inputs(x[some]), total)
    if gw is not None and total is not None:
        at.filter_gradient(total, gw)


def implementation(array: Implementation) -> Implementation:
    """Return this implementation of conv2d, given the one that it leaves the rest to."""

    def forward(
        x: Array, w: Array, b: Array | None = None, *, groups: int, **params: Pair
    ) -> tuple[Array, tuple[Array, Array]]:
        xp, s = array_module(x), Sizes.of(x, w, **params, G=groups)
        if not pays(s):
            return array.forward(x, w, b, groups=groups, **params)
        at = Winograd(s, xp, x.dtype)
        y = xp.empty((s.N, s.G * s.O, s.OH, s.OW), x.dtype)
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
        if not pays(s):
            return array.backward(gy, saved, groups=groups, needs=needs, out=out, **params)
        at = Winograd(s, xp, x.dtype)
        gx, gw = (
            (xp.empty(a.shape, a.dtype) if home is None else home) if need else None
            for a, home, need in zip((x, w), out[:2], needs[:2], strict=True)
        )
        if needs[0] or needs[1]:
            gradients(gy, x, w, at, gx, gw)
        only_b = (False, False, needs[2])
        gb = array.backward(gy, saved, groups=groups, needs=only_b, out=out, **params)[2]
        return gx, gw, gb

    return Implementation(forward, backward)
