"""conv2d as the CPU's engine: products with patches, a block of images at a time.

A block is small enough that its patches stay in cache while a product reads them, and each core
has its own images. With patches as rows, (n P, K), from a `PatchBuffer`:

    y  = patches filters^T
    gx = gy^T filters, patches that are summed where they overlap (col2im); or, where windows move
         along a row pixel by pixel, the convolution of each row of gy with the flipped rows of the
         filters, of which only rows of the image are left to sum (`data_gradient_by_rows`)
    gw = gy patches, summed over blocks, then over cores, always in the same order

With fewer output positions than filters, patches are columns, as in `plain`, and each core has
some of the filters. Of one image, cores share the rows, and one core each has the gradients of the
image and of the filters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import layout, memory, threads
from minialex.cpu.sharing import MULTIPLICATIONS_PER_BYTE, slices_per_worker
from minialex.ops._windows import Pair
from minialex.ops.conv2d.patches import (
    PatchBuffer,
    as_filters,
    by_group,
    contiguous_copy,
    filter_matrix,
    image_blocks,
    patch_columns,
)
from minialex.ops.conv2d.shape import ConvShape

MAX_IMAGES_WITHOUT_FILTER_COPY = 4
"""Up to how many images are multiplied by a transposed view of the filters instead of a copy.

BLAS packs the view more slowly: for 32 images a copy saves a tenth, for 2 it costs more than that.
"""


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
    s = ConvShape.of(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    small = 0 < s.N * s.P < s.OG
    y = convolve_small_output(x, w, b, s) if small else convolve(x, w, b, s)
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
    xp = array_module(x)
    s = ConvShape.of(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    gx = gw = gb = None
    if needs[0]:
        gx = layout.empty_images(xp, x.shape, x.dtype) if out[0] is None else out[0]
    if needs[1]:
        gw = memory.empty(xp, w.shape, w.dtype) if out[1] is None else out[1]

    def compute(gx: Array | None, gw: Array | None) -> None:
        if gx is not None:
            data_gradient(gy, w, s, gx)
        if gw is not None:
            weight_gradient(gy, x, s, gw)

    share_gradients(xp, s, compute, gx, gw)
    if needs[2]:
        gb = xp.empty(len(w), w.dtype) if out[2] is None else out[2]
        bias_gradient(gy, gb)
    return gx, gw, gb


def share_gradients(
    xp: Any,
    s: ConvShape,
    compute: Callable[[Array | None, Array | None], None],
    gx: Array | None,
    gw: Array | None,
) -> None:
    """Call ``compute(gx, gw)``; for one large image, for each of them alone, on two cores.

    Several images are shared out to the cores within `compute`.
    """
    multiplications = s.P * s.O * s.K
    if s.N == 1 and gx is not None and gw is not None:
        parts = slices_per_worker(xp, 2, multiplications / MULTIPLICATIONS_PER_BYTE)
        if len(parts) == 2:
            threads.run(lambda wanted: compute(*wanted), [(gx, None), (None, gw)])
            return
    compute(gx, gw)


def convolve(x: Array, w: Array, b: Array | None, s: ConvShape) -> Array:
    """Return the filters' products with the patches of `x`, plus `b`, channels last."""
    xp = array_module(x)
    y = layout.empty_images(xp, (s.N, s.O, s.OH, s.OW), x.dtype)
    filters = filter_matrix(s, xp, w).swapaxes(-1, -2)
    if s.N > MAX_IMAGES_WITHOUT_FILTER_COPY:
        filters = contiguous_copy(xp, filters)
    pixels = layout.pixels(y)

    def compute_blocks(blocks: list[slice], rows: slice) -> None:
        buffer = PatchBuffer(s, xp, x.dtype, blocks)
        for block in blocks:
            products = pixels[block, rows]
            xp.matmul(buffer.im2col(x[block], rows), filters, out=by_group(s, products))
            if b is not None:
                products += b

    blocks_per_worker = image_blocks(s, xp, x.dtype)
    if s.N == 1:
        # each worker has some rows of the one image
        row_slices = slices_per_worker(xp, s.OH, s.OW * s.groups * s.K * x.itemsize)
        work = [(blocks_per_worker[0], rows) for rows in row_slices]
    else:
        work = [(blocks, slice(0, s.OH)) for blocks in blocks_per_worker]
    threads.run(lambda blocks_and_rows: compute_blocks(*blocks_and_rows), work)
    return y


def convolve_small_output(x: Array, w: Array, b: Array | None, s: ConvShape) -> Array:
    """Return the same where there are fewer output positions than filters, used without a copy."""
    xp = array_module(x)
    y = layout.empty_images(xp, (s.N, s.O, s.OH, s.OW), x.dtype)
    patches = patch_columns(s, xp, x)
    rows = w.reshape(s.groups, s.OG, s.K)
    pixels = layout.pixels(y).reshape(s.N, s.OH, s.OW, s.groups, s.OG)

    def compute_filters(filters: slice) -> None:
        products = xp.matmul(rows[:, filters], patches)
        products = products.reshape(s.groups, -1, s.N, s.OH, s.OW).transpose(2, 3, 4, 0, 1)
        bias = 0 if b is None else b.reshape(s.groups, s.OG)[:, filters]
        xp.add(products, bias, out=pixels[..., filters])

    bytes_per_weight = w.itemsize + s.N * s.P / MULTIPLICATIONS_PER_BYTE
    filter_bytes = s.groups * s.K * bytes_per_weight
    threads.run(compute_filters, slices_per_worker(xp, s.OG, filter_bytes))
    return y


def data_gradient(gy: Array, w: Array, s: ConvShape, gx: Array) -> None:
    """Write the gradient of the images to `gx`, in the cheaper way of those that are possible."""
    # patches of a row of gy can be multiplied where the window moves by one pixel, and needs no
    # negative padding then
    if s.sw == 1 and s.dw * (s.KW - 1) >= s.pw:
        data_gradient_by_rows(gy, w, s, gx)
    else:
        data_gradient_col2im(gy, w, s, gx)


def data_gradient_by_rows(gy: Array, w: Array, s: ConvShape, gx: Array) -> None:
    """Write gradients of images to `gx`: convolved along the width, summed along the height.

    That takes KW times fewer additions than `data_gradient_col2im`, of KH rows instead of KH x KW
    patches, for as many multiplications.
    """
    xp = array_module(gy)
    flipped = w.reshape(s.groups, s.OG, s.CG, s.KH, s.KW)[..., ::-1].transpose(0, 4, 1, 3, 2)
    flipped = flipped.reshape(s.groups, s.KW * s.OG, s.KH * s.CG)
    # along its rows, gy is convolved with flipped filters: one for each channel and row of w
    rows = s._replace(C=s.O, H=s.OH, W=s.OW, O=s.groups * s.KH * s.CG, OH=s.OH, OW=s.W)
    rows = rows._replace(KH=1, sh=1, ph=0, pw=s.dw * (s.KW - 1) - s.pw)
    pixels = layout.pixels(gx)

    def compute_blocks(blocks: list[slice]) -> None:
        buffer = PatchBuffer(rows, xp, gy.dtype, blocks)
        for block in blocks:
            n = block.stop - block.start
            products = buffer.im2col(gy[block]) @ flipped
            products = products.reshape(s.groups, n, s.OH, s.W, s.KH, s.CG)
            padded = memory.zeros(xp, (s.groups, n, s.H + 2 * s.ph, s.W, s.CG), gy.dtype)
            for kh in range(s.KH):
                padded[:, :, s.rows(kh)] += products[:, :, :, :, kh]
            for group, channels in enumerate(threads.chunks(s.C, s.groups)):
                pixels[block, ..., channels] = padded[group, :, s.ph : s.ph + s.H]

    threads.run(compute_blocks, image_blocks(rows, xp, gy.dtype))


def data_gradient_col2im(gy: Array, w: Array, s: ConvShape, gx: Array) -> None:
    """Write gradients of images to `gx`: those of all patches, summed where patches overlap."""
    xp = array_module(gy)
    filters = filter_matrix(s, xp, w)
    images = gx.reshape(s.N, s.groups, s.CG, s.H, s.W)

    def compute_blocks(blocks: list[slice]) -> None:
        buffer = PatchBuffer(s, xp, gy.dtype, blocks)
        for block in blocks:
            patches = buffer.patches(block.stop - block.start)
            xp.matmul(by_group(s, layout.pixels(gy[block])), filters, out=patches)
            images[block] = buffer.col2im(patches)

    threads.run(compute_blocks, image_blocks(s, xp, gy.dtype))


def weight_gradient(gy: Array, x: Array, s: ConvShape, gw: Array) -> None:
    """Write the gradient of the filters to `gw`."""
    xp = array_module(gy)

    def sum_blocks(blocks: list[slice]) -> Array:
        buffer = PatchBuffer(s, xp, gy.dtype, blocks)
        total = memory.zeros(xp, (s.groups, s.OG, s.K), gy.dtype)
        product = memory.empty(xp, total.shape, total.dtype)
        for block in blocks:
            rows = by_group(s, layout.pixels(gy[block])).swapaxes(-1, -2)
            xp.matmul(rows, buffer.im2col(x[block]), out=product)
            total += product
        return total.reshape(s.O, s.K)

    sums = threads.run(sum_blocks, image_blocks(s, xp, gy.dtype))

    def sum_workers(filters: slice) -> None:
        zero = xp.zeros((1, s.K), gy.dtype)
        gw[filters] = as_filters(s, sum((one[filters] for one in sums), start=zero))

    threads.run(sum_workers, slices_per_worker(xp, s.O, (len(sums) + 1) * s.K * gw.itemsize))


def bias_gradient(gy: Array, gb: Array) -> None:
    """Write the gradient of the bias to `gb`: the sum of those of each image."""
    xp, (N, O) = array_module(gy), gy.shape[:2]
    sums, ones = xp.empty((N, O), gy.dtype), xp.ones(gy.shape[2] * gy.shape[3], gy.dtype)

    def sum_images(images: slice) -> None:
        rows = layout.pixels(gy[images]).reshape(-1, len(ones), O)
        xp.matmul(ones, rows, out=sums[images])

    threads.run(sum_images, slices_per_worker(xp, N, gy.nbytes / max(1, N)))
    sums.sum(axis=0, out=gb)
