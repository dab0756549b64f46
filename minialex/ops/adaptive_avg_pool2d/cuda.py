"""adaptive_avg_pool2d as CUDA kernels: kernels/adaptive_avg_pool2d.cu."""

from __future__ import annotations

from math import prod

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous
from minialex.ops._windows import Pair

Shape = tuple[int, ...]

_forward = cuda.kernel("adaptive_avg_pool2d.cu", "adaptive_avg_pool2d_forward")
_backward = cuda.kernel("adaptive_avg_pool2d.cu", "adaptive_avg_pool2d_backward")


def forward(x: Array, *, output_size: Pair) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each cell: one thread per cell; a view of `x` where each is one pixel."""
    if x.shape[2:] == output_size:
        return x[...], (x.shape,)
    sizes = _sizes(x.shape, output_size)
    y = array_module(x).empty((*x.shape[:2], *output_size), x.dtype)
    _forward(cuda.blocks(y.size), cuda.BLOCK_SIZE, contiguous(x), y, *sizes)
    return y, (x.shape,)


def backward(gy: Array, saved: tuple[Shape], *, output_size: Pair) -> Gradients:
    """Return the gradient of `x`: each pixel adds up the shares of the cells that hold it."""
    (shape,) = saved
    if gy.shape == shape:
        return (gy[...],)
    gx = array_module(gy).empty(shape, gy.dtype)
    _backward(
        cuda.blocks(gx.size), cuda.BLOCK_SIZE, contiguous(gy), gx, *_sizes(shape, output_size)
    )
    return (gx,)


def _sizes(shape: Shape, output_size: Pair) -> Shape:
    """Return all sizes, in the order in which kernels take them."""
    (N, C, H, W), (OH, OW) = shape, output_size
    # cells begin and end at products of both sizes.
    products = {"rows x cells": (H + 1) * (OH + 1), "columns x cells": (W + 1) * (OW + 1)}
    check_counts("adaptive_avg_pool2d", x=prod(shape), y=N * C * OH * OW, **products)
    return N * C, H, W, OH, OW


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
