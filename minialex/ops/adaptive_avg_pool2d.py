"""Average over the cells of a grid laid over the image, whatever the size of the image.

    y[n, c, i, j]  = mean of x[n, c] over rows(i) x columns(j)
    gx[n, c, h, w] = sum of gy[n, c, i, j] / |rows(i) x columns(j)| over the cells that hold (h, w)

Of OH cells over H rows, rows(i) runs from floor(i H / OH) up to, not including,
ceil((i + 1) H / OH); cells overlap where OH does not divide H. Rows and columns are averaged one
after the other.

saved = (shape of x,).
"""

from __future__ import annotations

from math import prod

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._shapes import ITEM_BYTES
from minialex.ops._windows import Pair, check_images, pair

Shape = tuple[int, ...]


def cells(size: int, count: int) -> list[slice]:
    """Return the `count` cells of an axis of `size`."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def forward(x: Array, *, output_size: Pair) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each cell."""
    xp = array_module(x)
    N, C, H, W = x.shape
    OH, OW = output_size
    bands = xp.empty((N, C, OH, W), x.dtype)
    for i, rows in enumerate(cells(H, OH)):
        x[:, :, rows].mean(axis=2, out=bands[:, :, i])
    y = xp.empty((N, C, OH, OW), x.dtype)
    for j, columns in enumerate(cells(W, OW)):
        bands[:, :, :, columns].mean(axis=3, out=y[:, :, :, j])
    return y, (x.shape,)


def backward(gy: Array, saved: tuple[Shape], *, output_size: Pair) -> Gradients:
    """Return the gradient of `x`: each cell's share, added up where cells overlap."""
    xp = array_module(gy)
    ((N, C, H, W),) = saved
    OH, OW = output_size
    bands = xp.zeros((N, C, OH, W), gy.dtype)
    for j, columns in enumerate(cells(W, OW)):
        bands[:, :, :, columns] += gy[:, :, :, j, None] / (columns.stop - columns.start)
    gx = xp.zeros((N, C, H, W), gy.dtype)
    for i, rows in enumerate(cells(H, OH)):
        gx[:, :, rows] += bands[:, :, i, None] / (rows.stop - rows.start)
    return (gx,)


def cost(shapes: Shapes, *, output_size: Pair) -> Cost:
    """One addition for each element of each cell, and one division a cell."""
    (shape,) = shapes
    assert shape is not None
    N, C, H, W = shape
    (OH, OW) = output_size
    covered = prod(
        sum(cell.stop - cell.start for cell in cells(size, count))
        for size, count in ((H, OH), (W, OW))
    )
    return Cost(N * C * covered, ITEM_BYTES * N * C * (H * W + OH * OW))


OP = Op("adaptive_avg_pool2d", {"array": Implementation(forward, backward)}, cost)


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
