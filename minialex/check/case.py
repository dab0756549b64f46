"""What an op is tried on: a `Case` is its inputs, drawn from a seed, and its parameters."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.arrays import Array, Device, array_module, is_floating

Inputs = tuple[Array | None, ...]


@dataclass(frozen=True)
class Answer:
    """Gradients known beforehand: what the op promises at ties and kinks, where limits differ."""

    gy: Array
    gradients: Inputs


@dataclass(frozen=True, eq=False)
class Case:
    """What an op is checked on, once.

    Parameters
    ----------
    name : str
        Unique among the cases of the op.
    inputs : ``inputs(rng) -> arrays``
        One array, or None where the op takes that, for each input. Floating-point arrays are
        rounded to float32, so that both types are tried on the same numbers.
    params : dict
        The op's keyword parameters.
    constant : tuple of int
        Floating-point inputs that have no gradient: backward returns None for them.
    linear : tuple of int
        Inputs in which the op is linear, or linear but for a constant.
    homogeneous : tuple of int
        Inputs x with f(2 x) = 2 f(x): linear once the mask that x gives is frozen.
    term : float
        The size of what outputs are put together from, at least, where nothing else shows it: a
        loss of 1e-10 is the logarithm of a sum that is 1 and a little.
    answer : Answer, optional
        Known gradients, compared wherever they are given.
    output_dtype : dtype, optional
        The type of the output where it is not that of the inputs.
    output_device : Device, optional
        Where the output lives if it is not where the inputs do.
    nan_for_infinity : tuple of str
        Implementations that may give NaN where the truth is infinite.
    nan_for_anything : tuple of str
        Implementations that may give NaN for any number here.
    """

    name: str
    inputs: Callable[[np.random.Generator], Inputs]
    params: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[int, ...] = ()
    linear: tuple[int, ...] = ()
    homogeneous: tuple[int, ...] = ()
    term: float = 0.0
    answer: Answer | None = None
    output_dtype: np.dtype[Any] | None = None
    output_device: Device | None = None
    nan_for_infinity: tuple[str, ...] = ()
    nan_for_anything: tuple[str, ...] = ()

    def nan_will_do(self, implementation: str, truth: Array) -> Array:
        """Return in which places an implementation may give NaN for the truth."""
        if implementation in self.nan_for_anything:
            return np.ones(truth.shape, bool)
        return np.isinf(truth) & (implementation in self.nan_for_infinity)

    def draw(self, op: str) -> Inputs:
        """Return the inputs: the same ones every time for the same op and name."""
        drawn = self.inputs(generator(op, self.name))
        return tuple(None if a is None else _rounded(np.asarray(a)) for a in drawn)

    def differentiable(self, inputs: Inputs) -> tuple[int, ...]:
        """Return the numbers of the inputs that have a gradient."""
        return tuple(i for i, a in enumerate(inputs) if is_float(a) and i not in self.constant)


def generator(*names: str) -> np.random.Generator:
    """Return a random generator seeded by `names`."""
    return np.random.default_rng(zlib.crc32("/".join(names).encode()))


def seeded(seed: int) -> np.random.Generator:
    """Return a random generator that draws nothing that `default_rng(seed)` does.

    Users draw inputs with that, and a cotangent equal to an input shows little.
    """
    return np.random.default_rng((zlib.crc32(b"minialex.check"), seed))


def is_float(a: Array | None) -> bool:
    """Return whether `a` is an array of floating-point numbers."""
    return a is not None and is_floating(a.dtype)


def _rounded(a: Array) -> Array:
    return a.astype(np.float32).astype(np.float64) if a.dtype == np.float64 else a


def cast(inputs: Inputs, dtype: Any) -> Inputs:
    """Return the inputs with the floating-point ones copied to arrays of type `dtype`."""
    return tuple(a.astype(dtype) if a is not None and is_float(a) else a for a in inputs)


def scattered(inputs: Inputs) -> Inputs:
    """Return copies `with_gaps`."""
    return tuple(None if a is None else with_gaps(a) for a in inputs)


def shifted(inputs: Inputs) -> Inputs:
    """Return copies, each by `shift`."""
    return tuple(None if a is None else shift(a) for a in inputs)


def backwards(a: Array) -> Array:
    """Return a copy that lies in memory from its last element to its first."""
    turned = (slice(None, None, -1),) * a.ndim
    return array_module(a).array(a[turned])[turned] if a.ndim else a.copy()


def shift(a: Array) -> Array:
    """Return a contiguous copy that begins one element into its memory: no vector begins there."""
    view: Array = array_module(a).empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
    view[...] = a
    return view


def with_gaps(a: Array) -> Array:
    """Return a copy that lies in memory in another order, with gaps: no axis is contiguous."""
    room = array_module(a).empty((*a.shape[::-1], 2), a.dtype)
    view: Array = room[..., 0].transpose()
    view[...] = a
    return view
