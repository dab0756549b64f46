"""avg_pool2d as CUDA kernels: kernels/avg_pool2d.cu."""

from __future__ import annotations

from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import contiguous
from minialex.ops._cuda.pooling import PIXELS_PER_THREAD, PoolShape, Shape

_forward = cuda.kernel("avg_pool2d.cu", "avg_pool2d_forward")
_backward = cuda.kernel("avg_pool2d.cu", "avg_pool2d_backward")


def forward(x: Array, *, count_include_pad: bool, **windows: Any) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each window: one thread per output."""
    sizes = PoolShape.of("avg_pool2d", x.shape, **windows)
    y = array_module(x).empty((*x.shape[:2], sizes.OH, sizes.OW), x.dtype)
    _forward(cuda.blocks(y.size), cuda.BLOCK_SIZE, contiguous(x), y, sizes, count_include_pad)
    return y, (x.shape,)


def backward(
    gy: Array, saved: tuple[Shape], *, count_include_pad: bool, **windows: Any
) -> Gradients:
    """Return the gradient of `x`: each pixel adds up the shares of the windows that hold it."""
    (shape,) = saved
    sizes = PoolShape.of("avg_pool2d", shape, **windows)
    gx = array_module(gy).empty(shape, gy.dtype)
    _backward(
        cuda.blocks(sizes.backward_threads),
        cuda.BLOCK_SIZE,
        contiguous(gy),
        gx,
        sizes,
        count_include_pad,
        PIXELS_PER_THREAD,
    )
    return (gx,)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
