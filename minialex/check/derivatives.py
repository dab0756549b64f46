"""What differences give: derivatives, how far they are known, and which outputs they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array


@dataclass(frozen=True)
class Derivative:
    """A derivative along one direction.

    Attributes
    ----------
    value, uncertainty : float
    kink : bool
        Whether the derivatives from both sides differ. `value` is their mean then, and
        `uncertainty` includes half of how far they are apart.
    depends : array of bool, of the output's shape
        Which outputs depend on it: the receptive field, where the direction is one element.
    """

    value: float
    uncertainty: float
    kink: bool
    depends: Array


@dataclass(frozen=True)
class ElementwiseDerivatives:
    """The derivative for each element of an input, as arrays of its shape.

    `fan_out` is how many outputs depend on the element; `value` is NaN where it was not taken, and
    where it was and is not known, `uncertainty` being infinite.
    """

    value: Array
    uncertainty: Array
    kink: Array
    fan_out: Array

    @property
    def taken(self) -> Array:
        """Which elements were looked at."""
        return np.asarray(np.isfinite(self.value) | (self.uncertainty > 0))


@dataclass(frozen=True)
class DirectionalDerivatives:
    """The derivatives along some directions, arrays of the input's shape."""

    vectors: list[Array]
    derivatives: list[Derivative]


def elements(
    along: Callable[[Array], Derivative], shape: tuple[int, ...], which: Iterable[int]
) -> ElementwiseDerivatives:
    """Return the derivative for the elements, numbered `which`, of an input of `shape`."""
    value, uncertainty = np.full(shape, np.nan), np.zeros(shape)
    kink, fan_out = np.zeros(shape, bool), np.zeros(shape, int)
    for j in which:
        place = np.unravel_index(j, shape)
        d = along(unit_vector(shape, place))
        value[place], uncertainty[place] = d.value, d.uncertainty
        kink[place], fan_out[place] = d.kink, d.depends.sum()
    return ElementwiseDerivatives(value, uncertainty, kink, fan_out)


def unit_vector(shape: tuple[int, ...], place: tuple[Any, ...]) -> Array:
    """Return 1 at `place` and 0 elsewhere."""
    v = np.zeros(shape)
    v[place] = 1
    return v
