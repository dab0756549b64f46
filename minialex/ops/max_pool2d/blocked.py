"""max_pool2d in blocks of images that stay in a core's cache, spread over the CPU's cores.

Images are seen as (outer, H, W, inner), which holds for both orders that they come in: (N C, H, W,
1) where channels come first in memory, (N, H, W, C) where they come last.

Without gradients, forward takes the maxima down the columns, in runs as long as a row, and of these
the maxima along the rows: 2 + 2 comparisons for a window of 3 x 3 instead of 8.

With gradients it splits images into stride phases (a polyphase decomposition), one for each row and
column modulo the stride. Element (kh, kw) of all windows is then one contiguous run in phase
(kh % sh, kw % sw), and all windows of a block of images are compared at once, in long runs.

    row of x  0 1 2 3 4 5      stride 2, kernel 3: window i holds elements 2i, 2i + 1 and 2i + 2,
    phase 0   0   2   4        which are entry i of phase 0,
    phase 1     1   3   5      entry i of phase 1, and entry i + 1 of phase 0

A phase has (KH - 1) // sh more rows, and (KW - 1) // sw more columns, than there are windows. The
runs go on through these and compare what is no window; the results there are not read.

The first element that equals the maximum is counted out: as long as no element was equal, each
one more adds 1 to the index.

    elements 3 5 4 5, maximum 5:   unequal  1 0 1 0   unequal so far  1 0 0 0   index 1

Backward adds each output's gradient to the maximum alone, at its index in images laid out flat:

    x of 5 x 5, kernel 3, stride 2: the window of output (1, 0) begins at pixel (2, 0), index 10;
    its argmax 5 is element (1, 2), 1 x 5 + 2 = 7 further on: gx.flat[17] += gy[1, 0]
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import layout, memory, threads
from minialex.cpu.sharing import image_blocks
from minialex.ops._windows import Pair, argmax_dtype, pooled_size

Shape = tuple[int, ...]

BLOCK_BYTES = 1 << 22
"""The part of the images that a core works on at a time; in backward, beside indices, half.

In smaller blocks, threads contend for the GIL longer than caches save.
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
    xp, axes = array_module(x), layout.memory_axes(x)
    OH, OW = pooled_size(x.shape, kernel_size, stride, padding, ceil_mode)
    shape = (*x.shape[:2], OH, OW)
    y = layout.empty(xp, shape, x.dtype, axes)
    planes_x, planes_y = as_planes(x, axes), as_planes(y, axes)
    if keep:
        argmax = layout.empty(xp, shape, argmax_dtype(kernel_size), axes)
        planes_argmax = as_planes(argmax, axes)

    def reduce_blocks(blocks: list[slice]) -> None:
        images = max(block.stop - block.start for block in blocks)
        down = memory.empty(xp, (images, OH, *planes_x.shape[2:]), x.dtype)
        for block in blocks:
            columns = down[: block.stop - block.start]
            _maxima(xp, planes_x[block], 1, (kernel_size[0], stride[0], padding[0]), columns)
            _maxima(xp, columns, 2, (kernel_size[1], stride[1], padding[1]), planes_y[block])

    def pool_blocks(blocks: list[slice]) -> None:
        phases = StridePhases(xp, planes_x, (OH, OW), kernel_size, stride, padding, blocks)
        for block in blocks:
            phases.load(planes_x[block])
            elements = phases.window_elements()
            largest = phases.maximum(elements)
            planes_y[block] = phases.outputs(largest, len(planes_y[block]))
            index = phases.argmax(elements, planes_y[block])
            planes_argmax[block] = phases.outputs(index, len(planes_y[block]))

    work = image_blocks(planes_x, BLOCK_BYTES)
    threads.run(pool_blocks if keep else reduce_blocks, work)
    return y, (argmax, x.shape) if keep else ()


def _maxima(xp: Any, x: Array, axis: int, window: tuple[int, int, int], out: Array) -> None:
    """Write the maxima along one axis of `x` to `out`: of windows of a size, stride and padding."""
    size, stride, padding = window
    before, all_windows = (slice(None),) * axis, slice(0, out.shape[axis])
    overlaps = [
        phase_overlap(k, stride, padding, out.shape[axis], x.shape[axis]) for k in range(size)
    ]
    # an element that lies inside the image in every window, if there is one
    first = next((pixels for outputs, pixels in overlaps if outputs == all_windows), None)
    out[...] = -np.inf if first is None else x[*before, first]
    for outputs, pixels in overlaps:
        if pixels != first:
            part = out[*before, outputs]
            xp.maximum(x[*before, pixels], part, out=part)


def as_planes(a: Array, axes: layout.Axes) -> Array:
    """Return images (N, C, H, W) as (outer, H, W, inner): a view if `axes` are those in memory."""
    if axes == layout.CHANNELS_LAST:
        return layout.pixels(a)
    return a.reshape(-1, *a.shape[2:], 1)


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
    xp, axes = array_module(gy), layout.memory_axes(argmax)
    gx = layout.empty(xp, shape, gy.dtype, axes)
    planes_gx, planes_gy, planes_argmax = (as_planes(a, axes) for a in (gx, gy, argmax))
    _, H, W, inner = planes_gx.shape
    groups = _disjoint_windows(xp, kernel_size, stride)
    work = image_blocks(planes_gx, BLOCK_BYTES // 2)
    outer = max((block.stop - block.start for blocks in work for block in blocks), default=0)
    corners = _corners(xp, (outer, H, W, inner), planes_gy.shape[1:3], stride, padding)
    starts = [xp.ascontiguousarray(corners[group]) for group in groups]
    # how far each element of a window is from its corner
    (KH, KW) = kernel_size
    offsets = ((xp.arange(KH)[:, None] * W + xp.arange(KW)) * inner).ravel()

    def scatter_blocks(blocks: list[slice]) -> None:
        for block in blocks:
            planes_gx[block] = 0
            for group, start in zip(groups, starts, strict=True):
                indices = offsets.take(planes_argmax[block][group])
                indices += start[: len(indices)]
                g = planes_gy[block][group]
                xp.add.at(planes_gx[block].reshape(-1), indices.reshape(-1), g.reshape(-1))

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
        (slice(None), slice(i, None, down), slice(j, None, across))
        for i in range(down)
        for j in range(across)
    ]


def _corners(xp: Any, shape: Shape, outputs: Pair, stride: Pair, padding: Pair) -> Array:
    """Return where in planes of `shape`, laid out flat, each window begins."""
    outer, H, W, inner = shape
    planes = (xp.arange(outer) * (H * W * inner)).reshape(-1, 1, 1, 1)
    down, across = (xp.arange(n) * s - p for n, s, p in zip(outputs, stride, padding, strict=True))
    rows, columns = down[:, None, None] * (W * inner), across[:, None] * inner
    return planes + rows + columns + xp.arange(inner)  # type: ignore[no-any-return]


class StridePhases:
    """The stride phases of a block of planes: A x B of them, of (outer, HQ, WQ, inner) elements."""

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
        self.xp, (self.OH, self.OW) = xp, outputs
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        outer, inner = max(block.stop - block.start for block in blocks), x.shape[3]
        beyond = [(k - 1) // s for k, s in zip(kernel_size, stride, strict=True)]
        self.shape = (outer, self.OH + beyond[0], self.OW + beyond[1], inner)
        self.length = prod(self.shape) - (beyond[0] * self.shape[2] + beyond[1]) * inner
        # where the stride exceeds the kernel, no window reaches the last phases: leave them out
        self.planes = memory.empty(xp, (*map(min, kernel_size, stride), *self.shape), x.dtype)
        # what no image reaches stays minus infinity and never is the maximum
        self.planes.fill(-np.inf)
        self._largest: Array = xp.zeros(self.shape, x.dtype)

    @cached_property
    def _index(self) -> Array:
        return self.xp.zeros(self.shape, argmax_dtype(self.kernel_size))  # type: ignore[no-any-return]

    def load(self, x: Array) -> None:
        """Copy planes `x` (outer, H, W, inner) in."""
        (A, B), (_, HQ, WQ, _) = self.planes.shape[:2], self.shape
        (sh, sw), (ph, pw), (H, W) = self.stride, self.padding, x.shape[1:3]
        for a in range(A):
            rows, x_rows = phase_overlap(a, sh, ph, HQ, H)
            for b in range(B):
                columns, x_columns = phase_overlap(b, sw, pw, WQ, W)
                self.planes[a, b, : len(x), rows, columns] = x[:, x_rows, x_columns]

    def run(self, plane: Array, start: int = 0) -> Array:
        """Return the run of a plane's elements, one per window, that begins at `start`."""
        return plane.reshape(-1)[start : start + self.length]

    def window_elements(self) -> list[Array]:
        """Return, for each element (kh, kw) of a window, the run of those of all windows."""
        (KH, KW), (sh, sw), (_, _, WQ, inner) = self.kernel_size, self.stride, self.shape
        return [
            self.run(self.planes[kh % sh, kw % sw], (kh // sh * WQ + kw // sw) * inner)
            for kh in range(KH)
            for kw in range(KW)
        ]

    def maximum(self, elements: list[Array]) -> Array:
        """Return a plane with the largest of the elements of each window; NaN is larger."""
        largest = self.run(self._largest)
        largest[...] = elements[0]
        for element in elements[1:]:
            self.xp.maximum(element, largest, out=largest)
        return self._largest

    def argmax(self, elements: list[Array], maxima: Array) -> Array:
        """Return a plane with the number of the first element that equals the `maximum`.

        `maxima` are the outputs of that. Of elements that are all minus infinity it is the first
        inside the image, of NaN the last.
        """
        xp, largest, index = self.xp, self.run(self._largest), self.run(self._index)
        unequal = xp.not_equal(elements[0], largest)
        index[...] = unequal
        for element in elements[1:-1]:
            unequal &= element != largest
            index += unequal
        # rare: either makes the sum something else than a number
        with np.errstate(invalid="ignore", over="ignore"):
            total = maxima.sum()
        if not xp.isfinite(total):
            sizes = (self.OH, self.OW), self.kernel_size, self.stride, self.padding
            first = xp.asarray(_first_inside(*sizes), index.dtype)
            self.outputs(self._index)[...] = first[..., None]
            running_argmax(xp, elements, largest, index)
        return self._index

    def outputs(self, plane: Array, outer: int | None = None) -> Array:
        """Return the view (outer, OH, OW, inner) of a plane: what belongs to a window."""
        return plane[:outer, : self.OH, : self.OW]


def running_argmax(xp: Any, elements: list[Array], largest: Array, index: Array) -> None:
    """Write the largest of `elements` to `largest`, and which it is to `index` unless the first."""
    number = xp.empty_like(index)
    largest[...] = elements[0]
    for k, element in enumerate(elements[1:], start=1):
        is_larger = (element > largest) | xp.isnan(element)
        xp.maximum(element, largest, out=largest)
        # numbers rise, so the largest number of one that was larger is that of the last
        xp.multiply(is_larger.view(np.uint8), index.dtype.type(k), out=number)
        xp.maximum(index, number, out=index)


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
