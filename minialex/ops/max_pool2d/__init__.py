"""The largest element of each window (Krizhevsky, Sutskever and Hinton 2012, section 3.4).

    y[n, c, i, j]  = max of x[n, c, i sh - ph + kh, j sw - pw + kw] over kh, kw
    gx[n, c, h, w] = sum of gy[n, c, i, j] over the windows whose maximum is at (h, w)

(sh, sw) is the stride, (ph, pw) the padding, which never is the maximum. Among equals the first
is, in row-major order of the window; NaN is larger than everything, the last where there are
several.

saved = (argmax, shape of x): argmax (N, C, OH, OW) is kh KW + kw of each window's maximum, in the
smallest unsigned type that holds KH KW - 1 (uint8 up to 16 x 16).

    plain    all windows at once, element by element of the window
    blocked  blocks of images, whose stride phases turn elements of windows into contiguous runs
    kernel   kernels/max_pool2d.cu: one thread per few outputs, or pixels, of a column
"""

from __future__ import annotations

from minialex.autograd import Implementation, Op, Tensor, as_tensor
from minialex.ops._arguments import pooling, pooling_cost
from minialex.ops._windows import Pair
from minialex.ops.max_pool2d import blocked, plain
from minialex.ops.max_pool2d.cuda import KERNEL

OP = Op(
    "max_pool2d",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward),
        "kernel": KERNEL,
    },
    pooling_cost,
    kernel="kernel",
    # 3 x 3 by 2 of (128, 64, 55, 55) takes a tenth of the time of plain
    cpu="blocked",
)


def max_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Return the largest element of each window of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32, float64 or bfloat16
    kernel_size : int or (int, int)
        Height and width of the window, in pixels: 1 or more.
    stride : int or (int, int), optional
        How far the window moves from one output to the next, in pixels: 1 or more. As far as it
        is large where not given, so that windows tile the image; less makes them overlap.
    padding : int or (int, int)
        How many pixels at top and bottom, and left and right, windows may reach beyond the image:
        0 up to half of `kernel_size`. What lies there never is the maximum.
    ceil_mode : bool
        Whether a last window may reach beyond the padding; it must begin in the image or in the
        padding before it. The size of the output is then rounded up, not down.

    Returns
    -------
    Tensor (N, C, OH, OW)
        ``OH = floor((H + 2 padding - KH) / stride) + 1``, and so OW. The gradient of each output
        goes to the maximum of its window, the first in row-major order where there are several.

    Raises
    ------
    ValueError
        If `x` is not a batch of images, has no pixels, the window does not fit, or a parameter is
        out of range.
    TypeError
        If a parameter is not a whole number or two, a flag neither True nor False, or `x` is not of
        a floating-point type.
    """
    x = as_tensor(x)
    return OP(x, **pooling("max_pool2d", x, kernel_size, stride, padding, ceil_mode))
