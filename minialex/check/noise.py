"""What rounding can do: how far from the truth a right result may be.

The model
---------
An element of a result is put together in r operations: what the op's `cost` counts, shared out
over the elements. Each operation in a type of unit roundoff u is off by up to u of its result, up
or down, independently of the others. Errors then add up as a random walk does, to about

    u sqrt(r) S,        S = the size of what is added up, before any of it cancels,

and a right result is within `SAFETY` times that. S is measured, never assumed:

forward     S = how far the *reference* moves, per unit, when each input moves by a tiny share of
            itself with a random sign, or the result itself where that is larger;
backward    S = the root mean square of the gradients for the same cotangent with random signs,
            and of how far the gradient moves, per unit, with the inputs.

The second is asked of the implementation under test, in float64. It cannot buy itself a
bound that way: the bound is `SAFETY` u sqrt(r), far below one percent, of whatever it puts out.

Errors are held against the largest S of the array: an element that is tiny beside its neighbours
is known only to be as tiny as that.

A comparison decides something only where what it allows is small: where it would let pass more
than `RESOLUTION` of the typical result, the verdict is INCONCLUSIVE, and not PASS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check.case import Inputs, is_float

SAFETY = 16.0
"""How many times the model's error is allowed. Over the cases and ten thousand random shapes, the
largest that a right result of this library took was 3."""

RESOLUTION = 0.01
"""The largest share of the typical result that a comparison may allow and still say PASS."""

JUMP = 1e5
"""Where a gradient moves by more than this for a tiny move of the inputs, it jumped at a tie."""

SHARE = 2.0**-26
"""The share of itself by which an input is moved."""

DRAWS = 4


def unit(dtype: Any) -> float:
    """Return the unit roundoff of a floating-point type."""
    return float(np.finfo(dtype).eps) / 2


def allowed(dtype: Any, operations: float, safety: float = SAFETY) -> float:
    """Return what is allowed of S, for elements put together in so many operations."""
    return float(safety * unit(dtype) * max(operations, 1.0) ** 0.5)


def moved(inputs: Inputs, rng: np.random.Generator) -> Inputs:
    """Return the inputs, each element of the floating-point ones moved by `SHARE` of itself."""
    return tuple(
        a * (1 + SHARE * signs(a.shape, rng)) if a is not None and is_float(a) else a
        for a in inputs
    )


def signs(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return random numbers +1 and -1."""
    return rng.choice((-1.0, 1.0), shape)


def output_size(
    function: Callable[..., Array], inputs: Inputs, y: Array, rng: np.random.Generator
) -> Array:
    """Return S of each element of ``y = function(*inputs)``."""
    total = np.zeros(y.shape)
    for _ in range(DRAWS):
        with np.errstate(all="ignore"):
            total += ((function(*moved(inputs, rng)) - y) / SHARE) ** 2
    return np.sqrt(np.maximum(y * y, total / DRAWS))


def gradient_sizes(
    gradient: Callable[[Inputs, Array], Inputs],
    inputs: Inputs,
    gy: Array,
    rng: np.random.Generator,
) -> Inputs:
    """Return S of each element of ``gradient(inputs, gy)``, None where that is None."""
    here = gradient(inputs, gy)
    sizes = [None if g is None else g * g for g in here]
    for _ in range(DRAWS):
        flipped = gradient(inputs, gy * signs(gy.shape, rng))
        for i, (size, g) in enumerate(zip(sizes, flipped, strict=True)):
            if size is not None and g is not None:
                sizes[i] = size + g * g / DRAWS
    there = gradient(moved(inputs, rng), gy)
    for i, (size, g, h) in enumerate(zip(sizes, here, there, strict=True)):
        if size is not None and g is not None and h is not None:
            move = ((h - g) / SHARE) ** 2
            sizes[i] = size + np.where(move <= JUMP**2 * size.max(initial=0), move, 0)
    return tuple(None if size is None else np.sqrt(size) for size in sizes)
