"""Patches: what a sliding window sees at each output position, as the rows of a matrix (im2col).

Convolution is a matrix product with them. They are copied from images that are padded and have
their channels last (N, H, W, C): there a row of the window is one contiguous run of KW x C
elements (unless it is dilated), and copying long runs costs little beside the product.

Two channels a and b of a 3 x 3 image, and the patch of a 2 x 2 window at output (0, 1):

    a00 b00 a01 b01 a02 b02
    a10 b10 a11 b11 a12 b12         a01 b01 a02 b02  a11 b11 a12 b12
    a20 b20 a21 b21 a22 b22

It is two runs of 2 x 2 elements. With the channels first it would be four of 2.

In shapes, G is the number of groups; see `ConvShape` for the other sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker, slices_per_worker
from minialex.ops.conv2d.shape import ConvShape

BLOCK_BYTES = 5 << 20
"""How large a block of images is: the bytes of its patches and products, to stay in L2 and L3."""

MAX_CHANNELS_COPIED_SINGLY = 4
"""Up to how many channels per group are copied one after the other to where channels are last.

NumPy's inner loop would otherwise run over so few elements that its overhead is most of the time.
"""

COPY_BYTES_PER_BYTE = 4
"""How many bytes take as long as one that is copied from one order to another."""


def image_blocks(s: ConvShape, xp: Any, dtype: np.dtype[Any]) -> list[list[slice]]:
    """Return the blocks of images that are worked on together, a list for each worker."""
    image_bytes = s.groups * s.P * (s.K + s.OG) * dtype.itemsize
    return blocks_per_worker(xp, s.N, image_bytes, BLOCK_BYTES)


def contiguous_copy(xp: Any, a: Array) -> Array:
    """Return a C-contiguous copy of `a`, made by all workers."""
    copy = memory.empty(xp, a.shape, a.dtype)

    def copy_slice(part: slice) -> None:
        copy[:, part] = a[:, part]

    slice_bytes = COPY_BYTES_PER_BYTE * a.nbytes / max(1, a.shape[1])
    threads.run(copy_slice, slices_per_worker(xp, a.shape[1], slice_bytes))
    return copy


def patch_columns(s: ConvShape, xp: Any, x: Array) -> Array:
    """Return all patches of `x` as columns whose elements are in the order of `w`, (G, K, N P)."""
    padded = memory.zeros(xp, (s.N, s.C, s.H + 2 * s.ph, s.W + 2 * s.pw), x.dtype)
    padded[..., s.ph : s.ph + s.H, s.pw : s.pw + s.W] = x
    n, c, h, w = padded.strides
    windows = xp.lib.stride_tricks.as_strided(
        padded,
        (s.groups, s.CG, s.KH, s.KW, s.N, s.OH, s.OW),
        (s.CG * c, c, s.dh * h, s.dw * w, n, s.sh * h, s.sw * w),
    )
    return contiguous_copy(xp, windows).reshape(s.groups, s.K, s.N * s.P)


# arrays in the order of the patches' elements: row of the window, column, channel -----------------


def filter_matrix(s: ConvShape, xp: Any, w: Array) -> Array:
    """Return `w` as one matrix per group, (G, OG, K)."""
    channels_last = w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW).transpose(0, 1, 3, 4, 2)
    return contiguous_copy(xp, channels_last).reshape(s.groups, s.OG, s.K)


def as_filters(s: ConvShape, rows: Array) -> Array:
    """Return the view (n, CG, KH, KW) of filters (n, K)."""
    return rows.reshape(len(rows), s.KH, s.KW, s.CG).transpose(0, 3, 1, 2)


def by_group(s: ConvShape, y: Array) -> Array:
    """Return outputs (n, OH, OW, O) as rows of each group, (G, n P, OG): a view if contiguous."""
    return y.reshape(-1, s.groups, s.OG).swapaxes(0, 1)


class PatchBuffer:
    """Memory for a block of padded images and their patches; reused for each block of a list.

    Attributes
    ----------
    padded : array (G, n, H + 2 ph, W + 2 pw, CG)
        The images of a block, within borders that stay 0.
    windows : array (G, n, OH, OW, KH, KW, CG)
        The view of `padded` that windows have.
    """

    def __init__(self, s: ConvShape, xp: Any, dtype: np.dtype[Any], blocks: list[slice]) -> None:
        self.s = s
        n = max(block.stop - block.start for block in blocks)
        self._patches = memory.empty(xp, (s.groups * n * s.P * s.K,), dtype)
        self.padded = memory.zeros(xp, (s.groups, n, s.H + 2 * s.ph, s.W + 2 * s.pw, s.CG), dtype)
        g, i, h, w, c = self.padded.strides
        self.windows = xp.lib.stride_tricks.as_strided(
            self.padded,
            (s.groups, n, s.OH, s.OW, s.KH, s.KW, s.CG),
            (g, i, s.sh * h, s.sw * w, s.dh * h, s.dw * w, c),
        )

    def interior(self, n: int) -> Array:
        """Return the view (n, G, CG, H, W) of the first `n` images, without their borders."""
        s = self.s
        interior = self.padded[:, :n, s.ph : s.ph + s.H, s.pw : s.pw + s.W]
        return interior.transpose(1, 0, 4, 2, 3)

    def patches(self, n: int) -> Array:
        """Return uninitialised patches of `n` images, (G, n P, K)."""
        s = self.s
        return self._patches[: s.groups * n * s.P * s.K].reshape(s.groups, n * s.P, s.K)

    def load(self, x: Array) -> Array:
        """Copy images `x` (n, C, H, W) in; return what windows see, (G, n, OH, OW, KH, KW, CG)."""
        s, n = self.s, len(x)
        images = x.reshape(n, s.groups, s.CG, *x.shape[2:])
        interior = self.interior(n)
        if s.CG <= MAX_CHANNELS_COPIED_SINGLY:
            for c in range(s.CG):
                interior[:, :, c] = images[:, :, c]
        else:
            interior[...] = images
        return self.windows[:, :n]  # type: ignore[no-any-return]

    def im2col(self, x: Array, rows: slice = slice(None)) -> Array:
        """Return the patches (G, n P, K) of images `x` (n, C, H, W), or of some rows of outputs."""
        windows = self.load(x)[:, :, rows]
        patches = self._patches[: windows.size].reshape(windows.shape)
        patches[...] = windows
        return patches.reshape(self.s.groups, -1, self.s.K)

    def col2im(self, patches: Array) -> Array:
        """Return images (n, G, CG, H, W) that sum up patches (G, n P, K) where these overlap.

        It is the view `interior(n)`. Borders are not 0 afterwards: load no images then.
        """
        s = self.s
        n = patches.shape[1] // s.P
        patches = patches.reshape(self.windows[:, :n].shape)
        padded = self.padded[:, :n]
        padded[...] = 0
        for kh in range(s.KH):
            for kw in range(s.KW):
                pixels = padded[:, :, s.rows(kh), s.columns(kw)]
                pixels += patches[:, :, :, :, kh, kw]
        return self.interior(n)
