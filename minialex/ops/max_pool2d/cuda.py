"""max_pool2d as CUDA kernels: kernels/max_pool2d.cu."""

from __future__ import annotations

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import contiguous
from minialex.ops._cuda.pooling import PoolShape, Shape
from minialex.ops._windows import Pair, argmax_dtype

_forward = cuda.kernel("max_pool2d.cu", "max_pool2d_forward")
_backward = cuda.kernel("max_pool2d.cu", "max_pool2d_backward")

OUTPUTS_PER_THREAD, PIXELS_PER_THREAD = {0: 1, 3: 3}, {0: 8, 3: 14}
"""Neighbours in a column that a thread computes, of y and of gx: ROWS of the kernels, by WINDOW.

AlexNet's outputs have 27, 13 and 6 rows and its pixels 56, 27 and 13: few strips are cut short.
"""


def _known_window(s: PoolShape) -> int:
    """Return WINDOW of the kernels: 3 for windows of 3 x 3, two apart, all inside the image."""
    known = (s.KH, s.KW, s.sh, s.sw, s.ph, s.pw) == (3, 3, 2, 2, 0, 0)
    # in ceil_mode the last one may reach beyond
    return 3 if known and 2 * s.OH < s.H and 2 * s.OW < s.W else 0


def _grid(s: PoolShape, rows: int, width: int, per_thread: int) -> int:
    """Return the blocks of a thread for every `per_thread` rows of a column."""
    return cuda.blocks(s.planes * cuda.blocks(rows, per_thread) * width)


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, Shape]]:
    """Return the maxima: one thread per few outputs of a column."""
    sizes = PoolShape.of("max_pool2d", x.shape, kernel_size, stride, padding, ceil_mode)
    xp, shape = array_module(x), (*x.shape[:2], sizes.OH, sizes.OW)
    y, argmax = xp.empty(shape, x.dtype), xp.empty(shape, argmax_dtype(kernel_size))
    window = _known_window(sizes)
    _forward(
        _grid(sizes, sizes.OH, sizes.OW, OUTPUTS_PER_THREAD[window]),
        cuda.BLOCK_SIZE,
        contiguous(x),
        y,
        argmax,
        sizes,
        WINDOW=window,
    )
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
    window = _known_window(sizes)
    _backward(
        _grid(sizes, sizes.H, sizes.W, PIXELS_PER_THREAD[window]),
        cuda.BLOCK_SIZE,
        contiguous(gy),
        contiguous(argmax),
        gx,
        sizes,
        WINDOW=window,
    )
    return (gx,)


KERNEL = Implementation(
    forward, backward, why_not=cuda.why_not, dtypes=("float32", "float64", "bfloat16")
)
