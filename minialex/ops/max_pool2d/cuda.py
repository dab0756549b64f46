"""max_pool2d as CUDA kernels: kernels/max_pool2d.cu."""

from __future__ import annotations

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import contiguous
from minialex.ops._cuda.pooling import PIXELS_PER_THREAD, PoolShape, Shape
from minialex.ops._windows import Pair, argmax_dtype

_forward = cuda.kernel("max_pool2d.cu", "max_pool2d_forward")
_backward = cuda.kernel("max_pool2d.cu", "max_pool2d_backward")


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, Shape]]:
    """Return the maxima: one thread per output."""
    sizes = PoolShape.of("max_pool2d", x.shape, kernel_size, stride, padding, ceil_mode)
    xp, shape = array_module(x), (*x.shape[:2], sizes.OH, sizes.OW)
    y, argmax = xp.empty(shape, x.dtype), xp.empty(shape, argmax_dtype(kernel_size))
    _forward(cuda.blocks(y.size), cuda.BLOCK_SIZE, contiguous(x), y, argmax, sizes)
    return y, (argmax, x.shape)


def backward(
    gy: Array,
    saved: tuple[Array, Shape],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
) -> Gradients:
    """Return the gradient of `x`: each pixel adds up those of the windows whose maximum it is."""
    argmax, shape = saved
    sizes = PoolShape.of("max_pool2d", shape, kernel_size, stride, padding, ceil_mode)
    gx = array_module(gy).empty(shape, gy.dtype)
    _backward(
        cuda.blocks(sizes.backward_threads),
        cuda.BLOCK_SIZE,
        contiguous(gy),
        contiguous(argmax),
        gx,
        sizes,
        PIXELS_PER_THREAD,
    )
    return (gx,)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
