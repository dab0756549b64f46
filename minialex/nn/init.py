"""The first values of weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from math import inf, prod, sqrt

import numpy as np

from minialex import philox
from minialex.arrays import Array
from minialex.ops._arguments import real_number

_BLANK = ContextVar("_BLANK", default=False)


def he_normal(
    shape: tuple[int, ...], generator: philox.Generator | None = None, gain: float = 2.0
) -> Array:
    """Return weights that keep the size of signals through layers with ReLU: N(0, gain / fan-in).

    Source: He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", section 2.2.

    Parameters
    ----------
    shape : (outputs, inputs, ...)
        The fan-in is the product of all sizes but the first.
    generator : Generator, optional
        Hands out the random stream; the default generator where none is given.
    gain : float
        2 makes up for the half that ReLU sets to 0; less makes the outputs smaller.

    Returns
    -------
    Array of that shape, float32, on the CPU.

    Raises
    ------
    ValueError, TypeError
        If `gain` is negative or not finite; if it is no number, or `generator` not minialex's.
    """
    gain = real_number("he_normal", "gain", gain)
    if not 0 <= gain < inf:
        raise ValueError(f"he_normal: gain is {gain}; give a finite number from 0")
    stream = checked_generator("he_normal", generator).draw()
    if _BLANK.get():
        return np.zeros(shape, np.float32)
    rng = np.random.Generator(
        np.random.Philox(key=stream["seed"], counter=[0, 0, 0, stream["offset"]])
    )
    w = rng.standard_normal(shape, np.float32)
    w *= np.float32(sqrt(gain / max(1, prod(shape[1:]))))
    return w


def checked_generator(owner: str, generator: philox.Generator | None) -> philox.Generator:
    """Return the generator, or the default one for None; refuse another library's."""
    if not isinstance(generator, philox.Generator | None):
        raise TypeError(f"{owner}: generator is {generator!r}; give a minialex.philox.Generator")
    return generator or philox.default_generator


@contextlib.contextmanager
def blank_weights() -> Iterator[None]:
    """Let layers that are made inside begin with zeros, which take no time: others will come."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)
