"""max_pool2d in blocks of images that stay in a core's cache, spread over the CPU's cores.

Forward splits images into stride phases (a polyphase decomposition), one for each row and column
modulo the stride. Element (kh, kw) of all windows is then one contiguous run in phase
(kh % sh, kw % sw), and all windows of a block of images are compared at once, in long runs.

    row of x  0 1 2 3 4 5      stride 2, kernel 3: window i holds elements 2i, 2i + 1 and 2i + 2,
    phase 0   0   2   4        which are entry i of phase 0,
    phase 1     1   3   5      entry i of phase 1, and entry i + 1 of phase 0

A phase has (KH - 1) // sh more rows, and (KW - 1) // sw more columns, than there are windows. The
runs go on through these and compare what is no window; the results there are not read.

Backward adds each output's gradient to the maximum alone, at its index in images laid out flat:

    x of 5 x 5, kernel 3, stride 2: the window of output (1, 0) begins at pixel (2, 0), index 10;
    its argmax 5 is element (1, 2), 1 x 5 + 2 = 7 further on: gx.flat[17] += gy[1, 0]
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import memory, threads
from minialex.cpu.sharing import image_blocks
from minialex.ops._windows import Pair, argmax_dtype, pooled_size

Shape = tuple[int, ...]

BLOCK_BYTES = 1 << 22
"""The part of the images that a core works on at a time; in backward, beside indices, half.

Forward of (128, 64, 55, 55) on two cores: 80 ms, in blocks of 256 KiB or 1 MiB 93 to 110, of 16 MiB
120, of 256 MiB 237.
"""


def forward(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    keep: bool = True,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the maxima, found by going through the elements of all windows in order."""
    xp = array_module(x)
    OH, OW = pooled_size(x.shape, kernel_size, stride, padding, ceil_mode)
    y = memory.empty(xp, (*x.shape[:2], OH, OW), x.dtype)
    argmax = memory.empty(xp, y.shape, argmax_dtype(kernel_size))
    first = xp.asarray(_first_inside((OH, OW), kernel_size, stride, padding), argmax.dtype)

    def pool_blocks(blocks: list[slice]) -> None:
        phases = StridePhases(xp, x, (OH, OW), kernel_size, stride, padding, blocks)
        # what no image reaches stays minus infinity and never is the maximum
        phases.planes.fill(-np.inf)
        largest, index = phases.plane(x.dtype), phases.plane(argmax.dtype)
        for block in blocks:
            for phase, pixels in phases.phase_and_pixels(x[block]):
                phase[...] = pixels
            elements = phases.window_elements()
            if keep:
                phases.outputs(index, block)[...] = first
                running_argmax(xp, elements, phases.run(largest), phases.run(index))
                argmax[block] = phases.outputs(index, block)
            else:
                running_max(xp, elements, phases.run(largest))
            y[block] = phases.outputs(largest, block)

    threads.run(pool_blocks, image_blocks(x, BLOCK_BYTES))
    return y, (argmax, x.shape) if keep else ()


def running_max(xp: Any, elements: list[Array], largest: Array) -> None:
    """Write the largest of `elements`, arrays of one shape, to `largest`."""
    largest[...] = elements[0]
    for element in elements[1:]:
        xp.maximum(element, largest, out=largest)


def running_argmax(xp: Any, elements: list[Array], largest: Array, index: Array) -> None:
    """Write the largest of `elements` to `largest`, and which it is to `index` unless the first."""
    is_larger, is_nan = (xp.empty(largest.shape, bool) for _ in range(2))
    number = xp.empty_like(index)
    largest[...] = elements[0]
    for k, element in enumerate(elements[1:], start=1):
        xp.greater(element, largest, out=is_larger)
        xp.not_equal(element, element, out=is_nan)
        xp.logical_or(is_larger, is_nan, out=is_larger)
        xp.maximum(element, largest, out=largest)
        # numbers rise, so the largest number of one that was larger is that of the last
        xp.multiply(is_larger.view(np.uint8), index.dtype.type(k), out=number)
        xp.maximum(index, number, out=index)


def backward(
    gy: Array,
    saved: tuple[Array, Shape],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
) -> Gradients:
    """Return the gradient of `x`: each output's goes to the maximum of its window."""
    argmax, shape = saved
    xp = array_module(gy)
    gx = memory.empty(xp, shape, gy.dtype)
    groups = _disjoint_windows(xp, kernel_size, stride)
    work = image_blocks(gx, BLOCK_BYTES // 2)
    n = max((block.stop - block.start for blocks in work for block in blocks), default=0)
    corners = _corners(xp, (n, *shape[1:]), gy.shape[2:], stride, padding)
    starts = [xp.ascontiguousarray(corners[group]) for group in groups]
    # how far each element of a window is from its corner
    offsets = (xp.arange(kernel_size[0])[:, None] * shape[3] + xp.arange(kernel_size[1])).ravel()

    def scatter_blocks(blocks: list[slice]) -> None:
        for block in blocks:
            gx[block] = 0
            for group, start in zip(groups, starts, strict=True):
                indices = offsets.take(argmax[block][group])
                indices += start[: len(indices)]
                xp.add.at(gx[block].reshape(-1), indices.reshape(-1), gy[block][group].reshape(-1))

    threads.run(scatter_blocks, work)
    return (gx,)


def _disjoint_windows(xp: Any, kernel_size: Pair, stride: Pair) -> list[tuple[Any, ...]]:
    """Return groups of windows whose gradients may be added to an image at once.

    NumPy adds in order, and takes all of them. CuPy adds in any order: there no two windows of a
    group overlap, so that sums are the same in every run.
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


class StridePhases:
    """The stride phases of a block of images: A x B planes of HQ x WQ elements of each channel."""

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
        # where the stride exceeds the kernel, no window reaches the last phases: leave them out
        self.planes = xp.zeros((*map(min, kernel_size, stride), *self.shape), x.dtype)

    def plane(self, dtype: np.dtype[Any]) -> Array:
        """Return zeros, one per window, in the layout of a phase."""
        return self.xp.zeros(self.shape, dtype)  # type: ignore[no-any-return]

    def run(self, plane: Array, start: int = 0) -> Array:
        """Return the run of a plane's elements, one per window, that begins at `start`."""
        return plane.reshape(-1)[start : start + self.length]

    def window_elements(self) -> list[Array]:
        """Return, for each element (kh, kw) of a window, the run of those of all windows."""
        (KH, KW), (sh, sw) = self.kernel_size, self.stride
        return [
            self.run(self.planes[kh % sh, kw % sw], kh // sh * self.shape[3] + kw // sw)
            for kh in range(KH)
            for kw in range(KW)
        ]

    def outputs(self, plane: Array, block: slice) -> Array:
        """Return the view (n, C, OH, OW) of a plane: what belongs to a window."""
        return plane[: block.stop - block.start, :, : self.OH, : self.OW]

    def phase_and_pixels(self, x: Array) -> list[tuple[Array, Array]]:
        """Return, for each phase, what of it lies inside images `x`, and the same pixels of `x`."""
        (A, B), (HQ, WQ) = self.planes.shape[:2], self.shape[2:]
        down = [phase_overlap(a, self.stride[0], self.padding[0], HQ, x.shape[2]) for a in range(A)]
        across = [
            phase_overlap(b, self.stride[1], self.padding[1], WQ, x.shape[3]) for b in range(B)
        ]
        return [
            (self.planes[a, b, : len(x), :, rows, columns], x[:, :, x_rows, x_columns])
            for a, (rows, x_rows) in enumerate(down)
            for b, (columns, x_columns) in enumerate(across)
        ]


def phase_overlap(
    phase: int, stride: int, padding: int, entries: int, size: int
) -> tuple[slice, slice]:
    """Return which entries of a phase lie inside an axis of `size`, and which of it they are.

    Entry q of the phase is element q stride + phase - padding of the axis. Of 5 elements with
    stride 2 and padding 1, phase 0 of 4 entries is elements -1 1 3 5: entries 1 and 2, 1 and 3.
    """
    first = max(0, -((phase - padding) // stride))
    last = max(first, min(entries, (size - 1 + padding - phase) // stride + 1))
    start = first * stride + phase - padding
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


def _first_inside(outputs: Pair, kernel_size: Pair, stride: Pair, padding: Pair) -> list[list[int]]:
    """Return each window's first element inside the image: the maximum where all are -infinity."""
    down, across = (
        [max(0, p - i * s) for i in range(n)]
        for n, s, p in zip(outputs, stride, padding, strict=True)
    )
    return [[kh * kernel_size[1] + kw for kw in across] for kh in down]
