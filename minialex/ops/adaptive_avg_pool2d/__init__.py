"""Average over the cells of a grid laid over the image, whatever the size of the image.

    y[n, c, i, j]  = mean of x[n, c] over rows(i) x columns(j)
    gx[n, c, h, w] = sum of gy[n, c, i, j] / |rows(i) x columns(j)| over the cells that hold (h, w)

Of OH cells over H rows, rows(i) runs from floor(i H / OH) up to, not including,
ceil((i + 1) H / OH); cells overlap where OH does not divide H. Where there are as many cells as
pixels, as in AlexNet at its own image size, y is a view of x, and gx one of gy: nothing is moved.

saved = (shape of x,).

    plain    rows and columns averaged one after the other
    kernel   kernels/adaptive_avg_pool2d.cu: one thread per output, and per pixel
"""

from __future__ import annotations

from math import prod

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_images, pair
from minialex.ops._cuda.launching import check_counts, packed
from minialex.ops._windows import Pair

Shape = tuple[int, ...]


def cells(size: int, count: int) -> list[slice]:
    """Return the `count` cells of an axis of `size`."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def forward(x: Array, *, output_size: Pair) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each cell; a view of `x` where each cell is one pixel."""
    if x.shape[2:] == output_size:
        return x[...], (x.shape,)
    if output_size == (1, 1):
        # the whole image is one run
        return x.reshape(*x.shape[:2], 1, prod(x.shape[2:])).mean(axis=3, keepdims=True), (x.shape,)
    return _averaged(_averaged(x, 2, output_size[0]), 3, output_size[1]), (x.shape,)


def backward(gy: Array, saved: tuple[Shape], *, output_size: Pair) -> Gradients:
    """Return the gradient of `x`: each cell's share, added up where cells overlap."""
    (shape,) = saved
    if gy.shape == shape:
        return (gy[...],)
    return (_spread(_spread(gy, 3, shape[3]), 2, shape[2]),)


def _averaged(x: Array, axis: int, count: int) -> Array:
    """Return the means of `count` cells along an axis."""
    size = x.shape[axis]
    if size == count:
        return x
    xp = array_module(x)
    y = xp.empty((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    means, elements = xp.moveaxis(y, axis, 0), xp.moveaxis(x, axis, 0)
    for i, cell in enumerate(cells(size, count)):
        elements[cell].mean(axis=0, out=means[i])
    return y  # type: ignore[no-any-return]


def _spread(gy: Array, axis: int, size: int) -> Array:
    """Return what `_averaged` gives to an axis of `size`, backwards."""
    count = gy.shape[axis]
    if size == count:
        return gy
    xp = array_module(gy)
    gx = xp.zeros((*gy.shape[:axis], size, *gy.shape[axis + 1 :]), gy.dtype)
    means, elements = xp.moveaxis(gy, axis, 0), xp.moveaxis(gx, axis, 0)
    for i, cell in enumerate(cells(size, count)):
        elements[cell] += means[i] / (cell.stop - cell.start)
    return gx  # type: ignore[no-any-return]


_forward = cuda.kernel("adaptive_avg_pool2d.cu", "adaptive_avg_pool2d_forward")
_backward = cuda.kernel("adaptive_avg_pool2d.cu", "adaptive_avg_pool2d_backward")


def forward_kernel(x: Array, *, output_size: Pair) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each cell: one thread per cell; a view of `x` where each is one pixel."""
    if x.shape[2:] == output_size:
        return x[...], (x.shape,)
    sizes = _sizes(x.shape, output_size)
    y = array_module(x).empty((*x.shape[:2], *output_size), x.dtype)
    _forward(cuda.blocks(y.size), cuda.BLOCK_SIZE, packed(x), y, *sizes)
    return y, (x.shape,)


def backward_kernel(gy: Array, saved: tuple[Shape], *, output_size: Pair) -> Gradients:
    """Return the gradient of `x`: each pixel adds up the shares of the cells that hold it."""
    (shape,) = saved
    if gy.shape == shape:
        return (gy[...],)
    gx = array_module(gy).empty(shape, gy.dtype)
    _backward(cuda.blocks(gx.size), cuda.BLOCK_SIZE, packed(gy), gx, *_sizes(shape, output_size))
    return (gx,)


def _sizes(shape: Shape, output_size: Pair) -> Shape:
    """Return all sizes, in the order in which kernels take them."""
    (N, C, H, W), (OH, OW) = shape, output_size
    # Cells begin and end at products of both sizes.
    products = {"rows x cells": (H + 1) * (OH + 1), "columns x cells": (W + 1) * (OW + 1)}
    check_counts("adaptive_avg_pool2d", x=prod(shape), y=N * C * OH * OW, **products)
    return N * C, H, W, OH, OW


def cost(shapes: Shapes, *, output_size: Pair) -> Cost:
    """One addition for each element of each cell, and one division per cell; a view is free."""
    (shape,) = shapes
    assert shape is not None
    N, C, H, W = shape
    (OH, OW) = output_size
    if output_size == (H, W):
        return Cost(0, 0)
    covered = prod(
        sum(cell.stop - cell.start for cell in cells(size, count))
        for size, count in ((H, OH), (W, OW))
    )
    return Cost(N * C * covered, ITEM_BYTES * N * C * (H * W + OH * OW))


OP = Op(
    "adaptive_avg_pool2d",
    {
        "plain": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    cost,
    kernel="kernel",
)


def adaptive_avg_pool2d(x: Tensor, output_size: int | tuple[int, int]) -> Tensor:
    """Average `x` over a grid of `output_size` cells, whatever the height and width of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    output_size : int or (int, int)
        How many cells there are, down and across: 1 or more. 1 is the average of the whole image.

    Returns
    -------
    Tensor (N, C, OH, OW)

    Raises
    ------
    ValueError
        If `x` is not a batch of images, or `output_size` is below 1.
    TypeError
        If `output_size` is not a whole number or two, or `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    check_images("adaptive_avg_pool2d", x)
    size = pair("adaptive_avg_pool2d", "output_size", output_size, 1)
    if 0 in x.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: x of shape {x.shape} holds no pixels to average")
    return OP(x, output_size=size)
