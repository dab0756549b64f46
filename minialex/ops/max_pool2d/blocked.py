"""max_pool2d in blocks of images that stay in a core's cache, spread over the CPU's cores.

Images are seen as (outer, H, W, inner), which holds for both orders that they come in: (N C, H, W,
1) where channels come first in memory, (N, H, W, C) where they come last.

Forward takes the maxima down the columns, and of these the maxima along the rows: 2 + 2 comparisons
for a window of 3 x 3 instead of 8. For the second step the columns are split into stride phases (a
polyphase decomposition), one for each column modulo the stride: element kw of all windows is then
one contiguous run in phase kw % sw.

    columns   0 1 2 3 4 5      stride 2, kernel 3: window i holds columns 2i, 2i + 1 and 2i + 2,
    phase 0   0   2   4        which are entry i of phase 0,
    phase 1     1   3   5      entry i of phase 1, and entry i + 1 of phase 0

A phase has (KW - 1) // sw more columns than there are windows. The runs go on through these and
compare what is no window; the results there are not read.

The index of a maximum is found likewise: in which row each column has its maximum, and of the
columns whose maximum is the window's, which one has the least index kh KW + kw.

    window  3 7 4   down the columns: maxima 7 7 6, first in rows 1 0 1, with indices 3 1 5; the
            7 1 6   largest, 7, is in columns 0 and 1, and the least of their indices is 1

Backward adds each output's gradient to the maximum alone, at its index in images laid out flat:

    x of 5 x 5, kernel 3, stride 2: the window of output (1, 0) begins at pixel (2, 0), index 10;
    its argmax 5 is element (1, 2), 1 x 5 + 2 = 7 further on: gx.flat[17] += gy[1, 0]
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients
from minialex.cpu import layout, memory, threads
from minialex.cpu.sharing import image_blocks
from minialex.ops._windows import Pair, argmax_dtype, pooled_size
from minialex.ops.max_pool2d import plain

Shape = tuple[int, ...]

Window = tuple[int, int, int]
"""Its size, stride and padding along one axis."""

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
    """Return the maxima, found down the columns and then along the rows."""
    xp, axes = array_module(x), layout.memory_axes(x)
    OH, OW = pooled_size(x.shape, kernel_size, stride, padding, ceil_mode)
    shape = (*x.shape[:2], OH, OW)
    y = layout.empty(xp, shape, x.dtype, axes)
    planes_x, planes_y = as_planes(x, axes), as_planes(y, axes)
    down, along = zip(kernel_size, stride, padding, strict=True)
    beyond = prod(kernel_size)
    if keep:
        argmax = layout.empty(xp, shape, argmax_dtype(kernel_size), axes)
        planes_argmax = as_planes(argmax, axes)

    def pool_blocks(blocks: list[slice]) -> None:
        outer = max(block.stop - block.start for block in blocks)
        columns = (outer, OH, *planes_x.shape[2:])
        maxima = memory.empty(xp, columns, x.dtype)
        phases = ColumnPhases(xp, columns, OW, along, x.dtype, -np.inf)
        if keep:
            # `beyond`, and as many more as a window has columns, are indices of no element
            dtype = np.min_scalar_type(beyond + kernel_size[1])
            indices = memory.empty(xp, columns, dtype)
            index_phases = ColumnPhases(xp, columns, OW, along, dtype, beyond)
        for block in blocks:
            n = block.stop - block.start
            _maxima(xp, planes_x[block], down, maxima[:n])
            elements = phases.elements(maxima[:n])
            largest = _largest(xp, elements)
            planes_y[block] = phases.outputs(largest)[:n]
            if not keep:
                continue
            _first_rows(xp, planes_x[block], down, maxima[:n], indices[:n])
            indices[:n] *= kernel_size[1]
            least = _least_index(xp, elements, index_phases.elements(indices[:n]), largest)
            index = index_phases.outputs(least)[:n]
            if (index >= beyond).any():  # NaN, which equals nothing
                index = _plain_argmax(planes_x[block], kernel_size, stride, padding, ceil_mode)
            planes_argmax[block] = index

    threads.run(pool_blocks, image_blocks(planes_x, BLOCK_BYTES))
    return y, (argmax, x.shape) if keep else ()


def _maxima(xp: Any, x: Array, window: Window, out: Array) -> None:
    """Write the maxima down the columns of planes `x` (outer, H, W, inner) to `out`."""
    size, stride, padding = window
    overlaps = [phase_overlap(k, stride, padding, out.shape[1], x.shape[1]) for k in range(size)]
    # rows that lie inside the image in every window
    inside = [pixels for outputs, pixels in overlaps if outputs == slice(0, out.shape[1])]
    if inside:
        xp.maximum(x[:, inside[0]], x[:, inside[-1]], out=out)
    else:
        out.fill(-np.inf)
    for outputs, pixels in overlaps:
        if pixels not in (*inside[:1], *inside[-1:]):
            xp.maximum(x[:, pixels], out[:, outputs], out=out[:, outputs])


def _first_rows(xp: Any, x: Array, window: Window, maxima: Array, out: Array) -> None:
    """Write which row of a window is the first that has the maximum of its column to `out`.

    As long as no row had it, each one more adds 1.
    """
    size, stride, padding = window
    out[...] = 0
    unequal = xp.ones(out.shape, bool)
    for k in range(size - 1):
        outputs, pixels = phase_overlap(k, stride, padding, out.shape[1], x.shape[1])
        unequal[:, outputs] &= x[:, pixels] != maxima[:, outputs]
        out += unequal.view(np.uint8)


def _largest(xp: Any, elements: list[Array]) -> Array:
    """Return the largest of the elements of each window; NaN is larger than everything."""
    largest: Array = xp.maximum(elements[0], elements[-1])
    for element in elements[1:-1]:
        xp.maximum(element, largest, out=largest)
    return largest


def _least_index(xp: Any, elements: list[Array], indices: list[Array], largest: Array) -> Array:
    """Return the least of the indices kh KW + kw of the elements that equal the largest.

    `indices` are kh KW. Where no element is equal, it is the largest number of their type.
    """
    dtype = indices[0].dtype
    none = np.iinfo(dtype).max
    least: Array = xp.full(largest.shape, none, dtype)
    for kw, (element, index) in enumerate(zip(elements, indices, strict=True)):
        here = xp.multiply((element != largest).view(np.uint8), dtype.type(none))
        here |= index + dtype.type(kw)  # all bits set stay so
        xp.minimum(least, here, out=least)
    return least


def _plain_argmax(
    planes: Array, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Array:
    """Return the argmax of planes (outer, H, W, inner) from the definition."""
    xp = array_module(planes)
    _, (argmax, _) = plain.forward(
        xp.moveaxis(planes, 3, 1),
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
    )
    return xp.moveaxis(argmax, 1, 3)  # type: ignore[no-any-return]


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


class ColumnPhases:
    """The stride phases of columns (outer, OH, W, inner): min(KW, sw) of them, of WQ columns each.

    They hold `outside` where the image has no column.
    """

    def __init__(
        self, xp: Any, columns: Shape, OW: int, window: Window, dtype: npt.DTypeLike, outside: float
    ) -> None:
        self.OW, self.window = OW, window
        (outer, OH, self.W, self.inner), (KW, sw, _) = columns, window
        beyond = (KW - 1) // sw
        self.shape = (outer, OH, OW + beyond, self.inner)
        self.size = prod(self.shape)
        # where the stride exceeds the kernel, no window reaches the last phases: leave them out;
        # the last runs go on beyond a phase
        self.phases = memory.empty(xp, (min(KW, sw), self.size + beyond * self.inner), dtype)
        self.phases.fill(outside)

    def elements(self, columns: Array) -> list[Array]:
        """Return, for each element kw of a window, the run of those of all windows."""
        KW, sw, pw = self.window
        for i, phase in enumerate(self.phases):
            entries, pixels = phase_overlap(i, sw, pw, self.shape[2], self.W)
            plane = phase[: self.size].reshape(self.shape)
            plane[: len(columns), :, entries] = columns[:, :, pixels]
        starts = [(kw % sw, kw // sw * self.inner) for kw in range(KW)]
        return [self.phases[i, start : start + self.size] for i, start in starts]

    def outputs(self, run: Array) -> Array:
        """Return the view (outer, OH, OW, inner) of a run: what belongs to a window."""
        return run.reshape(self.shape)[:, :, : self.OW]


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
