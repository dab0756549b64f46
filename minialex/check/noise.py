"""What rounding can do: how far from the truth a right result may be.

The model
---------
An element of a result is put together in r operations: what the op's `cost` counts, shared out
over the elements. Each operation in a type of unit roundoff u is off by up to u of its result, up
or down, independently of the others. Errors then add up as a random walk does, to about

    u sqrt(r) S,        S = the size of what is added up, before any of it cancels,

and a right result is within `SAFETY` times that. S is measured, never assumed:

forward     S = how far the *reference* changes, per unit, when each input is perturbed by a tiny
            random share of itself, or the result itself where that is larger;
backward    S = the root mean square of the gradients for the same cotangent times random numbers,
            and of how far the gradient changes, per unit, when inputs or saved arrays do.

The second is asked of the op's ``plain``, or of a function under test itself, in float64. A broken
one cannot buy itself a bound that way: the bound is `SAFETY` u sqrt(r), far below one percent, of
whatever it puts out.

Errors are normalised by the largest S of the array: an element that is tiny beside its neighbours
is known only to be as tiny as that.

An implementation that rounds its operands to fewer bits before it multiplies them (`tf32`) says by
how much, `Implementation.operand_roundoff`. Each product is then off by that share of itself or so,
however many there are, and their errors add up as their squares do: to about that share of S. A
right result is within a quarter of `SAFETY` times that besides: four standard deviations or more,
as the shares are known, where the r above are only counted.

Errors that go up and down cancel: over n elements of an output the mean of its errors, in the
direction of what they are errors of, is within 1 / sqrt(n) of all this. So what a tensor core does
to sums, which it cuts, is seen where each element is still within its bound.

That is much of 2^-8 (`bf16`), and where it is too much to decide by, the case is asked again with
`short` inputs and cotangent, of as many bits as are kept: these lose nothing, and what is allowed
is what the type allows. How operands are rounded is seen by the first comparison alone.

A comparison decides something only where what it allows is small: where it would let pass more
than `RESOLUTION` of the typical result, the verdict is INCONCLUSIVE, and not PASS.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minialex.arrays import Array, device_of, finfo, to_device
from minialex.check.case import Inputs, is_float

SAFETY = 16.0
"""How many times the model's error is allowed. Over the cases and ten thousand random shapes, the
largest that a right result of this library took was 3."""

RESOLUTION = 0.01
"""The largest share of the typical result that a comparison may allow and still say PASS."""

SECOND_STEP_SHARE = 2.0**-4
"""How much smaller a second perturbation is: it tells a slope, which it divides, from a jump at a
tie."""

DRAWS = 8

Perturb = Callable[[tuple[Any, ...]], tuple[Any, ...]]
"""Perturbs arrays by a rounding error or so."""

Gradient = Callable[[Inputs, Array, Perturb | None], Inputs]
"""A function of inputs, cotangent and what is to be done to the saved arrays, if anything."""


def largest(x: Array, where: Array | bool = True) -> float:
    """Return the size of the largest finite element of `x`, of those that are meant."""
    return float(np.abs(x).max(initial=0, where=np.isfinite(x) & where))


def norm(a: Array) -> float:
    """Return the root of the sum of squares, which may be too large or too small to be held."""
    with np.errstate(all="ignore"):
        found = float(np.linalg.norm(a))
        if found and np.isfinite(found):
            return found
        largest = float(np.abs(a).max(initial=0.0))
        return largest * float(np.linalg.norm(a / largest)) if largest else 0.0


def unit(dtype: Any) -> float:
    """Return the unit roundoff of a floating-point type."""
    return float(finfo(dtype).eps) / 2


def perturbation(dtype: Any) -> float:
    """Return the share of itself by which an input is perturbed: well above rounding, but small."""
    return math.sqrt(finfo(dtype).eps)


def allowed(
    dtype: Any, operations: float, safety: float = SAFETY, operand_roundoff: float = 0.0
) -> float:
    """Return what is allowed of S, for elements put together in so many operations."""
    counted = unit(dtype) * max(operations, 1.0) ** 0.5
    return float(safety * (counted + operand_roundoff / 4))


def common(dtype: Any, operand_roundoff: float = 0.0) -> float:
    """Return by how much of S all elements may be off alike.

    Functions such as exp are not rounded to nearest, and elements have operands in common.
    """
    return unit(dtype) + operand_roundoff / 4


def short(a: Array, roundoff: float) -> Array:
    """Return the numbers nearest to those of `a` that a unit roundoff of `roundoff` leaves."""
    fraction, exponent = np.frexp(a)
    return np.asarray(np.ldexp(np.rint(fraction / roundoff) * roundoff, exponent), a.dtype)


def perturbed(values: tuple[Any, ...], rng: np.random.Generator, share: float) -> tuple[Any, ...]:
    """Return `values`, each element of arrays of floats perturbed by about `share` of itself."""
    return tuple(
        _perturbed(v, rng, share) if hasattr(v, "dtype") and is_float(v) else v for v in values
    )


def _perturbed(a: Array, rng: np.random.Generator, share: float) -> Array:
    shares = 1 + share * factors(a.shape, rng)
    return a * to_device(shares.astype(a.dtype), device_of(a))


def factors(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return random numbers of both signs, from 1/2 to 3/2 in size, so that none vanishes."""
    return np.asarray(rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.5, shape))


def output_size(
    function: Callable[..., Array],
    inputs: Inputs,
    y: Array,
    rng: np.random.Generator,
    dtype: Any = np.float64,
) -> Array:
    """Return S of each element of ``y = function(*inputs)``, which computes in `dtype`."""
    total, step = np.zeros(y.shape), perturbation(dtype)
    with np.errstate(all="ignore"):
        for _ in range(DRAWS):
            total = np.hypot(total, (function(*perturbed(inputs, rng, step)) - y) / step)
        return np.asarray(np.maximum(np.abs(y), total / DRAWS**0.5))


def gradient_sizes(
    gradient: Gradient,
    inputs: Inputs,
    gy: Array,
    rng: np.random.Generator,
    dtype: Any = np.float64,
) -> Inputs:
    """Return S of each element of ``gradient(inputs, gy, None)``, None where that is None.

    It is computed in `dtype`.
    """
    here, step = gradient(inputs, gy, None), perturbation(dtype)
    mixed = (gradient(inputs, gy * factors(gy.shape, rng), None) for _ in range(DRAWS))
    total = _added([None if g is None else np.abs(g) for g in here], mixed, DRAWS)
    seeds = [int(seed) for seed in rng.integers(2**32, size=DRAWS // 2)]
    by_inputs = (_slopes(lambda m: gradient(m(inputs), gy, None), here, s, step) for s in seeds)
    by_saved = (_slopes(lambda m: gradient(inputs, gy, m), here, s, step) for s in seeds)
    with np.errstate(all="ignore"):
        return tuple(_added(total, itertools.chain(by_inputs, by_saved), len(seeds)))


def _added(total: list[Array | None], runs: Iterable[Inputs], count: int) -> list[Array | None]:
    """Return `total` and the runs' root mean square, of `count`, as legs of a right triangle.

    One run at a time is held: those of all parameters of a network are large.
    """
    for run in runs:
        total = [
            t if t is None or g is None else np.hypot(t, g / count**0.5)
            for t, g in zip(total, run, strict=True)
        ]
    return total


def _slopes(gradient: Callable[[Perturb], Inputs], here: Inputs, seed: int, step: float) -> Inputs:
    """Return how far each element changes per unit of a perturbation, but not where it jumps."""
    shares = step, step * SECOND_STEP_SHARE
    runs = []
    for share in shares:
        perturb = functools.partial(perturbed, rng=np.random.default_rng(seed), share=share)
        runs.append(gradient(perturb))
    slopes: list[Array | None] = []
    for g, *others in zip(here, *runs, strict=True):
        if g is None:
            slopes.append(None)
        else:
            large, small = (np.abs(h - g) / s for h, s in zip(others, shares, strict=True))
            # not finite: a comparison that the perturbation undid, as bad as a jump
            smooth = small <= large / SECOND_STEP_SHARE**0.5
            slopes.append(np.where(smooth, np.minimum(large, small), 0.0))
    return tuple(slopes)
