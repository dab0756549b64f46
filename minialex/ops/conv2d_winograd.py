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
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minialex import threads
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._patches import Room, Sizes
from minialex.ops._windows import Pair, pieces, shares

POINTS = np.array([0.25, -0.25, 0.875, -0.875, 1.75, -1.75])
"""Where polynomials are evaluated. One more point lies at infinity: the leading coefficient."""

T = len(POINTS) + 1
TT = T * T

CACHE = 16 << 20
"""How many bytes of tiles a core works on at a time."""


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
    """The tiles of a convolution, and its three matrices for both axes at once."""

    def __init__(self, s: Sizes, xp: Any, dtype: np.dtype[Any]) -> None:
        self.s, self.xp, self.dtype = s, xp, dtype
        self.M, (TH, TW) = outputs_of_tiles(s)
        # a tile of inputs is a patch: what a window of T x T that moves by M sees
        H, W = (
            (n - 1) * m + T - 2 * p for n, m, p in zip((TH, TW), self.M, s.padding, strict=True)
        )
        self.tiles = replace(s, H=H, W=W, KH=T, KW=T, stride=self.M)
        self.A = self._both(*map(powers, self.M))
        self.G = self._both(powers(s.KH), powers(s.KW))
        self.B = self._both(interpolation(), interpolation())

    def _both(self, down: Array, across: Array) -> Array:
        return self.xp.asarray(np.kron(down, across), self.dtype)  # type: ignore[no-any-return]

    def shares(self) -> list[list[slice]]:
        """Return the blocks of images that are worked on together, a list for each worker."""
        s = self.s
        image_bytes = TT * self.tiles.P * s.G * (2 * s.C + s.O) * self.dtype.itemsize
        return shares(self.xp, s.N, image_bytes, CACHE)

    def filters(self, w: Array) -> Array:
        """Return the transformed filters, (T T, G, O, C)."""
        s = self.s
        return (self.G @ w.reshape(-1, s.KH * s.KW).T).reshape(TT, s.G, s.O, s.C)

    def inputs(self, x: Array, room: Room) -> Array:
        """Return the transformed tiles of images, (G, tiles, T T, C)."""
        return self.B.T @ room.cut(x).reshape(self.s.G, -1, TT, self.s.C)

    def outputs(self, products: Array, n: int) -> Array:
        """Return the view (n, G, O, OH, OW) of what the transformed outputs come to."""
        s, (MH, MW), (TH, TW) = self.s, self.M, (self.tiles.OH, self.tiles.OW)
        y = (self.A.T @ products).reshape(s.G, n, TH, TW, MH, MW, s.O)
        rows = y.transpose(1, 0, 2, 4, 3, 5, 6).reshape(n, s.G, TH * MH, TW * MW, s.O)
        return rows[:, :, : s.OH, : s.OW].transpose(0, 1, 4, 2, 3)

    def cotangents(self, gy: Array) -> Array:
        """Return the transformed tiles of the outputs' gradient, (G, tiles, T T, O)."""
        s, n, (MH, MW), (TH, TW) = self.s, len(gy), self.M, (self.tiles.OH, self.tiles.OW)
        rows = self.xp.zeros((n, s.G, TH * MH, TW * MW, s.O), self.dtype)
        inside = rows[:, :, : s.OH, : s.OW].transpose(0, 1, 4, 2, 3)
        inside[...] = gy.reshape(n, s.G, s.O, s.OH, s.OW)
        tiles = rows.reshape(n, s.G, TH, MH, TW, MW, s.O).transpose(1, 0, 2, 4, 3, 5, 6)
        return self.A @ tiles.reshape(s.G, -1, MH * MW, s.O)  # type: ignore[no-any-return]

    def multiply(self, tiles: Array, filters: Array) -> Array:
        """Return products (G, tiles, T T, D) of (G, tiles, T T, C) and (T T, G, C, D)."""
        products = self.xp.empty((*tiles.shape[:3], filters.shape[3]), self.dtype)
        self.xp.matmul(tiles.transpose(2, 0, 1, 3), filters, out=products.transpose(2, 0, 1, 3))
        return products  # type: ignore[no-any-return]

    def filter_gradient(self, cotangents: Array, inputs: Array, gw: Array) -> None:
        """Add the gradient of the filters, (KH KW, G, O, C), to `gw`."""
        s = self.s
        parts = -(-TT * s.G * s.O * s.C * self.dtype.itemsize // CACHE)
        for some in threads.chunks(s.O, parts):
            products = cotangents[..., some].transpose(2, 0, 3, 1) @ inputs.transpose(2, 0, 1, 3)
            gw[:, :, some] += (self.G.T @ products.reshape(TT, -1)).reshape(gw[:, :, some].shape)


def convolve(x: Array, w: Array, b: Array | None, at: Winograd, y: Array) -> None:
    """Write the convolution of `x` with `w`, plus `b`, to `y`."""
    s, xp = at.s, at.xp
    filters = at.filters(w).swapaxes(-1, -2)
    bias = 0 if b is None else b.reshape(s.G, s.O, 1, 1)
    images = y.reshape(s.N, s.G, s.O, s.OH, s.OW)

    def some(blocks: list[slice]) -> None:
        room = Room(at.tiles, xp, at.dtype, blocks)
        for block in blocks:
            products = at.multiply(at.inputs(x[block], room), filters)
            xp.add(at.outputs(products, block.stop - block.start), bias, out=images[block])

    threads.run(some, at.shares())


def gradients(
    gy: Array, x: Array, w: Array, at: Winograd, gx: Array | None, gw: Array | None
) -> None:
    """Write the gradients of `x` and `w` to `gx` and `gw`, where they are arrays."""
    s, xp = at.s, at.xp
    filters = at.filters(w)
    images = None if gx is None else gx.reshape(s.N, s.G, s.C, s.H, s.W)

    def some(blocks: list[slice]) -> Array:
        room = Room(at.tiles, xp, at.dtype, blocks)
        total = xp.zeros((s.KH * s.KW, s.G, s.O, s.C), at.dtype)
        for block in blocks:
            cotangents, n = at.cotangents(gy[block]), block.stop - block.start
            if gw is not None:
                at.filter_gradient(cotangents, at.inputs(x[block], room), total)
            if images is not None:
                tiles = room.patches(n).reshape(s.G, -1, TT, s.C)
                xp.matmul(at.B, at.multiply(cotangents, filters), out=tiles)
                images[block] = room.add_up(n)[..., : s.H, : s.W]
                room.clear()
        return total.reshape(s.KH, s.KW, s.G * s.O, s.C)  # type: ignore[no-any-return]

    parts = threads.run(some, at.shares())
    if gw is None:
        return

    def gather(filters: slice) -> None:
        nothing = xp.zeros((s.KH, s.KW, 1, s.C), at.dtype)
        total = sum((part[:, :, filters] for part in parts), start=nothing)
        gw[filters] = total.transpose(2, 3, 0, 1)

    threads.run(gather, pieces(xp, len(w)))


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
