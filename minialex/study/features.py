"""Feature maps: what the layers of a network make of images, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, device_of, on_device
from minialex.autograd import Tensor, no_grad
from minialex.errors import MinialexError
from minialex.nn import Module
from minialex.study.layers import evaluation_mode, layer_name, layer_text, named_layers
from minialex.wording import unknown

SCHEMA = "minialex-features 1"

HostFloats: TypeAlias = npt.NDArray[np.floating[Any]]
PerChannel: TypeAlias = npt.NDArray[np.float64]
_ALL_BUT_CHANNELS = (0, 2, 3)


def per_channel(values: npt.ArrayLike) -> PerChannel:
    """Return numbers, one per channel, as float64."""
    return np.asarray(values, np.float64)


def largest_first(values: PerChannel, count: int) -> list[int]:
    """Return where the largest values are, so many; of equal ones the first comes first."""
    return [int(i) for i in np.argsort(-values, kind="stable")[:count]]


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What one layer makes of some images.

    Attributes
    ----------
    name : str
        Such as ``features.1``.
    layer : str
        Its class and arguments.
    maps : (N, C, H, W) array
        Of each image one map per channel; of a layer whose output is a vector, H = W = 1.
    """

    name: str
    layer: str
    maps: HostFloats

    @cached_property
    def mean(self) -> PerChannel:
        """The mean of each channel, over images and pixels."""
        return per_channel(self.maps.mean(_ALL_BUT_CHANNELS, dtype=np.float64))

    @cached_property
    def strength(self) -> PerChannel:
        """The mean of |x| of each channel."""
        return per_channel(np.abs(self.maps).mean(_ALL_BUT_CHANNELS, dtype=np.float64))

    @cached_property
    def minimum(self) -> PerChannel:
        """The least element of each channel."""
        return per_channel(self.maps.min(_ALL_BUT_CHANNELS))

    @cached_property
    def maximum(self) -> PerChannel:
        """The largest element of each channel."""
        return per_channel(self.maps.max(_ALL_BUT_CHANNELS))

    @cached_property
    def zeros(self) -> PerChannel:
        """The share of each channel's elements that are 0, from 0 to 1."""
        return per_channel((self.maps == 0).mean(_ALL_BUT_CHANNELS))

    @property
    def all_zero(self) -> list[int]:
        """The channels that are 0 everywhere, on all of these images.

        After a ReLU such a channel passes no gradient back either. It is dead if that is so on
        all images that there are: the more were taken, the surer that is.
        """
        return [int(c) for c in np.flatnonzero(self.zeros == 1)]

    @property
    def signed(self) -> bool:
        """Whether an element is below 0."""
        return bool(self.minimum.min() < 0)

    def strongest(self, count: int) -> list[int]:
        """Return so many channels, those of the largest `strength` first."""
        return largest_first(self.strength, count)

    def overview(self) -> dict[str, Any]:
        """Return what there is to say of the whole layer, as a dictionary that JSON can hold."""
        N, C, *size = self.maps.shape
        return {
            "name": self.name,
            "layer": self.layer,
            "images": N,
            "shape": [C, *size],
            "mean": float(self.mean.mean()),
            "mean_magnitude": float(self.strength.mean()),
            "min": float(self.minimum.min()),
            "max": float(self.maximum.max()),
            "zeros": float(self.zeros.mean()),
            "all_zero": self.all_zero,
        }

    def record(self) -> dict[str, Any]:
        """Return the same, and what there is to say of every channel."""
        columns = {
            "mean": self.mean,
            "mean_magnitude": self.strength,
            "min": self.minimum,
            "max": self.maximum,
            "zeros": self.zeros,
        }
        channels = [
            {"channel": c, **{name: float(x[c]) for name, x in columns.items()}}
            for c in range(len(self.mean))
        ]
        return {"schema": SCHEMA, **self.overview(), "channels": channels}


def feature_maps(model: Module, images: Array) -> list[FeatureMaps]:
    """Run images through a network, and return what each layer makes of them.

        model, classes, transform = minialex.load("runs/digits")
        x = prepare(Digits()[8][0][None])
        find_maps(feature_maps(model, x), "features.1").all_zero

    Parameters
    ----------
    model : Module
        It runs in evaluation mode; its modes are left unchanged.
    images : (N, C, H, W) array
        On the device of the model, prepared as for training: see `minialex.data.prepare`.

    Returns
    -------
    list of FeatureMaps
        One for each layer, in the order in which they ran. A layer that runs again has its name
        and ``, run 2``. Of several outputs the first is taken.

    Raises
    ------
    MinialexError
        If a layer gives numbers that are not finite, the first of them being named.
    """
    found: dict[str, FeatureMaps] = {}
    where = on_device(device_of(images))
    with where, evaluation_mode(model), no_grad(), ExitStack() as hooks:
        for name, module in named_layers(model):
            see = partial(_see, found, layer_name(name, module))
            hooks.enter_context(module.register_forward_hook(see))
        model(Tensor(images))
    return list(found.values())


def _see(
    found: dict[str, FeatureMaps], name: str, module: Module, _: tuple[Any, ...], output: Any
) -> None:
    """Enter a layer's output."""
    y = (output[0] if isinstance(output, tuple) else output).numpy()
    if not np.isfinite(y).all():
        raise MinialexError(f"{name} gives numbers that are not finite: look at its weights")
    runs = 1 + sum(key.partition(", run ")[0] == name for key in found)
    name = name if runs == 1 else f"{name}, run {runs}"
    H, W = (y.shape[2], prod(y.shape[3:])) if y.ndim > 2 else (1, 1)
    found[name] = FeatureMaps(name, layer_text(module), y.reshape(*y.shape[:2], H, W))


def find_maps(found: Sequence[FeatureMaps], name: str | None = None) -> FeatureMaps:
    """Return the maps of a layer, by default those of the first ReLU.

    Raises
    ------
    MinialexError
        If there is no such layer.
    """
    by_name = {one.name: one for one in found}
    if name is None:
        relus = (one.name for one in found if one.layer.startswith("ReLU("))
        name = next(relus, found[0].name)
    if name not in by_name:
        raise MinialexError(unknown("layer", name, by_name))
    return by_name[name]
