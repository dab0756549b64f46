"""The largest element of each window (Krizhevsky, Sutskever and Hinton 2012, section 3.4).

    y[n, c, i, j]  = max of x[n, c, i sh - ph + kh, j sw - pw + kw] over kh, kw
    gx[n, c, h, w] = sum of gy[n, c, i, j] over the windows whose maximum stands at (h, w)

(sh, sw) is the stride, (ph, pw) the padding, which never wins. Among equals the first wins, in
row-major order of the window; NaN wins over everything, the last where there are several.

saved = (winner, shape of x): winner (N, C, OH, OW) is kh KW + kw of each window's maximum, in the
smallest unsigned type that holds KH KW - 1 (uint8 up to 16 x 16).

    plain    all windows of a block of images at once, place by place
    kernel   kernels/max_pool2d.cu: a thread an output, and for a few pixels of a column

How the forward of ``array`` is done: images are dealt out into phases, one for each row and column
modulo the stride. What place (kh, kw) of all windows meets then is one contiguous run in phase
(kh % sh, kw % sw): all windows of a block of images are compared at once, in long runs that stay
in cache.

    row of x  0 1 2 3 4 5      stride 2, kernel 3: window i holds rows 2i, 2i + 1 and 2i + 2,
    phase 0   0   2   4        which are entry i of phase 0,
    phase 1     1   3   5      entry i of phase 1, and entry i + 1 of phase 0

Its backward goes to the winners alone, by their indices in images laid out flat.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import ITEM_BYTES, pooling
from minialex.ops._windows import Pair, argmax_dtype, output_length
from minialex.ops.max_pool2d.cuda import KERNEL

Shape = tuple[int, ...]

CACHE = 1 << 22
"""How many bytes of images a core works on at a time; in backward, beside indices, half."""


def forward(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, keep: bool = True
) -> tuple[Array, tuple[Any, ...]]:
    """Return the maxima, found by going through the places of all windows in order."""
    xp = array_module(x)
    OH, OW = (
        output_length(*s) for s in zip(x.shape[2:], kernel_size, stride, padding, strict=True)
    )
    y = memory.empty(xp, (*x.shape[:2], OH, OW), x.dtype)
    winner = memory.empty(xp, y.shape, argmax_dtype(kernel_size))
    start = xp.asarray(_first_inside((OH, OW), kernel_size, stride, padding), winner.dtype)

    def some(blocks: list[slice]) -> None:
        phases = _Phases(xp, x, (OH, OW), kernel_size, stride, padding, blocks)
        # what no image reaches stays minus infinity and never wins
        phases.planes.fill(-np.inf)
        best, place = phases.plane(x.dtype), phases.plane(winner.dtype)
        for block in blocks:
            for phase, pixels in phases.twins(x[block]):
                phase[...] = pixels
            if keep:
                phases.outputs(place, block)[...] = start
                _compare(xp, phases.runs(), phases.run(best), phases.run(place))
                winner[block] = phases.outputs(place, block)
            else:
                _reduce(xp, phases.runs(), phases.run(best))
            y[block] = phases.outputs(best, block)

    threads.run(some, _shares(x, CACHE))
    return y, (winner, x.shape) if keep else ()


def _reduce(xp: Any, runs: list[Array], best: Array) -> None:
    """Write the largest elements of `runs` to `best`."""
    best[...] = runs[0]
    for here in runs[1:]:
        xp.maximum(here, best, out=best)


def _compare(xp: Any, runs: list[Array], best: Array, place: Array) -> None:
    """Write the largest elements of `runs` to `best`, and which runs they are in to `place`."""
    wins, is_nan = (xp.empty(best.shape, bool) for _ in range(2))
    number = xp.empty_like(place)
    best[...] = runs[0]
    for k, here in enumerate(runs[1:], start=1):
        xp.greater(here, best, out=wins)
        xp.not_equal(here, here, out=is_nan)
        xp.logical_or(wins, is_nan, out=wins)
        xp.maximum(here, best, out=best)
        # places come in rising order, so the largest that won is the last that did
        xp.multiply(wins.view(np.uint8), place.dtype.type(k), out=number)
        xp.maximum(place, number, out=place)


def backward(
    gy: Array, saved: tuple[Array, Shape], *, kernel_size: Pair, stride: Pair, padding: Pair
) -> Gradients:
    """Return the gradient of `x`: each output's goes to the element that won."""
    winner, shape = saved
    xp = array_module(gy)
    gx = memory.empty(xp, shape, gy.dtype)
    groups = _groups(xp, kernel_size, stride)
    work = _shares(gx, CACHE // 2)
    n = max((block.stop - block.start for blocks in work for block in blocks), default=0)
    corners = _corners(xp, (n, *shape[1:]), gy.shape[2:], stride, padding)
    starts = [xp.ascontiguousarray(corners[group]) for group in groups]
    places = (xp.arange(kernel_size[0])[:, None] * shape[3] + xp.arange(kernel_size[1])).ravel()

    def some(blocks: list[slice]) -> None:
        for block in blocks:
            gx[block] = 0
            for group, start in zip(groups, starts, strict=True):
                at = places.take(winner[block][group])
                at += start[: len(at)]
                xp.add.at(gx[block].reshape(-1), at.reshape(-1), gy[block][group].reshape(-1))

    threads.run(some, work)
    return (gx,)


def _groups(xp: Any, kernel_size: Pair, stride: Pair) -> list[tuple[Any, ...]]:
    """Return which windows may give to one image at once.

    NumPy adds in order, and takes them all. CuPy adds in any order: there no window of a group
    meets another, so that sums are the same in every run.
    """
    if xp is np:
        return [(...,)]
    down, across = (-(-k // s) for k, s in zip(kernel_size, stride, strict=True))
    return [
        (..., slice(i, None, down), slice(j, None, across))
        for i in range(down)
        for j in range(across)
    ]


def _corners(xp: Any, shape: Shape, outputs: Pair, stride: Pair, padding: Pair) -> Array:
    """Return where in images of `shape`, laid out flat, each window begins: (N, C, OH, OW)."""
    N, C, H, W = shape
    images = (xp.arange(N * C) * (H * W)).reshape(N, C, 1, 1)
    down, across = (xp.arange(n) * s - p for n, s, p in zip(outputs, stride, padding, strict=True))
    return images + down[:, None] * W + across  # type: ignore[no-any-return]


class _Phases:
    """The phases of a block of images: HQ x WQ elements of each channel in each of A x B."""

    def __init__(
        self,
        xp: Any,
        x: Array,
        outputs: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Pair,
        blocks: list[slice],
    ) -> None:
        self.xp, self.OH, self.OW = xp, *outputs
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        n = max(block.stop - block.start for block in blocks)
        beyond = [(k - 1) // s for k, s in zip(kernel_size, stride, strict=True)]
        self.shape = (n, x.shape[1], self.OH + beyond[0], self.OW + beyond[1])
        self.length = prod(self.shape) - beyond[0] * self.shape[3] - beyond[1]
        # where the stride exceeds the kernel, no window meets the last phases: leave them out
        self.planes = xp.zeros((*map(min, kernel_size, stride), *self.shape), x.dtype)

    def plane(self, dtype: np.dtype[Any]) -> Array:
        """Return room, zero, for one element a window, spread out like a phase."""
        return self.xp.zeros(self.shape, dtype)  # type: ignore[no-any-return]

    def run(self, plane: Array, start: int = 0) -> Array:
        """Return the run of a plane's elements, one a window, that begins at `start`."""
        return plane.reshape(-1)[start : start + self.length]

    def runs(self) -> list[Array]:
        """Return, for each place of the window, the run that it meets."""
        (KH, KW), (sh, sw) = self.kernel_size, self.stride
        return [
            self.run(self.planes[kh % sh, kw % sw], kh // sh * self.shape[3] + kw // sw)
            for kh in range(KH)
            for kw in range(KW)
        ]

    def outputs(self, plane: Array, block: slice) -> Array:
        """Return the view (n, C, OH, OW) of a plane."""
        return plane[: block.stop - block.start, :, : self.OH, : self.OW]

    def twins(self, x: Array) -> list[tuple[Array, Array]]:
        """Return, for each phase, what of it lies inside images `x`, and the same pixels of `x`."""
        (A, B), (HQ, WQ) = self.planes.shape[:2], self.shape[2:]
        down = [_dealt(a, self.stride[0], self.padding[0], HQ, x.shape[2]) for a in range(A)]
        across = [_dealt(b, self.stride[1], self.padding[1], WQ, x.shape[3]) for b in range(B)]
        return [
            (self.planes[a, b, : len(x), :, rows, columns], x[:, :, x_rows, x_columns])
            for a, (rows, x_rows) in enumerate(down)
            for b, (columns, x_columns) in enumerate(across)
        ]


def _dealt(phase: int, stride: int, padding: int, entries: int, size: int) -> tuple[slice, slice]:
    """Return which entries of a phase lie inside an axis of `size`, and which of it they are."""
    first = max(0, -((phase - padding) // stride))
    last = max(first, min(entries, (size - 1 + padding - phase) // stride + 1))
    start = first * stride + phase - padding
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


def _shares(x: Array, cache: int) -> list[list[slice]]:
    return blocks_per_worker(array_module(x), len(x), prod(x.shape[1:]) * x.itemsize, cache)


def _first_inside(outputs: Pair, kernel_size: Pair, stride: Pair, padding: Pair) -> list[list[int]]:
    """Return each window's first place inside the image: it wins where all are minus infinity."""
    down, across = (
        [max(0, p - i * s) for i in range(n)]
        for n, s, p in zip(outputs, stride, padding, strict=True)
    )
    return [[kh * kernel_size[1] + kw for kw in across] for kh in down]


def cost(shapes: Shapes, *, kernel_size: Pair, stride: Pair, padding: Pair) -> Cost:
    """One comparison for each element of each window."""
    (shape,) = shapes
    assert shape is not None
    OH, OW = (output_length(*s) for s in zip(shape[2:], kernel_size, stride, padding, strict=True))
    size = shape[0] * shape[1] * OH * OW
    return Cost(size * prod(kernel_size), ITEM_BYTES * (prod(shape) + size))


OP = Op(
    "max_pool2d",
    {"plain": Implementation(forward, backward), "kernel": KERNEL},
    cost,
    kernel="kernel",
)


def max_pool2d(
    x: Tensor, *, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """Return the largest element of each window of `x`.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 or float64
    kernel_size : int or (int, int)
        Height and width of the window, in pixels: 1 or more.
    stride : int or (int, int), optional
        How far the window moves from one output to the next, in pixels: 1 or more. As far as it
        is large where not given, so that windows tile the image; less makes them overlap.
    padding : int or (int, int)
        How many pixels at top and bottom, and left and right, windows may reach beyond the image:
        0 up to half of `kernel_size`. What lies there never is the maximum.

    Returns
    -------
    Tensor (N, C, OH, OW)
        ``OH = floor((H + 2 padding - KH) / stride) + 1``, and so OW. The gradient of each output
        goes to the maximum of its window, the first in row-major order where there are several.

    Raises
    ------
    ValueError
        If `x` is not a batch of images, the window does not fit, or a parameter is out of range.
    TypeError
        If a parameter is not a whole number or two, or `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    return OP(x, **pooling("max_pool2d", x, kernel_size, stride, padding))
