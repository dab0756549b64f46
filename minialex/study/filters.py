"""Filters: the weights of a convolution, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minialex.arrays import to_numpy
from minialex.errors import MinialexError
from minialex.nn import Conv2d, Module
from minialex.study.features import HostFloats, PerChannel, largest_first, per_channel
from minialex.study.layers import layer_name, layer_text, named_layers

SCHEMA = "minialex-filters 1"

_ALL_BUT_FILTERS = (1, 2, 3)


def _sum_of_squares(w: HostFloats) -> PerChannel:
    return per_channel(np.square(w, dtype=np.float64).sum(_ALL_BUT_FILTERS))


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of one convolution.

    Attributes
    ----------
    name : str
        The layer's, such as ``features.0``.
    layer : str
        Its class and arguments.
    weights : (O, C, KH, KW) array
        One filter per output channel, over the C input channels that it sees.
    groups : int
        Of so many groups: filter o sees the channels from ``first_input(o)`` on.
    """

    name: str
    layer: str
    weights: HostFloats
    groups: int = 1

    def first_input(self, o: int) -> int:
        """Return the first input channel that filter `o` sees."""
        O, C, *_ = self.weights.shape
        return int(o // (O // self.groups) * C)

    @property
    def is_rgb(self) -> bool:
        """Whether the three channels that a filter sees are those of an image."""
        return self.weights.shape[1] == 3 and self.groups == 1

    @cached_property
    def norm(self) -> PerChannel:
        """The length of each filter, sqrt(sum of w^2)."""
        return np.sqrt(_sum_of_squares(self.weights))

    @cached_property
    def mean(self) -> PerChannel:
        """The mean weight of each filter."""
        return per_channel(self.weights.mean(_ALL_BUT_FILTERS, dtype=np.float64))

    @cached_property
    def minimum(self) -> PerChannel:
        """The least weight of each filter."""
        return per_channel(self.weights.min(_ALL_BUT_FILTERS))

    @cached_property
    def maximum(self) -> PerChannel:
        """The largest weight of each filter."""
        return per_channel(self.weights.max(_ALL_BUT_FILTERS))

    @cached_property
    def zeros(self) -> PerChannel:
        """The share of each filter's weights that are 0, from 0 to 1."""
        return per_channel((self.weights == 0).mean(_ALL_BUT_FILTERS))

    @cached_property
    def colour(self) -> PerChannel | None:
        """How much each filter looks at colour, from 0 to 1; None where it sees no RGB.

        It is the share of the sum of w^2 that is left when the mean of red, green and blue is
        subtracted: 0 where the three are alike, and only light and dark count.
        """
        if not self.is_rgb:
            return None
        w = self.weights.astype(np.float64)
        rest = _sum_of_squares(w - w.mean(1, keepdims=True))
        return rest / np.maximum(_sum_of_squares(w), np.finfo(np.float64).tiny)

    def strongest(self, count: int) -> list[int]:
        """Return so many filters, those of the largest `norm` first."""
        return largest_first(self.norm, count)

    def strongest_inputs(self, o: int, count: int) -> list[int]:
        """Return so many of the C channels of filter `o`, those of the largest norm first."""
        return largest_first(_sum_of_squares(self.weights[o][:, None]), count)

    def record(self) -> dict[str, Any]:
        """Return what there is to say of every filter, as a dictionary that JSON can hold."""
        columns = {
            "norm": self.norm,
            "mean": self.mean,
            "min": self.minimum,
            "max": self.maximum,
            "zeros": self.zeros,
        }
        if self.colour is not None:
            columns["colour"] = self.colour
        return {
            "schema": SCHEMA,
            "name": self.name,
            "layer": self.layer,
            "shape": list(self.weights.shape),
            "groups": self.groups,
            "filters": [
                {
                    "filter": o,
                    "first_input": self.first_input(o),
                    **{name: float(x[o]) for name, x in columns.items()},
                }
                for o in range(len(self.weights))
            ],
        }


def filters_of(model: Module, name: str | None = None) -> Filters:
    """Return the filters of a convolution, by default of the first.

    Raises
    ------
    MinialexError
        If there is no convolution of that name.
    """
    convolutions = {layer_name(n, m): m for n, m in named_layers(model) if isinstance(m, Conv2d)}
    if not convolutions:
        raise MinialexError(f"{type(model).__name__} has no convolution, so no filters to look at")
    if name is None:
        name = next(iter(convolutions))
    if name not in convolutions:
        raise MinialexError(f"{name!r} is no convolution; there are: {', '.join(convolutions)}")
    layer = convolutions[name]
    return Filters(name, layer_text(layer), np.asarray(to_numpy(layer.weight.data)), layer.groups)
