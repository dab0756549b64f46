"""Two-dimensional convolution (Krizhevsky, Sutskever and Hinton 2012, section 3.5; with groups).

With x zero outside its borders, (sh, sw) the stride, (ph, pw) the padding, (dh, dw) the dilation
and g the group that output channel o belongs to:

    y[n, o, i, j] = b[o] + sum over c, k, l of
                    w[o, c, k, l] x[n, g C/G + c, i sh - ph + k dh, j sw - pw + l dw]

    gx: each gy[n, o, i, j] w[o, c, k, l] is added to the element of x that met w[o, c, k, l]
    gw[o, c, k, l] = sum over n, i, j of gy[n, o, i, j] x[that same element]
    gb[o]          = sum over n, i, j of gy[n, o, i, j]

saved = (x, w).

All three are matrix products over *patches*: row (i, j) of an image's patches is what the window
sees there. Patches are made for a block of images at a time, small enough to stay in cache while
the product reads them. They are cut from images that were padded and turned to channels last,
where a window's row is one contiguous run of KW x C elements, so that cutting is fast.
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex import threads
from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._shapes import ITEM_BYTES
from minialex.ops._windows import (
    Pair,
    blocks,
    check_images,
    delivered,
    every,
    output_size,
    pair,
    positions,
)

CACHE = 2 << 20
"""Bytes of patches that a core works on at a time."""


class _Patches:
    """Where the window stands: sizes, and the copies between images and patches."""

    def __init__(
        self, x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        (self.N, C, self.H, self.W), (O, self.C, self.KH, self.KW) = x.shape, w.shape
        self.xp, self.dtype, self.G, self.O = array_module(x), x.dtype, groups, O // groups
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.OH = positions(self.H, self.KH, stride[0], padding[0], dilation[0])
        self.OW = positions(self.W, self.KW, stride[1], padding[1], dilation[1])
        self.P, self.K = self.OH * self.OW, self.KH * self.KW * self.C
        self.image_bytes = self.G * self.P * self.K * self.dtype.itemsize

    def blocks(self, x: Array) -> list[list[slice]]:
        """Return the blocks of images of each worker."""
        return blocks(x, self.image_bytes, CACHE)

    def padded(self, n: int) -> Array:
        """Return `n` empty (zero) images with borders, channels last, groups apart."""
        (ph, pw), sizes = self.padding, (self.H, self.W)
        shape = (n, self.G, sizes[0] + 2 * ph, sizes[1] + 2 * pw, self.C)
        return self.xp.zeros(shape, self.dtype)  # type: ignore[no-any-return]

    def inside(self, padded: Array) -> Array:
        """Return the view (n, G, C, H, W) of what lies within the borders."""
        ph, pw = self.padding
        inner = padded[:, :, ph : ph + self.H, pw : pw + self.W]
        return inner.transpose(0, 1, 4, 2, 3)

    def images(self, x: Array) -> Array:
        """Return the view (n, G, C, H, W) of images (n, G C, H, W)."""
        return x.reshape(len(x), self.G, self.C, self.H, self.W)

    def pixels(self, y: Array) -> Array:
        """Return the view (n, G, O, P) of outputs (n, G O, OH, OW)."""
        return y.reshape(len(y), self.G, self.O, self.P)

    def filters(self, w: Array) -> Array:
        """Return the filters as a matrix a group (G, O, K), channels last like the patches."""
        last = w.reshape(self.G, self.O, self.C, self.KH, self.KW).transpose(0, 1, 3, 4, 2)
        return self.xp.ascontiguousarray(last).reshape(self.G, self.O, self.K)  # type: ignore[no-any-return]

    def unfilter(self, g: Array) -> Array:
        """Return the view (O, C, KH, KW) of filters (G, O, K)."""
        last = g.reshape(self.G * self.O, self.KH, self.KW, self.C)
        return last.transpose(0, 3, 1, 2)

    def windows(self, padded: Array, k: int, l: int) -> Array:
        """Return the view (n, G, OH, OW, C) of what element (k, l) of the window meets."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        return padded[:, :, every(k * dh, self.OH, sh), every(l * dw, self.OW, sw)]

    def cut(self, x: Array, padded: Array, patches: Array) -> Array:
        """Copy images `x` to `padded` and from there to `patches` (n, G, P, K)."""
        padded, patches = padded[: len(x)], patches[: len(x)]
        self.inside(padded)[...] = self.images(x)
        shape = (*patches.shape[:2], self.OH, self.OW, self.KH, self.KW, self.C)
        by_offset = patches.reshape(shape)
        for k in range(self.KH):
            for l in range(self.KW):
                by_offset[..., k, l, :] = self.windows(padded, k, l)
        return patches

    def add(self, patches: Array, padded: Array) -> Array:
        """Add `patches` (n, G, P, K) up in `padded` and return the view inside its borders."""
        padded = padded[: len(patches)]
        padded[...] = 0
        shape = (*patches.shape[:2], self.OH, self.OW, self.KH, self.KW, self.C)
        by_offset = patches.reshape(shape)
        for k in range(self.KH):
            for l in range(self.KW):
                view = self.windows(padded, k, l)
                view += by_offset[..., k, l, :]
        return self.inside(padded)

    def empty(self, n: int) -> Array:
        """Return room for the patches of `n` images."""
        return self.xp.empty((n, self.G, self.P, self.K), self.dtype)  # type: ignore[no-any-return]


def forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array, tuple[Array, Array]]:
    """Return the convolution: filters times patches."""
    at = _Patches(x, w, stride, padding, dilation, groups)
    y = at.xp.empty((at.N, at.G * at.O, at.OH, at.OW), at.dtype)
    filters = at.filters(w)

    def some(share: list[slice]) -> None:
        n = share[0].stop - share[0].start
        padded, room = at.padded(n), at.empty(n)
        for images in share:
            patches = at.cut(x[images], padded, room)
            at.xp.matmul(filters, patches.swapaxes(-1, -2), out=at.pixels(y[images]))
            if b is not None:
                y[images] += b[:, None, None]

    threads.run(some, at.blocks(x))
    return y, (x, w)


def backward(
    gy: Array,
    saved: tuple[Array, Array],
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
) -> Gradients:
    """Return the gradients of `x`, `w` and `b`."""
    x, w = saved
    at = _Patches(x, w, stride, padding, dilation, groups)
    gx = delivered(data_gradient(gy, x, w, at), out[0]) if needs[0] else None
    gw = delivered(weight_gradient(gy, x, at), out[1]) if needs[1] else None
    gb = gy.sum(axis=(0, 2, 3), out=out[2]) if needs[2] else None
    return gx, gw, gb


def data_gradient(gy: Array, x: Array, w: Array, at: _Patches) -> Array:
    """Return the gradient of `x`: the patches' gradient, each element added where it came from."""
    gx = at.xp.empty((at.N, at.G * at.C, at.H, at.W), at.dtype)
    filters = at.filters(w)

    def some(share: list[slice]) -> None:
        n = share[0].stop - share[0].start
        padded, room = at.padded(n), at.empty(n)
        for images in share:
            gy_pixels = at.pixels(gy[images]).swapaxes(-1, -2)
            patches = at.xp.matmul(gy_pixels, filters, out=room[: len(gy_pixels)])
            at.images(gx[images])[...] = at.add(patches, padded)

    threads.run(some, at.blocks(x))
    return gx  # type: ignore[no-any-return]


def weight_gradient(gy: Array, x: Array, at: _Patches) -> Array:
    """Return the gradient of `w`: the output's gradient times patches, summed over images."""

    def some(share: list[slice]) -> Array:
        n = share[0].stop - share[0].start
        padded, room = at.padded(n), at.empty(n)
        total = at.xp.zeros((at.G, at.O, at.K), at.dtype)
        for images in share:
            patches = at.cut(x[images], padded, room)
            total += (at.pixels(gy[images]) @ patches).sum(axis=0)
        return total  # type: ignore[no-any-return]

    parts = threads.run(some, at.blocks(x))
    total = sum(parts, start=at.xp.zeros((at.G, at.O, at.K), at.dtype))
    return at.unfilter(total)


def cost(shapes: Shapes, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Cost:
    """Two operations for each weight and place of its window, one for each bias and output."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O = w[0]
    OH, OW = (
        positions(*sizes) for sizes in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    )
    size = x[0] * O * OH * OW
    flops = 2 * size * prod(w[1:]) + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + prod(w) + (O if b else 0) + size))


OP = Op("conv2d", {"array": Implementation(forward, backward)}, cost)


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Return the two-dimensional convolution of `x` with `w`, plus `b`.

    As everywhere in this field it is the cross-correlation: the window is not flipped.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    w : Tensor (O, C / groups, KH, KW), of the type of `x`
    b : Tensor (O,), of the type of `x`, optional
    stride : int or (int, int)
        How far the window moves from one output to the next, in pixels: 1 or more.
    padding : int or (int, int)
        How many zeros surround each image at top and bottom, and left and right: 0 or more.
    dilation : int or (int, int)
        How far apart, in pixels, the elements of the window are: 1 or more.
    groups : int
        Into how many groups channels are cut: output channels of a group see its inputs only.

    Returns
    -------
    Tensor (N, O, OH, OW)
        ``OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1``, and so OW.

    Raises
    ------
    ValueError
        If the shapes do not go together, the window does not fit into the image, or a parameter
        is out of its range.
    TypeError
        If a parameter is not a whole number or two, `x` is not of a floating-point type, or the
        types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    check_images("conv2d", x)
    params = {
        "stride": pair("conv2d", "stride", stride, 1),
        "padding": pair("conv2d", "padding", padding, 0),
        "dilation": pair("conv2d", "dilation", dilation, 1),
    }
    _check_filters(x, w, None if b is None else as_tensor(b), groups)
    output_size("conv2d", x, w.shape[2:], **params)
    return OP(x, w, b, groups=groups, **params)


def _check_filters(x: Tensor, w: Tensor, b: Tensor | None, groups: int) -> None:
    if w.ndim != 4 or 0 in w.shape:
        raise ValueError(f"conv2d: w must have the shape (O, C / groups, KH, KW), not {w.shape}")
    O, C = w.shape[:2]
    if not isinstance(groups, int) or groups < 1 or x.shape[1] % groups or O % groups:
        raise ValueError(
            f"conv2d: groups is {groups!r}; it must divide the {x.shape[1]} channels of x and the "
            f"{O} filters of w"
        )
    if x.shape[1] != C * groups:
        raise ValueError(
            f"conv2d: x of shape {x.shape} has {x.shape[1]} channels, but w of shape {w.shape} "
            f"with groups={groups} takes {C * groups}"
        )
    if b is not None and b.shape != (O,):
        raise ValueError(
            f"conv2d: b must have the shape ({O},), one element a filter, not {b.shape}"
        )
