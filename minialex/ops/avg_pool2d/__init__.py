"""The mean of each window.

    y[n, c, i, j]  = (sum of x[n, c, i sh - ph + k, j sw - pw + l] over k, l) / count
    gx[n, c, h, w] = sum of gy[n, c, i, j] / count over the windows that hold (h, w)

x is zero outside its borders, (sh, sw) is the stride, (ph, pw) the padding. `count` is KH KW or,
without `count_include_pad`, how many elements of the window lie inside the image.

saved = (shape of x,).

    plain    blocks of images, rows of windows summed first, then columns
    kernel   kernels/avg_pool2d.cu: a thread an output, and for a few pixels of a column
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import ITEM_BYTES, pooling
from minialex.ops._cuda.launching import packed
from minialex.ops._cuda.pooling import ROWS, Pool, Shape
from minialex.ops._windows import Pair, output_length, strided_slice

CACHE = 1 << 20
"""How many bytes of images a core works on at a time."""


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each window: rows of windows are summed first, then columns."""
    xp, (N, C, H, W) = array_module(x), x.shape
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = (output_length(*s) for s in zip((H, W), kernel_size, stride, padding, strict=True))
    counts = _counts(xp, (H, W), kernel_size, stride, padding, count_include_pad)
    y = memory.empty(xp, (N, C, OH, OW), x.dtype)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            padded = xp.pad(x[block], ((0, 0), (0, 0), (ph, ph), (pw, pw)))
            bands = sum(padded[:, :, strided_slice(kh, OH, sh)] for kh in range(KH))
            xp.divide(
                sum(bands[..., strided_slice(kw, OW, sw)] for kw in range(KW)), counts, out=y[block]
            )

    threads.run(some, _shares(x))
    return y, (x.shape,)


def backward(
    gy: Array,
    saved: tuple[Shape],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Gradients:
    """Return the gradient of `x`: each window's share, added up where windows overlap."""
    xp, ((N, C, H, W),) = array_module(gy), saved
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    OH, OW = gy.shape[2:]
    counts = _counts(xp, (H, W), kernel_size, stride, padding, count_include_pad)
    gx = memory.empty(xp, (N, C, H, W), gy.dtype)

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            part = gy[block] / counts
            bands = xp.zeros((len(part), C, OH, W + 2 * pw), gy.dtype)
            for kw in range(KW):
                bands[..., strided_slice(kw, OW, sw)] += part
            padded = xp.zeros((len(part), C, H + 2 * ph, W + 2 * pw), gy.dtype)
            for kh in range(KH):
                padded[:, :, strided_slice(kh, OH, sh)] += bands
            gx[block] = padded[:, :, ph : ph + H, pw : pw + W]

    threads.run(some, _shares(gx))
    return (gx,)


def _shares(x: Array) -> list[list[slice]]:
    return blocks_per_worker(array_module(x), len(x), prod(x.shape[1:]) * x.itemsize, CACHE)


def _counts(
    xp: Any, size: Pair, kernel: Pair, stride: Pair, padding: Pair, include_pad: bool
) -> Any:
    """Return what each window's sum (OH, OW) is divided by."""
    if include_pad or padding == (0, 0):
        return kernel[0] * kernel[1]
    down, across = (_inside(*s) for s in zip(size, kernel, stride, padding, strict=True))
    return xp.asarray([[h * w for w in across] for h in down])


def _inside(size: int, kernel: int, stride: int, padding: int) -> list[int]:
    """Return how many elements of each window along an axis lie inside the image."""
    starts = [i * stride - padding for i in range(output_length(size, kernel, stride, padding))]
    return [min(start + kernel, size) - max(start, 0) for start in starts]


_forward = cuda.kernel("avg_pool2d.cu", "avg_pool2d_forward")
_backward = cuda.kernel("avg_pool2d.cu", "avg_pool2d_backward")


def forward_kernel(
    x: Array, *, count_include_pad: bool, **windows: Pair
) -> tuple[Array, tuple[Shape]]:
    """Return the mean of each window: a thread an output."""
    at = Pool.of("avg_pool2d", x.shape, **windows)
    y = array_module(x).empty((*x.shape[:2], at.OH, at.OW), x.dtype)
    _forward(cuda.blocks(y.size), cuda.BLOCK_SIZE, packed(x), y, at, count_include_pad)
    return y, (x.shape,)


def backward_kernel(
    gy: Array, saved: tuple[Shape], *, count_include_pad: bool, **windows: Pair
) -> Gradients:
    """Return the gradient of `x`: each pixel adds up the shares of the windows that hold it."""
    (shape,) = saved
    at = Pool.of("avg_pool2d", shape, **windows)
    gx = array_module(gy).empty(shape, gy.dtype)
    _backward(cuda.blocks(at.walks), cuda.BLOCK_SIZE, packed(gy), gx, at, count_include_pad, ROWS)
    return (gx,)


def cost(
    shapes: Shapes, *, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Cost:
    """One addition for each element of each window, and one division a window."""
    (shape,) = shapes
    assert shape is not None
    OH, OW = (output_length(*s) for s in zip(shape[2:], kernel_size, stride, padding, strict=True))
    size = shape[0] * shape[1] * OH * OW
    return Cost(size * prod(kernel_size), ITEM_BYTES * (prod(shape) + size))


OP = Op(
    "avg_pool2d",
    {
        "plain": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    cost,
    kernel="kernel",
)


def avg_pool2d(
    x: Tensor,
    *,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    kernel_size : int or (int, int)
        Height and width of the window, in pixels: 1 or more.
    stride : int or (int, int), optional
        How far the window moves from one output to the next, in pixels: 1 or more. As far as it
        is large where not given, so that windows tile the image.
    padding : int or (int, int)
        How many zeros surround each image at top and bottom, and left and right: 0 up to half of
        `kernel_size`.
    count_include_pad : bool
        Whether these zeros count as elements of the windows that hold them.

    Returns
    -------
    Tensor (N, C, OH, OW)
        ``OH = floor((H + 2 padding - KH) / stride) + 1``, and so OW.

    Raises
    ------
    ValueError
        If `x` is not a batch of images, the window does not fit, or a parameter is out of range.
    TypeError
        If a parameter is not a whole number or two, or `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    params = pooling("avg_pool2d", x, kernel_size, stride, padding)
    return OP(x, **params, count_include_pad=bool(count_include_pad))
