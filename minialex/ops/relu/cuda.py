"""relu as CUDA kernels: kernels/relu.cu, one thread per 16 bytes."""

from __future__ import annotations

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous

_forward = cuda.kernel("relu.cu", "relu_forward")
_backward = cuda.kernel("relu.cu", "relu_backward")


def _grid(x: Array) -> int:
    return cuda.blocks(x.size, 16 // x.dtype.itemsize * cuda.BLOCK_SIZE)


def forward(x: Array) -> tuple[Array, tuple[Array]]:
    """Return max(x, 0)."""
    check_counts("relu", x=x.size)
    y = array_module(x).empty(x.shape, x.dtype)
    _forward(_grid(x), cuda.BLOCK_SIZE, contiguous(x), y, x.size)
    return y, (y,)


def backward(gy: Array, saved: tuple[Array]) -> Gradients:
    """Return `gy` where the output was not 0."""
    (y,) = saved
    gx = array_module(y).empty(y.shape, y.dtype)
    _backward(_grid(y), cuda.BLOCK_SIZE, contiguous(gy), contiguous(y), gx, y.size)
    return (gx,)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
