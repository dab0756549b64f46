"""The layers of AlexNet: parameters, their initial values, and a call to the op. No maths."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import ops, philox
from minialex.autograd import Tensor
from minialex.autograd.conversion import flag
from minialex.nn.init import checked_generator, he_normal
from minialex.nn.module import Module, Parameter
from minialex.ops._arguments import (
    conv_padding,
    odd_number,
    pair,
    pooling_window,
    positive_number,
    probability,
    real_number,
    whole_number,
)
from minialex.ops.cross_entropy import checked_settings, checked_weight

IntPair = int | tuple[int, int]


def _settings(layer: Module, **defaults: Any) -> str:
    """Return ", name=value" for each setting that differs from its default."""
    shown = ""
    for name, default in defaults.items():
        value = getattr(layer, name)
        if value != default:
            same = isinstance(value, tuple) and value[0] == value[1]
            shown += f", {name}={value[0] if same else value}"
    return shown


def _zero_bias(layer: str, size: int, bias: bool) -> Parameter | None:
    return Parameter(np.zeros(size, np.float32)) if flag(layer, "bias", bias) else None


def _no_bias(layer: Conv2d | Linear) -> str:
    return ", bias=False" if layer.bias is None else ""


class Conv2d(Module):
    """Convolution over images; see `minialex.ops.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (height, width)
        The padding may be "same" or "valid" too.
    groups : int
        Divides both channel counts: inputs and outputs are cut into that many separate parts.
    bias : bool
    generator : Generator, optional
        Draws the initial weights, which are `he_normal`; the bias starts at 0.

    Attributes
    ----------
    weight : Parameter (out_channels, in_channels / groups, KH, KW)
    bias : Parameter (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        generator: philox.Generator | None = None,
    ) -> None:
        super().__init__()
        in_channels = positive_number("Conv2d", "in_channels", in_channels)
        out_channels = positive_number("Conv2d", "out_channels", out_channels)
        kernel = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.padding = conv_padding("Conv2d", padding, self.stride)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = whole_number("Conv2d", "groups", groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups {groups} must divide in_channels {in_channels} "
                f"and out_channels {out_channels}"
            )
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = Parameter(he_normal(shape, generator))
        self.bias = _zero_bias("Conv2d", out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x` (N, C, H, W) with the weights."""
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def describe(self) -> str:
        """Return channels, kernel and what differs from the defaults."""
        O, C, KH, KW = self.weight.shape
        defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        return f"{C * self.groups}, {O}, {KH}x{KW}{_settings(self, **defaults)}{_no_bias(self)}"


class Linear(Module):
    """A fully connected layer; see `minialex.ops.linear`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    generator : Generator, optional
        Draws the initial weights, which are `he_normal`; the bias starts at 0.
    gain : float
        For `he_normal`. The last layer of a classifier starts better with a small one: all classes
        are then about equally likely at first, and the loss is close to ln(classes).

    Attributes
    ----------
    weight : Parameter (out_features, in_features)
    bias : Parameter (out_features,) or None
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        generator: philox.Generator | None = None,
        gain: float = 2.0,
    ) -> None:
        super().__init__()
        in_features = positive_number("Linear", "in_features", in_features)
        out_features = positive_number("Linear", "out_features", out_features)
        self.weight = Parameter(he_normal((out_features, in_features), generator, gain))
        self.bias = _zero_bias("Linear", out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return x w^T + b for `x` (..., in_features)."""
        return ops.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """Return both sizes."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}{_no_bias(self)}"


class ReLU(Module):
    """max(x, 0); see `minialex.ops.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent; see `minialex.ops.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tanh x."""
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x); see `minialex.ops.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + e^-x)."""
        return ops.sigmoid(x)


class MaxPool2d(Module):
    """The largest element of each window; see `minialex.ops.max_pool2d`."""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        pooling_window("MaxPool2d", kernel_size, stride, padding, ceil_mode)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of the windows of `x` (N, C, H, W)."""
        return ops.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode
        )

    def describe(self) -> str:
        """Return window, stride and what differs from the defaults."""
        shown = _settings(self, padding=0, ceil_mode=False)
        return f"{self.kernel_size}, stride={self.stride or self.kernel_size}{shown}"


class AvgPool2d(Module):
    """The mean of each window; see `minialex.ops.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        pooling_window("AvgPool2d", kernel_size, stride, padding, ceil_mode)
        flag("AvgPool2d", "count_include_pad", count_include_pad)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of the windows of `x` (N, C, H, W)."""
        return ops.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def describe(self) -> str:
        """Return window, stride and what differs from the defaults."""
        shown = _settings(self, padding=0, ceil_mode=False, count_include_pad=True)
        return f"{self.kernel_size}, stride={self.stride or self.kernel_size}{shown}"


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen to give a wanted size; see `minialex.ops.adaptive_avg_pool2d`."""

    def __init__(self, output_size: IntPair) -> None:
        super().__init__()
        pair("AdaptiveAvgPool2d", "output_size", output_size, 1)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, C, H, W) averaged down to (N, C, *output_size)."""
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def describe(self) -> str:
        """Return the size of the output."""
        return str(self.output_size)


class LocalResponseNorm(Module):
    """Normalisation across channels in the paper's form; see `minialex.ops.local_response_norm`."""

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
    ) -> None:
        super().__init__()
        self.size = odd_number("LocalResponseNorm", "size", size)
        self.alpha = real_number("LocalResponseNorm", "alpha", alpha)
        self.beta = real_number("LocalResponseNorm", "beta", beta)
        self.k = real_number("LocalResponseNorm", "k", k)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x` (N, C, H, W)."""
        return ops.local_response_norm(
            x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k
        )

    def describe(self) -> str:
        """Return the constants."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class Dropout(Module):
    """Drops elements while training, and does nothing otherwise; see `minialex.ops.dropout`.

    Parameters
    ----------
    p : float
        The probability that an element is dropped, from 0 to 1.
    generator : Generator, optional
        Hands out a fresh random stream for each call; the default generator where none is given.
    """

    def __init__(self, p: float = 0.5, generator: philox.Generator | None = None) -> None:
        super().__init__()
        self.p, self.generator = probability("Dropout", p), checked_generator("Dropout", generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with elements dropped, or `x` itself."""
        if not self.training or self.p == 0:
            return x
        return ops.dropout(x, self.p, **self.generator.draw())

    def describe(self) -> str:
        """Return the probability."""
        return str(self.p)


class Flatten(Module):
    """Joins all axes but the first: (N, C, H, W) to (N, C H W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` as (N, features)."""
        return ops.flatten(x, 1)


class CrossEntropyLoss(Module):
    """The cross-entropy of logits and targets; see `minialex.ops.cross_entropy`.

    Parameters
    ----------
    weight : array (C,), optional
        How much each class counts: finite and not negative.
    ignore_index : int
    reduction : "mean", "sum" or "none"
    label_smoothing : float
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        checked_settings("CrossEntropyLoss", ignore_index, reduction, label_smoothing)
        if weight is not None:
            checked_weight("CrossEntropyLoss", weight)
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, logits: Tensor, targets: Any) -> Tensor:
        """Return the loss of `logits` (N, C), with classes (N,) or probabilities (N, C)."""
        return ops.cross_entropy(
            logits,
            targets,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def describe(self) -> str:
        """Return what differs from the defaults."""
        shown = _settings(self, ignore_index=-100, reduction="mean", label_smoothing=0.0)
        return shown.removeprefix(", ")
