"""Two-dimensional convolution (Krizhevsky, Sutskever and Hinton 2012, section 3.5; with groups).

With x zero outside its borders, (sh, sw) the stride, (ph, pw) the padding, (dh, dw) the dilation
and g the group that output channel o belongs to:

    y[n, o, i, j] = b[o] + sum over c, kh, kw of
                    w[o, c, kh, kw] x[n, g C/G + c, i sh - ph + kh dh, j sw - pw + kw dw]

    gx: each gy[n, o, i, j] w[o, c, kh, kw] is added to the element of x that met w[o, c, kh, kw]
    gw[o, c, kh, kw] = sum over n, i, j of gy[n, o, i, j] x[that same element]
    gb[o]            = sum over n, i, j of gy[n, o, i, j]

saved = (x, w).

On a CPU "auto" runs unless another is named: "winograd" where it pays, which takes a quarter off
AlexNet's training step at ten times the rounding error (see ``conv2d_winograd``), and else "plain".

In "plain" all three are matrix products with patches (see ``_patches``): row (i, j) of an image's
patches is what the window sees at output (i, j). They are made for a block of images at a time,
small enough to stay in cache while the product reads them, and each core has its own images.

    y  = patches filters^T
    gx = gy^T filters, each patch added up where it was cut; where the stride allows it, only
         along the height, while along the width gy is cut into patches and multiplied
    gw = gy patches, summed over blocks, then over cores, always in the same order

Numbers that are not finite come out where these formulas have them, in all implementations but
"winograd" and "tf32x3", which say what they do. Only what weights that are not finite make of the
places where they meet padding, or no output at all, is not promised: some multiply them by zeros
there, which gives NaN, and some leave that out.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import slices_per_worker
from minialex.ops._arguments import (
    ITEM_BYTES,
    check_float,
    check_images,
    output_size,
    pair,
    whole_number,
)
from minialex.ops._windows import Pair, output_length
from minialex.ops.conv2d.cuda import IMPLEMENTATIONS
from minialex.ops.conv2d.cudnn import IMPLEMENTATION as CUDNN
from minialex.ops.conv2d.patches import LEAST, Room, Sizes, copied
from minialex.ops.conv2d.winograd import implementation as with_winograd
from minialex.ops.conv2d.winograd import pays, possible


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
    """Return the convolution."""
    xp, s = array_module(x), Sizes.of(x, w, stride, padding, dilation, groups)
    y = memory.empty(xp, (s.N, s.G * s.O, s.OH, s.OW), x.dtype)
    (convolve_few if 0 < s.N * s.P < s.O else convolve)(x, w, b, s, y)
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
    xp, s = array_module(x), Sizes.of(x, w, stride, padding, dilation, groups)
    gx = gw = gb = None
    if needs[0]:
        gx = memory.empty(xp, x.shape, x.dtype) if out[0] is None else out[0]
        data_gradient(gy, w, s, gx)
    if needs[1]:
        gw = memory.empty(xp, w.shape, w.dtype) if out[1] is None else out[1]
        weight_gradient(gy, x, s, gw)
    if needs[2]:
        gb = xp.empty(len(w), w.dtype) if out[2] is None else out[2]
        bias_gradient(gy, gb)
    return gx, gw, gb


def convolve(x: Array, w: Array, b: Array | None, s: Sizes, y: Array) -> None:
    """Write the filters' products with the patches of `x`, plus `b`, to `y`."""
    xp = array_module(x)
    filters = s.filters(xp, w).swapaxes(-1, -2)
    if s.N > _FEW:
        filters = copied(xp, filters)
    bias = 0 if b is None else b.reshape(s.G, s.O, 1, 1)
    images = y.reshape(s.N, s.G, s.O, s.OH, s.OW)

    def some(blocks: list[slice], rows: slice) -> None:
        room = Room(s, xp, x.dtype, blocks)
        for block in blocks:
            patches = room.cut(x[block], rows)
            products = room.products(patches.shape[1])
            xp.matmul(patches, filters, out=products)
            xp.add(s.as_images(products, rows), bias, out=images[block][..., rows, :])

    shares = s.blocks_per_worker(xp, x.dtype)
    if s.N == 1 and s.P * s.K * x.itemsize >= 2 * LEAST:
        # each worker has some rows of the one image
        work = [(shares[0], rows) for rows in slices_per_worker(xp, s.OH)]
    else:
        work = [(blocks, slice(0, s.OH)) for blocks in shares]
    threads.run(lambda each: some(*each), work)


def convolve_few(x: Array, w: Array, b: Array | None, s: Sizes, y: Array) -> None:
    """Do the same where there are fewer places than filters, which are taken as they lie."""
    xp, (ph, pw) = array_module(x), s.padding
    padded = memory.zeros(xp, (s.N, s.G, s.C, s.H + 2 * ph, s.W + 2 * pw), x.dtype)
    padded[..., ph : ph + s.H, pw : pw + s.W] = x.reshape(s.N, s.G, s.C, s.H, s.W)
    patches = copied(xp, s.places(xp, padded)).reshape(s.G, s.K, s.N * s.P)
    rows = w.reshape(s.G, s.O, s.K)
    images = y.reshape(s.N, s.G, s.O, s.OH, s.OW)

    def some(part: slice) -> None:
        products = xp.matmul(rows[:, part], patches)
        products = products.reshape(s.G, -1, s.N, s.OH, s.OW).transpose(2, 0, 1, 3, 4)
        bias = 0 if b is None else b.reshape(s.G, s.O, 1, 1)[:, part]
        xp.add(products, bias, out=images[:, :, part])

    threads.run(some, slices_per_worker(xp, s.O))


_FEW = 4
"""Of how many images BLAS may take the filters as they lie: turning them costs more."""


def data_gradient(gy: Array, w: Array, s: Sizes, gx: Array) -> None:
    """Write the gradient of the images to `gx`, in the cheaper way that can be taken."""
    if s.stride[1] == 1 and s.dilation[1] * (s.KW - 1) >= s.padding[1]:
        add_up_rows(gy, w, s, gx)
    else:
        add_up_patches(gy, w, s, gx)


def add_up_rows(gy: Array, w: Array, s: Sizes, gx: Array) -> None:
    """Write to `gx` the gradients of rows: gathered along the width, added up along the height."""
    xp = array_module(gy)
    (ph, pw), dw = s.padding, s.dilation[1]
    across = w.reshape(s.G, s.O, s.C, s.KH, s.KW)[..., ::-1].transpose(0, 4, 1, 3, 2)
    across = across.reshape(s.G, s.KW * s.O, s.KH * s.C)
    # gathering is a convolution of gy, along its rows, with the filters turned round
    rows = replace(
        s,
        C=s.O,
        O=s.KH * s.C,
        H=s.OH,
        W=s.OW,
        KH=1,
        stride=(1, 1),
        padding=(0, dw * (s.KW - 1) - pw),
    )
    images = gx.reshape(s.N, s.G, s.C, s.H, s.W)

    def some(blocks: list[slice]) -> None:
        room = Room(rows, xp, gy.dtype, blocks)
        for block in blocks:
            n = block.stop - block.start
            gathered = room.products(n * rows.P)
            xp.matmul(room.cut(gy[block]), across, out=gathered)
            gathered = gathered.reshape(s.G, n, s.OH, s.W, s.KH, s.C)
            padded = memory.zeros(xp, (s.G, n, s.H + 2 * ph, s.W, s.C), gy.dtype)
            for kh in range(s.KH):
                padded[:, :, s.rows(kh)] += gathered[:, :, :, :, kh]
            images[block] = padded[:, :, ph : ph + s.H].transpose(1, 0, 4, 2, 3)

    threads.run(some, rows.blocks_per_worker(xp, gy.dtype))


def add_up_patches(gy: Array, w: Array, s: Sizes, gx: Array) -> None:
    """Write to `gx` the gradients of all patches, added up where patches overlap."""
    xp = array_module(gy)
    filters = s.filters(xp, w)
    images = gx.reshape(s.N, s.G, s.C, s.H, s.W)

    def some(blocks: list[slice]) -> None:
        room = Room(s, xp, gy.dtype, blocks)
        for block in blocks:
            n = block.stop - block.start
            xp.matmul(s.as_rows(gy[block]).swapaxes(-1, -2), filters, out=room.patches(n))
            images[block] = room.add_up(room.patches(n).reshape(room.windows[:, :n].shape))

    threads.run(some, s.blocks_per_worker(xp, gy.dtype))


def weight_gradient(gy: Array, x: Array, s: Sizes, gw: Array) -> None:
    """Write the gradient of the filters to `gw`."""
    xp = array_module(gy)

    def some(blocks: list[slice]) -> Array:
        room = Room(s, xp, gy.dtype, blocks)
        total = memory.zeros(xp, (s.G, s.O, s.K), gy.dtype)
        product = memory.empty(xp, total.shape, total.dtype)
        for block in blocks:
            xp.matmul(s.as_rows(gy[block]), room.cut(x[block]), out=product)
            total += product
        return total.reshape(s.G * s.O, s.K)

    parts = threads.run(some, s.blocks_per_worker(xp, gy.dtype))

    def gather(filters: slice) -> None:
        nothing = xp.zeros((1, s.K), gy.dtype)
        gw[filters] = s.as_filters(sum((part[filters] for part in parts), start=nothing))

    threads.run(gather, slices_per_worker(xp, len(gw)))


def bias_gradient(gy: Array, gb: Array) -> None:
    """Write the gradient of the bias to `gb`."""

    def some(filters: slice) -> None:
        gy[:, filters].sum(axis=(0, 2, 3), out=gb[filters])

    threads.run(some, slices_per_worker(array_module(gy), len(gb)))


def cost(shapes: Shapes, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Cost:
    """Two operations for each weight and place of its window, one for each bias and output."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O = w[0]
    OH, OW = (
        output_length(*sizes) for sizes in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    )
    size = x[0] * O * OH * OW
    flops = 2 * size * prod(w[1:]) + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + prod(w) + (O if b else 0) + size))


PLAIN = Implementation(forward, backward)
OP = Op(
    "conv2d",
    {
        "plain": PLAIN,
        "winograd": with_winograd(PLAIN, possible),
        "auto": with_winograd(PLAIN, pays),
        **IMPLEMENTATIONS,
        "cudnn": CUDNN,
    },
    cost,
    kernel="implicit_gemm",
    tensor_cores={"fp32": "tf32x3", "tf32": "tf32"},
    cpu="auto",
)


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
        If a parameter is not a whole number or two, an input is not of a floating-point type, or
        the types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    b = None if b is None else as_tensor(b)
    check_images("conv2d", x)
    check_float("conv2d", w=w, b=b)
    params = {
        "stride": pair("conv2d", "stride", stride, 1),
        "padding": pair("conv2d", "padding", padding, 0),
        "dilation": pair("conv2d", "dilation", dilation, 1),
    }
    groups = whole_number("conv2d", "groups", groups)
    _check_filters(x, w, b, groups)
    output_size("conv2d", x, w.shape[2:], **params)
    return OP(x, w, b, groups=groups, **params)


def _check_filters(x: Tensor, w: Tensor, b: Tensor | None, groups: int) -> None:
    if w.ndim != 4 or 0 in w.shape:
        raise ValueError(f"conv2d: w must have the shape (O, C / groups, KH, KW), not {w.shape}")
    O, C = w.shape[:2]
    if groups < 1 or x.shape[1] % groups or O % groups:
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
