"""adaptive_avg_pool2d in array operations: cell by cell, for all images at once.

y[n, c, i, j]  = mean of x[n, c] over rows(i) x columns(j)
gx[n, c, h, w] = sum of gy[n, c, i, j] / |rows(i) x columns(j)| over the cells that hold (h, w)
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.ops._windows import Pair

Shape = tuple[int, ...]


def forward(x: Array, *, output_size: Pair) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each cell; a view of `x` where each cell is one pixel."""
    if x.shape[2:] == output_size:
        return x[...], (x.shape,)
    y = array_module(x).empty((*x.shape[:2], *output_size), x.dtype)
    for i, j, rows, columns in cells(x.shape, output_size):
        y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y, (x.shape,)


def backward(gy: Array, saved: tuple[Shape], *, output_size: Pair) -> Gradients:
    """Return the gradient of `x`: each cell's share, added up where cells overlap."""
    (shape,) = saved
    if gy.shape == shape:
        return (gy[...],)
    gx = array_module(gy).zeros(shape, gy.dtype)
    for i, j, rows, columns in cells(shape, output_size):
        cell = gx[:, :, rows, columns]
        cell += gy[:, :, i : i + 1, j : j + 1] / (cell.shape[2] * cell.shape[3])
    return (gx,)


def cells(shape: Shape, output_size: Pair) -> list[tuple[int, int, slice, slice]]:
    """Return i, j, rows(i) and columns(j) of each cell of images of `shape`."""
    rows, columns = (axis_cells(*axis) for axis in zip(shape[2:], output_size, strict=True))
    return [(i, j, r, c) for i, r in enumerate(rows) for j, c in enumerate(columns)]


def axis_cells(size: int, count: int) -> list[slice]:
    """Return the `count` cells of an axis of `size`."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
