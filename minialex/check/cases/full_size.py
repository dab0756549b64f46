"""AlexNet's layers at their full size: the 2012 network and the one of one column.

The references are too slow here; see `adjoint` for what is checked instead.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from minialex.check.case import Case, Inputs
from minialex.check.cases import layers, windows
from minialex.check.cases.inputs import Draw, Rng


def _drawn(*shapes: tuple[int, ...] | None) -> Draw:
    """Return a draw of normal numbers in float32: there are tens of millions of them."""

    def draw(rng: Rng) -> Inputs:
        return tuple(None if s is None else rng.standard_normal(s, np.float32) for s in shapes)

    return draw


def _conv(
    name: str,
    x: tuple[int, ...],
    O: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Case:
    case = windows.conv(
        name,
        x,
        O,
        (kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        groups=groups,
    )
    draw = _drawn(x, (O, x[1] // groups, kernel, kernel), (O,))
    return dataclasses.replace(case, inputs=draw)


def _linear(name: str, N: int, I: int, O: int) -> Case:
    case = layers.linear(name, (N, I), O)
    return dataclasses.replace(case, inputs=_drawn((N, I), (O, I), (O,)))


def _pool(name: str, x: tuple[int, ...]) -> Case:
    case = windows.pool(name, x, (3, 3), stride=(2, 2))
    return dataclasses.replace(case, inputs=_drawn(x))


def cases(batch: int = 1) -> dict[str, list[Case]]:
    """Return the layers for batches of so many images."""
    N = batch
    ten = np.arange(128) * 7 % 1000
    return {
        "conv2d": [
            _conv("first, 64 of 11x11", (N, 3, 227, 227), 64, 11, stride=4, padding=2),
            _conv("second, 192 of 5x5", (N, 64, 27, 27), 192, 5, padding=2),
            _conv("third, 384 of 3x3", (N, 192, 13, 13), 384, 3, padding=1),
            _conv("fourth, 256 of 3x3", (N, 384, 13, 13), 256, 3, padding=1),
            _conv("fifth, 256 of 3x3", (N, 256, 13, 13), 256, 3, padding=1),
            _conv("2012's first, 96 of 11x11", (N, 3, 227, 227), 96, 11, stride=4),
            _conv("2012's second, two groups", (N, 96, 27, 27), 256, 5, padding=2, groups=2),
            _conv("2012's fourth, two groups", (N, 384, 13, 13), 384, 3, padding=1, groups=2),
        ],
        "max_pool2d": [
            _pool("first, of 56x56", (N, 64, 56, 56)),
            _pool("second, of 27x27", (N, 192, 27, 27)),
            _pool("third, of 13x13", (N, 256, 13, 13)),
            _pool("2012's first, of 55x55", (N, 96, 55, 55)),
        ],
        "adaptive_avg_pool2d": [windows.adaptive("6x6 of 6x6", (N, 256, 6, 6), (6, 6))],
        "avg_pool2d": [
            windows.pool(
                "6x6 of 6x6",
                (N, 256, 6, 6),
                (6, 6),
                draw=lambda x: _drawn(x),
                count_include_pad=True,
            )
        ],
        "relu": [
            Case("first layer", _drawn((N, 64, 56, 56)), homogeneous=(0,)),
            Case("4096", _drawn((N, 4096)), homogeneous=(0,)),
        ],
        "linear": [
            _linear("9216 to 4096", N, 9216, 4096),
            _linear("4096 to 4096", N, 4096, 4096),
            _linear("4096 to 1000", N, 4096, 1000),
        ],
        "dropout": [layers.dropout("9216", (max(N, 32), 9216), 0.5, 5, 17)],
        "local_response_norm": [
            layers.lrn("2012's first", (N, 96, 55, 55), *layers.PAPER),
            layers.lrn("2012's second", (N, 256, 27, 27), *layers.PAPER),
            layers.lrn("2012's first, every term matters", (N, 96, 55, 55), 5, 0.7, 0.75, 1.0),
        ],
        "softmax": [Case("1000 classes", _drawn((128, 1000)), {"dim": 1})],
        "log_softmax": [Case("1000 classes", _drawn((128, 1000)), {"dim": 1})],
        "cross_entropy": [
            layers.cross_entropy("1000 classes", _drawn((128, 1000)), ten),
            layers.cross_entropy("1000 classes, smoothed", _drawn((128, 1000)), ten, smoothing=0.1),
        ],
    }
