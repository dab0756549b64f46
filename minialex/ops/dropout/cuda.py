"""dropout as a CUDA kernel: kernels/dropout.cu, one thread per four elements, eight of bfloat16.

A thread makes the words for its elements itself: one block of the Philox stream is four words.
"""

from __future__ import annotations

from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous
from minialex.ops._cuda.tiling import is_vector_aligned
from minialex.ops.dropout.plain import scale, threshold
from minialex.philox import DeviceOffset

_dropout = cuda.kernel("dropout.cu", "dropout", optional=("drawn",))


def forward(
    x: Array, *, p: float, seed: int, offset: int | DeviceOffset
) -> tuple[Array, tuple[Any, ...]]:
    """Return `x` with a share `p` of it set to 0 and the rest scaled up."""
    check_counts("dropout", x=x.size)
    y: Array = array_module(x).empty(x.shape, x.dtype)
    x = contiguous(x)
    per_thread = max(4, 16 // x.dtype.itemsize)
    grid = cuda.blocks(x.size, per_thread * cuda.BLOCK_SIZE)
    vectors = is_vector_aligned((x, 0), (y, 0))
    drawn, ahead = (
        (offset.drawn, offset.ahead) if isinstance(offset, DeviceOffset) else (None, offset)
    )
    stream = seed, ahead, drawn
    _dropout(grid, cuda.BLOCK_SIZE, x, y, x.size, threshold(p), scale(p), *stream, vectors)
    return y, ()


def backward(
    gy: Array, saved: tuple[Any, ...], *, p: float, seed: int, offset: int | DeviceOffset
) -> Gradients:
    """Do to the gradient what forward did to the input."""
    gx, _ = forward(gy, p=p, seed=seed, offset=offset)
    return (gx,)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
