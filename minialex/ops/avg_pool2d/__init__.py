"""The mean of each window.

    y[n, c, i, j]  = (sum of x[n, c, i sh - ph + k, j sw - pw + l] over k, l) / count
    gx[n, c, h, w] = sum of gy[n, c, i, j] / count over the windows that hold (h, w)

x is zero outside its borders, (sh, sw) is the stride, (ph, pw) the padding. `count` is how many
elements of the window lie inside the image or, with `count_include_pad`, inside image and padding:
all KH KW, but where a last window reaches beyond (`ceil_mode`).

saved = (shape of x,).

    plain    all windows at once, element by element of the window
    blocked  blocks of images, rows of windows summed first, then columns
    kernel   kernels/avg_pool2d.cu: one thread per output, and per a few pixels of a column
"""

from __future__ import annotations

from minialex.autograd import Implementation, Op, Tensor, as_tensor
from minialex.autograd.conversion import flag
from minialex.ops._arguments import pooling, pooling_cost
from minialex.ops._windows import Pair
from minialex.ops.avg_pool2d import blocked, plain
from minialex.ops.avg_pool2d.cuda import KERNEL

OP = Op(
    "avg_pool2d",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward),
        "kernel": KERNEL,
    },
    pooling_cost,
    kernel="kernel",
    # 3 x 3 by 2 of (128, 64, 55, 55) takes a third of the time of plain
    cpu="blocked",
)


def avg_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32, float64 or bfloat16
    kernel_size : int or (int, int)
        Height and width of the window, in pixels: 1 or more.
    stride : int or (int, int), optional
        How far the window moves from one output to the next, in pixels: 1 or more. As far as it
        is large where not given, so that windows tile the image.
    padding : int or (int, int)
        How many zeros surround each image at top and bottom, and left and right: 0 up to half of
        `kernel_size`.
    ceil_mode : bool
        Whether a last window may reach beyond the padding; it must begin in the image or in the
        padding before it. The size of the output is then rounded up, not down. What lies beyond
        never counts.
    count_include_pad : bool
        Whether these zeros count as elements of the windows that hold them.

    Returns
    -------
    Tensor (N, C, OH, OW)
        ``OH = floor((H + 2 padding - KH) / stride) + 1``, and so OW.

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
    params = pooling("avg_pool2d", x, kernel_size, stride, padding, ceil_mode)
    include_pad = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return OP(x, **params, count_include_pad=include_pad)
