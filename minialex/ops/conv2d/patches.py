"""Patches: what a sliding window sees at each of its places, as the rows of a matrix.

Convolution is a matrix product with them. They are cut from images that have been given their
borders and turned to channels last: there a row of the window is one contiguous run of KW x C
elements (where it is not dilated), and copying long runs costs little beside the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker, slices_per_worker
from minialex.ops._windows import Pair, output_length, strided_slice

CACHE = 5 << 20
"""How many bytes of patches, and products with them, a core makes at a time."""

LEAST = 1 << 20
"""How many of them are worth a core of their own."""

APART = 16
"""How many elements lie between rows that are turned to columns afterwards.

The elements of a column would otherwise be a power of two apart, or nearly so, and share a few
places of the cache.
"""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a convolution: C, O channels in each of G groups, P places of K elements."""

    N: int
    G: int
    C: int
    H: int
    W: int
    O: int
    KH: int
    KW: int
    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def of(cls, x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, G: int) -> Sizes:
        """Return those of the convolution of `x` (N, G C, H, W) with `w` (G O, C, KH, KW)."""
        (N, _, H, W), (O, C, KH, KW) = x.shape, w.shape
        return cls(N, G, C, H, W, O // G, KH, KW, stride, padding, dilation)

    @property
    def OH(self) -> int:
        """The height of the output."""
        return output_length(self.H, self.KH, self.stride[0], self.padding[0], self.dilation[0])

    @property
    def OW(self) -> int:
        """The width of the output."""
        return output_length(self.W, self.KW, self.stride[1], self.padding[1], self.dilation[1])

    @property
    def P(self) -> int:
        """The number of output positions of an image."""
        return self.OH * self.OW

    @property
    def K(self) -> int:
        """The number of elements of a patch, of one group's channels."""
        return self.KH * self.KW * self.C

    def rows(self, kh: int) -> slice:
        """Return the rows of padded images that row `kh` of the window meets."""
        return strided_slice(kh * self.dilation[0], self.OH, self.stride[0])

    def columns(self, kw: int) -> slice:
        """Return the columns of padded images that column `kw` of the window meets."""
        return strided_slice(kw * self.dilation[1], self.OW, self.stride[1])

    def blocks_per_worker(self, xp: Any, dtype: np.dtype[Any]) -> list[list[slice]]:
        """Return the blocks of images that are worked on together, a list for each worker."""
        return blocks_per_worker(
            xp, self.N, self.G * self.P * (self.K + self.O) * dtype.itemsize, CACHE, LEAST
        )

    def places(self, xp: Any, padded: Array) -> Array:
        """Return the view (G, C, KH, KW, N, OH, OW) of images (N, G, C, H, W) with borders.

        It is of what each weight, as filters lie, meets.
        """
        reach = tuple(
            d * (k - 1) + 1 for d, k in zip(self.dilation, (self.KH, self.KW), strict=True)
        )
        seen = xp.lib.stride_tricks.sliding_window_view(padded, reach, axis=(-2, -1))
        (sh, sw), (dh, dw) = self.stride, self.dilation
        return seen[..., ::sh, ::sw, ::dh, ::dw].transpose(1, 2, 5, 6, 0, 3, 4)  # type: ignore[no-any-return]

    # views and copies in the order that the products want ------------------------------------

    def filters(self, xp: Any, w: Array) -> Array:
        """Return `w` as a matrix a group, (G, O, K), its columns in the order of the patches'."""
        last = w.reshape(self.G, self.O, self.C, self.KH, self.KW).transpose(0, 1, 3, 4, 2)
        return copied(xp, last).reshape(self.G, self.O, self.K)

    def as_filters(self, rows: Array) -> Array:
        """Return the view (O, C, KH, KW) of filters (O, K) that are in the patches' order."""
        return rows.reshape(len(rows), self.KH, self.KW, self.C).transpose(0, 3, 1, 2)

    def as_images(self, products: Array, rows: slice) -> Array:
        """Return the view (n, G, O, rows, OW) of some rows of outputs, (G, n rows OW, O)."""
        shape = self.G, -1, rows.stop - rows.start, self.OW, self.O
        return products.reshape(shape).transpose(1, 0, 4, 2, 3)

    def as_rows(self, y: Array) -> Array:
        """Return outputs (n, G O, OH, OW) as (G, O, n P): a view of one image, a copy of more."""
        apart = y.reshape(len(y), self.G, self.O, self.P).transpose(1, 2, 0, 3)
        return apart.reshape(self.G, self.O, len(y) * self.P)


def copied(xp: Any, a: Array) -> Array:
    """Return a C-contiguous copy of `a`, made by all workers."""
    copy = memory.empty(xp, a.shape, a.dtype)

    def some(part: slice) -> None:
        copy[:, part] = a[:, part]

    threads.run(some, slices_per_worker(xp, a.shape[1]) if a.size > _MANY else [slice(None)])
    return copy


class Room:
    """Room for the borders and patches of a block of images; used again for each block."""

    def __init__(self, sizes: Sizes, xp: Any, dtype: np.dtype[Any], blocks: list[slice]) -> None:
        self.sizes = s = sizes
        n = max(block.stop - block.start for block in blocks)
        (ph, pw), (sh, sw), (dh, dw) = s.padding, s.stride, s.dilation
        self._empty = partial(memory.empty, xp, dtype=dtype)
        self._places = s.G * n * s.P
        self.padded = memory.zeros(xp, (s.G, n, s.H + 2 * ph, s.W + 2 * pw, s.C), dtype)
        g, i, h, w, c = self.padded.strides
        self.windows = xp.lib.stride_tricks.as_strided(
            self.padded,
            (s.G, n, s.OH, s.OW, s.KH, s.KW, s.C),
            (g, i, h * sh, w * sw, h * dh, w * dw, c),
        )

    @cached_property
    def _patches(self) -> Array:
        return self._empty((self._places * self.sizes.K,))

    @cached_property
    def _products(self) -> Array:
        return self._empty((self._places * (self.sizes.O + APART),))

    def inside(self, n: int) -> Array:
        """Return the view (n, G, C, H, W) of the first `n` images, without their borders."""
        s, (ph, pw) = self.sizes, self.sizes.padding
        inside = self.padded[:, :n, ph : ph + s.H, pw : pw + s.W]
        return inside.transpose(1, 0, 4, 2, 3)

    def patches(self, n: int) -> Array:
        """Return the room for the patches of `n` images, (G, n P, K)."""
        s = self.sizes
        return self._patches[: s.G * n * s.P * s.K].reshape(s.G, n * s.P, s.K)

    def products(self, n: int) -> Array:
        """Return the room for one number a filter of `n` patches, (G, n, O)."""
        s = self.sizes
        rows = self._products[: s.G * n * (s.O + APART)].reshape(s.G, n, -1)
        return rows[..., : s.O]

    def see(self, x: Array) -> Array:
        """Return the view (G, n, OH, OW, KH, KW, C) of what windows see of `x` (n, G C, H, W)."""
        s, n = self.sizes, len(x)
        images = x.reshape(n, s.G, s.C, *x.shape[2:])
        # where images are smaller than the sizes say, the rest stays 0
        inside = self.inside(n)[..., : x.shape[2], : x.shape[3]]
        if s.C <= _FEW:
            # channel by channel: a run of so few elements is not worth a loop of its own
            for c in range(s.C):
                inside[:, :, c] = images[:, :, c]
        else:
            inside[...] = images
        return self.windows[:, :n]  # type: ignore[no-any-return]

    def cut(self, x: Array, rows: slice = slice(None)) -> Array:
        """Return the patches (G, n P, K) of the images `x` (n, G C, H, W), or of some rows."""
        windows = self.see(x)[:, :, rows]
        patches = self._patches[: windows.size].reshape(windows.shape)
        patches[...] = windows
        return patches.reshape(self.sizes.G, -1, self.sizes.K)

    def add_up(self, patches: Array) -> Array:
        """Add each element of patches (G, n, OH, OW, KH, KW, C) to where it was cut from.

        Returns the view `inside(n)` of the sums, which leave no borders to cut patches from.
        """
        s, n = self.sizes, patches.shape[1]
        padded = self.padded[:, :n]
        padded[...] = 0
        for kh in range(s.KH):
            for kw in range(s.KW):
                met = padded[:, :, s.rows(kh), s.columns(kw)]
                met += patches[:, :, :, :, kh, kw]
        return self.inside(n)


_FEW = 4
_MANY = 1 << 17
