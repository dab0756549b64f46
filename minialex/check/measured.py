"""Noise that is measured: what rounding does to a function, seen in its differences of high order.

A smooth function's differences of order k along a line of tiny steps vanish with the k-th power of
the step; those of rounding errors, which are as good as independent, grow with k in a known way.
Where estimates of neighbouring orders agree, and the differences change sign, they are noise
(ECnoise: Moré and Wild 2011, "Estimating computational noise", SIAM J. Sci. Comput. 33, 1292).

Here it is done for every output at once, and the step is chosen for each: an output that stays what
it is at most points of a line, being a staircase, is looked at along a longer one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minialex.arrays import Array, finfo
from minialex.check.case import Inputs, is_float
from minialex.check.noise import factors

POINTS = 8
"""How many points a line has."""

LINES = 4
"""How many lines of each length, in random directions; the noisiest counts."""

STEP_SHARE = 2.0**-10
"""The first step, as a share of the root of the type's eps: for float64 it is 2**-36."""

LENGTHENING = 2.0**8
MAX_STEP = 2.0**-5
"""A line is made so many times longer for outputs that are constant on it, and this step is last:
what computes with the eight digits of a bfloat16 stands still on shorter ones."""

MAX_DISAGREEMENT = 4.0
"""Estimates of three orders in a row that differ by less than this factor agree."""


def function_noise(
    function: Callable[..., Array], inputs: Inputs, rng: np.random.Generator, dtype: np.dtype[Any]
) -> Array:
    """Return the standard deviation of the rounding errors of each output.

    Parameters
    ----------
    function : float64 arrays (or integers, or None) to a float64 array
    inputs : arrays
        Where it is measured.
    rng : Generator
        Draws the directions.
    dtype : dtype
        What `function` computes in.

    Returns
    -------
    array of the output's shape
        0 where the output is constant on all lines.
    """
    first = STEP_SHARE * math.sqrt(finfo(dtype).eps)
    lengths = int(math.log(MAX_STEP / first, LENGTHENING)) + 1
    noise = np.full(np.shape(function(*inputs)), np.nan)
    for step in (*(first * LENGTHENING**i for i in range(lengths)), MAX_STEP):
        if np.isnan(noise).any():
            lines = [line_noise(_line(function, inputs, rng, step)) for _ in range(LINES)]
            noise = np.where(np.isnan(noise), np.fmax.reduce(lines), noise)
    return np.asarray(np.nan_to_num(noise))


def _line(
    function: Callable[..., Array], inputs: Inputs, rng: np.random.Generator, step: float
) -> Array:
    """Return the outputs at equally spaced points that begin at `inputs`, along the first axis."""
    along = [direction(x, rng) if x is not None and is_float(x) else None for x in inputs]

    def at(t: float) -> Array:
        moved = zip(inputs, along, strict=True)
        return function(*(x if v is None or x is None else x + t * v for x, v in moved))

    with np.errstate(all="ignore"):
        return np.stack([at(i * step) for i in range(POINTS)])


def direction(x: Array, rng: np.random.Generator) -> Array:
    """Return random numbers of both signs, each about as large as its element of `x`."""
    size = np.where(np.isfinite(x), np.abs(x), 0.0)
    size = np.where(size > 0, size, size.max(initial=0) or 1.0)
    return np.asarray(size * factors(x.shape, rng))


def line_noise(values: Array) -> Array:
    """Return the noise of each output from its `values` along a line, one per row.

    It is NaN where at least half of the steps change nothing, or what they give is not finite.
    """
    differences, estimates, signs = values, [], []
    for order in range(1, len(values) - 1):
        with np.errstate(all="ignore"):
            differences = np.diff(differences, axis=0)
            scale = math.factorial(order) ** 2 / math.factorial(2 * order)
            estimates.append(np.sqrt(scale * np.mean(differences**2, axis=0)))
        signs.append(differences.min(axis=0) * differences.max(axis=0) < 0)
    together = np.stack(estimates)
    noise = together[2:].min(axis=0)
    # from the highest order down, so that the lowest that agrees is what stays
    for k in range(len(together) - 3, -1, -1):
        three = together[k : k + 3]
        agree = three.max(axis=0) <= MAX_DISAGREEMENT * three.min(axis=0)
        noise = np.where(agree & signs[k], together[k], noise)
    still = np.count_nonzero(np.diff(values, axis=0) == 0, axis=0) >= (len(values) - 1) / 2
    return np.asarray(np.where(still | ~np.isfinite(noise), np.nan, noise))
