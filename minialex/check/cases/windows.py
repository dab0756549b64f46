"""Cases of convolution and pooling."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minialex.check.case import Answer, Case
from minialex.check.cases import not_finite
from minialex.check.cases.inputs import constant, distinct, normal, tied

Pair = tuple[int, int]
Shape = tuple[int, ...]


def conv(
    name: str,
    x: Shape,
    O: int,
    kernel: Pair,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    bias: bool = True,
) -> Case:
    """Return a case of a convolution of `x` with `O` filters."""
    shapes = (x, (O, x[1] // groups, *kernel), (O,) if bias else None)
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Case(name, normal(*shapes), params, linear=(0, 1, 2) if bias else (0, 1))


def pool(
    name: str,
    x: Shape,
    kernel: Pair,
    *,
    stride: Pair | None = None,
    padding: Pair = (0, 0),
    ceil_mode: bool = False,
    draw: Any = distinct,
    **more: Any,
) -> Case:
    """Return a case of a pooling with windows of `kernel`."""
    params = {"kernel_size": kernel, "stride": stride or kernel, "padding": padding, **more}
    params["ceil_mode"] = ceil_mode
    return Case(name, draw(x), params, homogeneous=(0,))


def adaptive(name: str, x: Shape, size: Pair) -> Case:
    """Return a case of an adaptive pooling to `size` cells."""
    return Case(name, normal(x), {"output_size": size}, linear=(0,))


def _averages(include: bool) -> list[Case]:
    """Return the cases of average pooling, linear where the maximum is only homogeneous."""
    words = "with" if include else "without"
    return [
        dataclasses.replace(
            case, name=f"{case.name}, {words} the padding", linear=(0,), homogeneous=()
        )
        for case in _pools(draw=normal, count_include_pad=include)
    ]


def _pools(**more: Any) -> list[Case]:
    """Return what both kinds of pooling are tried on."""
    return [
        pool("AlexNet's 3x3 by 2, small", (2, 3, 7, 7), (3, 3), stride=(2, 2), **more),
        pool("AlexNet's 3x3 by 2, 13x13", (1, 4, 13, 13), (3, 3), stride=(2, 2), **more),
        pool("2x2", (2, 2, 4, 6), (2, 2), **more),
        pool("window 2x3, stride 1x2", (1, 2, 5, 8), (2, 3), stride=(1, 2), **more),
        pool("stride beyond the window", (2, 1, 9, 7), (2, 2), stride=(3, 4), **more),
        pool("last rows left out", (1, 2, 8, 6), (3, 3), stride=(2, 2), **more),
        pool("padded", (2, 2, 5, 6), (3, 3), stride=(2, 2), padding=(1, 1), **more),
        pool("padded 2x1", (1, 2, 6, 5), (4, 3), stride=(3, 1), padding=(2, 1), **more),
        pool("window of one", (2, 2, 3, 4), (1, 1), **more),
        pool("the whole image", (2, 3, 5, 4), (5, 4), **more),
        pool("31x33", (1, 1, 31, 33), (3, 3), stride=(2, 2), **more),
        pool("1x257", (1, 1, 1, 257), (1, 3), stride=(1, 2), **more),
        pool("1x1025", (1, 1, 1, 1025), (1, 5), stride=(1, 5), **more),
        pool("several blocks of threads", (2, 5, 33, 31), (3, 3), stride=(2, 2), **more),
        pool("in 1, 3, 6 and 9 windows", (1, 2, 11, 10), (5, 3), stride=(2, 1), **more),
        pool("32 columns", (1, 2, 9, 32), (2, 3), stride=(2, 3), padding=(1, 1), **more),
        pool("256 pixels", (2, 1, 16, 16), (3, 3), stride=(1, 1), padding=(1, 1), **more),
        pool("empty batch", (0, 2, 4, 4), (2, 2), **more),
        pool("last windows of one pixel", (2, 2, 5, 7), (2, 2), ceil_mode=True, **more),
        pool(
            "last windows beyond the padding, or left out",
            *((1, 2, 6, 6), (3, 2)),
            stride=(2, 5),
            padding=(1, 1),
            ceil_mode=True,
            **more,
        ),
        pool(
            "last columns beyond the padding, rows left out",
            *((1, 2, 6, 6), (2, 3)),
            stride=(5, 2),
            padding=(1, 1),
            ceil_mode=True,
            **more,
        ),
        pool("a window larger than the image", (1, 3, 2, 3), (4, 3), ceil_mode=True, **more),
    ]


def _first_wins() -> Case:
    """Return windows of equals: the gradient goes to the first in row-major order."""
    x = np.array([[[[1.0, 1, 0, 2], [1, 1, 2, 2], [0, 3, 3, 0]]]])
    gy = np.array([[[[1.0, 2, 4], [8, 16, 32]]]])
    gx = np.array([[[[1.0, 2, 0, 4], [0, 0, 0, 0], [0, 8 + 16, 32, 0]]]])
    params = {"kernel_size": (2, 2), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}
    # the window of columns 1 and 2 has its only 2 in its last place
    gx[0, 0, 0, 1], gx[0, 0, 1, 2] = 0, 2
    return Case("the first of equals wins", constant(x), params, answer=Answer(gy, (gx,)))


def _not_finite() -> Case:
    """Return the case of windows of -inf alone, which still beats padding, and of one with NaN."""
    x = np.array([-np.inf, -np.inf, -np.inf, -np.inf, np.nan, np.inf]).reshape(1, 1, 2, 3)
    gy = np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 2, 2)
    gx = np.array([1.0, 2.0, 0.0, 4.0, 8.0, 0.0]).reshape(1, 1, 2, 3)
    params = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False}
    return Case("not finite", constant(x), params, answer=Answer(gy, (gx,)))


def _nan_wins() -> Case:
    """Return windows in which a NaN follows and precedes numbers; of several the last wins."""
    x = np.array([[[[1.0, np.nan, 3.0, np.nan, np.nan, 2.0]]]])
    params = {"kernel_size": (1, 3), "stride": (1, 3), "padding": (0, 0), "ceil_mode": False}
    gy, gx = np.array([[[[1.0, 2.0]]]]), np.array([[[[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]]]])
    return Case("NaN among numbers", constant(x), params, answer=Answer(gy, (gx,)))


def _padding_loses() -> Case:
    """Return negative numbers beside padding, which is no number and never wins."""
    x = np.array([[[[-1.0, -2.0], [-3.0, -1.0]]]])
    params = {"kernel_size": (2, 2), "stride": (1, 1), "padding": (1, 1), "ceil_mode": False}
    gy = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    gx = np.array([[[[1.0 + 2 + 4 + 5, 3.0], [7.0, 6.0 + 8 + 9]]]])
    return Case("padding loses to negative numbers", constant(x), params, answer=Answer(gy, (gx,)))


CASES: dict[str, list[Case]] = {
    "conv2d": [
        conv("small", (2, 3, 5, 6), 4, (3, 3)),
        conv("without a bias", (2, 2, 4, 5), 3, (2, 3), bias=False),
        conv(
            "AlexNet's first, 11x11 by 4, small",
            (1, 3, 19, 23),
            2,
            (11, 11),
            stride=(4, 4),
            padding=(2, 2),
        ),
        conv("2012's first, no padding", (1, 3, 19, 15), 2, (11, 11), stride=(4, 4)),
        conv("AlexNet's second, 5x5", (1, 4, 7, 7), 3, (5, 5), padding=(2, 2)),
        conv("2012's second, two groups", (1, 4, 7, 6), 6, (5, 5), padding=(2, 2), groups=2),
        conv("AlexNet's third, 3x3", (2, 6, 5, 5), 4, (3, 3), padding=(1, 1)),
        conv("two groups, 3x3", (2, 4, 5, 4), 6, (3, 3), padding=(1, 1), groups=2),
        conv("a group a channel", (1, 3, 4, 5), 3, (3, 2), groups=3),
        conv("a group a channel, two filters each", (2, 3, 4, 4), 6, (2, 2), groups=3),
        conv("kernel 1x1", (2, 3, 4, 5), 4, (1, 1)),
        conv("kernel 1x1, stride 2", (1, 2, 5, 7), 3, (1, 1), stride=(2, 2)),
        conv("kernel 2x4, stride 3x1", (1, 2, 8, 7), 2, (2, 4), stride=(3, 1)),
        conv("kernel 4x1, stride 1x3", (1, 2, 6, 8), 2, (4, 1), stride=(1, 3), padding=(0, 1)),
        conv("dilation 2x3", (1, 2, 7, 9), 2, (3, 2), dilation=(2, 3)),
        conv(
            "dilation, stride, padding, groups",
            (2, 4, 9, 8),
            4,
            (3, 2),
            stride=(2, 3),
            padding=(1, 2),
            dilation=(2, 1),
            groups=2,
        ),
        conv("stride 3x4, dilation 2x3", (1, 2, 9, 9), 2, (3, 3), stride=(3, 4), dilation=(2, 3)),
        conv("stride beyond the image", (2, 2, 2, 3), 3, (2, 2), stride=(3, 4)),
        conv("padding 0x3", (1, 1, 3, 2), 2, (2, 3), padding=(0, 3)),
        conv("windows wholly in the padding", (1, 1, 2, 2), 1, (2, 2), padding=(3, 3)),
        conv("padding beyond the stride", (1, 2, 4, 5), 2, (4, 5), stride=(2, 3), padding=(3, 4)),
        conv("the whole image", (2, 2, 4, 3), 3, (4, 3)),
        conv("last rows left out", (1, 2, 8, 7), 2, (3, 3), stride=(2, 3)),
        conv("one pixel", (1, 1, 1, 1), 1, (1, 1)),
        conv("31 channels to 33", (1, 31, 3, 2), 33, (2, 2)),
        conv("36 channels to 70", (2, 36, 5, 4), 70, (3, 2), padding=(1, 1)),
        conv("1x257", (1, 1, 1, 257), 2, (1, 3)),
        conv("1x1025", (1, 1, 1, 1025), 1, (1, 5), stride=(1, 4)),
        conv("batch of 7", (7, 1, 4, 4), 2, (3, 3)),
        conv("batch of 5, 180 filters", (5, 2, 1, 2), 180, (1, 1)),
        conv("empty batch", (0, 2, 4, 4), 3, (3, 3)),
        *not_finite.convolutions(),
    ],
    "max_pool2d": [
        *_pools(),
        pool("close together", (2, 3, 7, 6), (3, 3), stride=(2, 2), draw=normal),
        pool("ties", (2, 2, 6, 6), (3, 3), stride=(2, 2), draw=tied),
        pool("window of 16x16", (1, 1, 19, 18), (16, 16), stride=(3, 2)),
        pool("window of 17x17", (1, 1, 19, 18), (17, 17), stride=(1, 1)),
        pool("padded ties", (1, 3, 9, 8), (3, 4), stride=(2, 3), padding=(1, 2), draw=tied),
        _first_wins(),
        _padding_loses(),
        _not_finite(),
        _nan_wins(),
    ],
    "avg_pool2d": [*_averages(True), *_averages(False)],
    "adaptive_avg_pool2d": [
        adaptive("AlexNet's 6x6 of 6x6", (1, 3, 6, 6), (6, 6)),
        adaptive("6x6 of 13x13", (1, 2, 13, 13), (6, 6)),
        adaptive("the whole image", (2, 3, 5, 7), (1, 1)),
        adaptive("cells overlap", (2, 2, 7, 5), (3, 2)),
        adaptive("more cells than rows", (1, 2, 3, 2), (5, 4)),
        adaptive("31x33 to 4x7", (1, 1, 31, 33), (4, 7)),
        adaptive("1x1025 to 1x3", (1, 1, 1, 1025), (1, 3)),
        adaptive("257x1 to 2x1", (1, 1, 257, 1), (2, 1)),
        adaptive("several blocks of threads", (2, 3, 13, 17), (8, 9)),
        adaptive("256 pixels to 32 cells", (1, 1, 16, 16), (8, 4)),
        adaptive("one pixel", (1, 1, 1, 1), (1, 1)),
        adaptive("empty batch", (0, 2, 4, 4), (2, 2)),
    ],
}
