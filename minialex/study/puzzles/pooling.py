"""Puzzles about pooling, maxima and local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.autograd import OPS
from minialex.ops._windows import (
    argmax_dtype,
    output_length,
    pad_windows,
    unpad_images,
    window_elements,
)
from minialex.study.puzzles.puzzle import BACKWARD, Puzzle
from minialex.study.puzzles.python_puzzles import (
    Backward,
    Forward,
    Functions,
    OpPuzzle,
    own_backward,
)

Pair = tuple[int, int]


def _max_backward(f: Functions) -> tuple[Forward, Backward]:
    def backward(gy: Any, saved: Any, **window: Any) -> tuple[Any]:
        argmax, shape = saved
        gx = pad_windows(np.zeros(shape, gy.dtype), **window)
        elements = window_elements(gx, window["kernel_size"], window["stride"])
        f.scatter(gy, argmax, elements)
        return (unpad_images(gx, window["padding"], shape),)

    return own_backward("max_pool2d", backward)


def _max_forward(f: Functions) -> tuple[Forward, Backward]:
    def forward(x: Any, **window: Any) -> tuple[Any, tuple[Any, Any]]:
        elements, inside = (
            window_elements(pad_windows(a, **window), window["kernel_size"], window["stride"])
            for a in (x, np.ones((1, 1, *x.shape[2:]), bool))
        )
        y, argmax = f.maxima(elements, inside)
        return y, (argmax.astype(argmax_dtype(window["kernel_size"])), x.shape)

    return forward, OPS["max_pool2d"].implementations["plain"].backward


def _max(f: Functions) -> tuple[Forward, Backward]:
    def backward(gy: Any, saved: Any, *, dims: tuple[int, ...], keepdim: bool) -> tuple[Any]:
        x, y = saved
        return (f.backward(gy if keepdim else np.expand_dims(gy, dims), x, y, dims),)

    return own_backward("max", backward)


def _average(f: Functions) -> tuple[Forward, Backward]:
    """Return average pooling whose counts along an axis are the solution's."""

    def counts(
        shape: Any,
        include: bool,
        *,
        kernel_size: Pair,
        stride: Pair,
        padding: Pair,
        ceil_mode: bool,
    ) -> Any:
        along = (
            f.taps(size, k, output_length(size, k, s, p, ceil_mode=ceil_mode), s, p, include)
            for size, k, s, p in zip(shape[2:], kernel_size, stride, padding, strict=True)
        )
        rows, columns = map(np.asarray, along)
        return rows[:, None] * columns

    def forward(x: Any, *, count_include_pad: bool, **window: Any) -> tuple[Any, tuple[Any]]:
        elements = window_elements(
            pad_windows(x, **window), window["kernel_size"], window["stride"]
        )
        below = counts(x.shape, count_include_pad, **window).astype(x.dtype)
        return sum(elements) / below, (x.shape,)

    def backward(gy: Any, saved: Any, *, count_include_pad: bool, **window: Any) -> tuple[Any]:
        (shape,) = saved
        gx = pad_windows(np.zeros(shape, gy.dtype), **window)
        share = gy / counts(shape, count_include_pad, **window).astype(gy.dtype)
        for element in window_elements(gx, window["kernel_size"], window["stride"]):
            element += share
        return (unpad_images(gx, window["padding"], shape),)

    return forward, backward


def _adaptive(f: Functions) -> tuple[Forward, Backward]:
    """Return adaptive average pooling whose cells along an axis are the solution's."""

    def cells(shape: Any, output_size: Pair) -> list[tuple[int, int, slice, slice]]:
        rows, columns = (f.cells(n, count) for n, count in zip(shape[2:], output_size, strict=True))
        return [
            (i, j, slice(*r), slice(*c)) for i, r in enumerate(rows) for j, c in enumerate(columns)
        ]

    def forward(x: Any, *, output_size: Pair) -> tuple[Any, tuple[Any]]:
        y = np.zeros((*x.shape[:2], *output_size), x.dtype)
        for i, j, rows, columns in cells(x.shape, output_size):
            y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
        return y, (x.shape,)

    def backward(gy: Any, saved: Any, *, output_size: Pair) -> tuple[Any]:
        gx = np.zeros(saved[0], gy.dtype)
        for i, j, rows, columns in cells(gx.shape, output_size):
            cell = gx[:, :, rows, columns]
            cell += gy[:, :, i : i + 1, j : j + 1] / (cell.shape[2] * cell.shape[3])
        return (gx,)

    return forward, backward


PUZZLES: list[Puzzle] = [
    OpPuzzle(
        name="max-pool-backward",
        title="Overlapping max-pooling windows",
        kind=BACKWARD,
        topic="pooling",
        op="max_pool2d",
        implement=_max_backward,
        functions=("scatter",),
        task="""
        Forward kept argmax, of the shape of y: which element of its window is the maximum, counted
        row by row from 0. elements is a list with one array per element of a window, of the shape
        of y: elements[k][..., i, j] is the gradient of the pixel that is element k of window (i,
        j). They are views of one image of zeros, so writing to them writes to that; where windows
        overlap, several of them are the same pixel. Give each pixel its gradient.
        """,
        hint="AlexNet's windows are 3 wide and 2 apart: a pixel can be the maximum of four "
        "windows.",
        why="Each window gives its gradient to the one element that won; a pixel that won several "
        "windows gets the sum, so += and not =.",
        template="""
        import numpy as np


        def scatter(gy, argmax, elements):
            for k, element in enumerate(elements):
                @@
        """,
        begun="element[...] = np.where(argmax == k, gy, 0)",
        solved="element += np.where(argmax == k, gy, 0)",
    ),
    OpPuzzle(
        name="max-pool-ties",
        title="Among equals the first wins, and padding never does",
        kind=BACKWARD,
        topic="pooling",
        op="max_pool2d",
        implement=_max_forward,
        functions=("maxima",),
        task="""
        elements is a list with one array per element of a window, row by row: elements[k][..., i,
        j] is element k of window (i, j); inside[k][..., i, j] says whether it is in the image.
        What is not is padding, which is never the maximum, though elements has 0 there. Return the
        maxima y and argmax, the k that each is from. Among equals the first counts; a NaN is
        larger than everything, and of several the last counts.
        """,
        hint="Go through the elements and keep what is better than all before. What if the first "
        "one in the image is minus infinity?",
        why="An element wins if it is inside and the first there, or larger than the best so far, "
        "or NaN: > leaves equals to the first, and no number is larger than a NaN.",
        template="""
        import numpy as np


        def maxima(elements, inside):
            y, argmax = np.zeros_like(elements[0]), np.full(elements[0].shape, -1)
            for k, element in enumerate(elements):
                @@
                y, argmax = np.where(wins, element, y), np.where(wins, k, argmax)
            return y, argmax
        """,
        begun="wins = inside[k] & (element >= y)",
        solved="wins = inside[k] & ((argmax < 0) | (element > y) | np.isnan(element))",
    ),
    OpPuzzle(
        name="max-ties",
        title="Sharing a gradient among equals",
        kind=BACKWARD,
        topic="maxima",
        op="max",
        implement=_max,
        functions=("backward",),
        task="""
        y is the maximum of x over the axes dims, which stay as axes of length 1 in y and gy. Of
        several elements that are equal to the maximum each gets the same share of the gradient,
        and the shares add up to the whole. Return the gradient of x.
        """,
        hint="How many elements share each gradient?",
        why="With m equals each gets 1/m: the sum of the gradients is what came in, as it is "
        "where one element is the maximum alone.",
        template="""
        import numpy as np


        def backward(gy, x, y, dims):
            largest = (x == y).astype(x.dtype)
            @@
        """,
        begun="return gy * largest",
        solved="return gy * largest / largest.sum(axis=dims, keepdims=True)",
    ),
    OpPuzzle(
        name="avg-pool-border",
        title="What a window at the border is divided by",
        kind=BACKWARD,
        topic="pooling",
        op="avg_pool2d",
        implement=_average,
        functions=("taps",),
        task="""
        Along an axis of size pixels, window i of count windows covers kernel pixels from i stride
        - padding on. With include_pad, its pixels in the padding count as well, which lies on both
        sides of the image and is padding wide. The last window may reach beyond that: what is
        beyond never counts. Return how many pixels count of each window, an array of whole
        numbers.
        """,
        hint="Cut each window off on both sides. Where is the end of what counts?",
        why="A window is cut off at the image's end, or at the padding's where that counts; in "
        "front it is cut off at 0 only where the padding does not count, as none begins "
        "before that.",
        template="""
        import numpy as np


        def taps(size, kernel, count, stride, padding, include_pad):
            begin = np.arange(count) * stride - padding
            @@
        """,
        begun="return np.full(count, kernel)",
        solved="""
        end = np.minimum(begin + kernel, size + padding if include_pad else size)
        return end - (begin if include_pad else np.maximum(begin, 0))
        """,
    ),
    OpPuzzle(
        name="adaptive-cells",
        title="Six cells of thirteen pixels",
        kind=BACKWARD,
        topic="pooling",
        op="adaptive_avg_pool2d",
        implement=_adaptive,
        functions=("cells",),
        task="""
        Adaptive pooling divides an axis of size pixels into count cells: cell i goes from pixel i
        size / count, rounded down, up to, not including, (i + 1) size / count, rounded up. Cells
        may overlap, and there may be more cells than pixels. Return a list of (first, end).
        """,
        hint="-(-a // b) is a / b rounded up.",
        why="Rounding the end up, where the next cell begins rounded down, is what makes cells "
        "overlap, and never empty.",
        template="""
        def cells(size, count):
            @@
        """,
        begun="""
        length = size // count
        return [(i * length, (i + 1) * length) for i in range(count)]
        """,
        solved="return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]",
    ),
    OpPuzzle(
        name="lrn",
        title="The second term of LRN's gradient",
        kind=BACKWARD,
        topic="normalisation",
        op="local_response_norm",
        implement=lambda f: own_backward(
            "local_response_norm",
            lambda gy, saved, *, size, alpha, beta, k: (f.backward(gy, *saved, size, alpha, beta),),
        ),
        functions=("backward",),
        task="""
        s[c] = k + alpha times the sum of x[j]^2 over the channels j around c, and y[c] = x[c]
        s[c]^-beta. Given gy, x and s, return the gradient of x: x[c] is in y[c] twice, once in
        front and once in s[c], and it is in s of the other channels whose windows hold c.
        window_sum(v, size) is the sum of v over the channels around each.
        """,
        hint="ds[j]/dx[c] = 2 alpha x[c] for every window j that holds c, and windows are "
        "symmetric.",
        why="Through s[j] comes gy[j] x[j] (-beta) s[j]^(-beta - 1) 2 alpha x[c]; the sum over "
        "the windows j that hold c is the one over those around c.",
        template="""
        import numpy as np


        def window_sum(v, size):
            C, half = v.shape[1], min(size // 2, v.shape[1])
            padded = np.pad(v, ((0, 0), (half, half), (0, 0), (0, 0)))
            return sum(padded[:, d : d + C] for d in range(2 * half + 1))


        def backward(gy, x, s, size, alpha, beta):
            @@
        """,
        begun="return gy * s**-beta",
        solved="""
        nearby = window_sum(gy * x * s ** (-beta - 1), size)
        return gy * s**-beta - 2 * alpha * beta * x * nearby
        """,
    ),
]
