"""Average over the cells of a grid laid over the image, whatever the size of the image.

    y[n, c, i, j]  = mean of x[n, c] over rows(i) x columns(j)
    gx[n, c, h, w] = sum of gy[n, c, i, j] / |rows(i) x columns(j)| over the cells that hold (h, w)

Of OH cells over H rows, rows(i) runs from floor(i H / OH) up to, not including,
ceil((i + 1) H / OH); cells overlap where OH does not divide H. Where there are as many cells as
pixels, as in AlexNet at its own image size, y is a view of x, and gx one of gy: nothing is moved.

saved = (shape of x,).

    plain    cell by cell, for all images at once; what a CPU runs as well
    kernel   kernels/adaptive_avg_pool2d.cu: one thread per output, and per pixel
"""

from __future__ import annotations

from math import prod

from minialex.autograd import Cost, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_images, pair
from minialex.ops._windows import Pair
from minialex.ops.adaptive_avg_pool2d import plain
from minialex.ops.adaptive_avg_pool2d.cuda import KERNEL


def cost(shapes: Shapes, *, output_size: Pair) -> Cost:
    """One addition for each element of each cell, and one division per cell; a view is free."""
    (shape,) = shapes
    assert shape is not None
    N, C, H, W = shape
    (OH, OW) = output_size
    if output_size == (H, W):
        return Cost(0, 0)
    covered = prod(
        sum(cell.stop - cell.start for cell in plain.axis_cells(size, count))
        for size, count in ((H, OH), (W, OW))
    )
    return Cost(N * C * covered, ITEM_BYTES * N * C * (H * W + OH * OW))


OP = Op(
    "adaptive_avg_pool2d",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "kernel": KERNEL,
    },
    cost,
    kernel="kernel",
)


def adaptive_avg_pool2d(x: Tensor, output_size: int | tuple[int, int]) -> Tensor:
    """Average `x` over a grid of `output_size` cells, whatever the height and width of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32, float64 or bfloat16
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
