"""Ops that choose among elements, with broadcasting.

    op          y                          gradients
    maximum     the larger of a and b      gy to the larger, half of it to each where they are equal
    minimum     the smaller of a and b     likewise to the smaller
    where       a where c, else b          gy to a where c, to b elsewhere
    clip        x, no less than min        gy where min <= x <= max, else 0
                and no more than max

NaN beside a number is both the larger and the smaller; both then have gy for a gradient.
saved: (a, b), (c, shape of a, shape of b), (x,).
"""

from __future__ import annotations

from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor, as_tensors
from minialex.autograd.conversion import Number, as_number, number_like
from minialex.ops._arguments import (
    check_booleans,
    elementwise,
    elementwise_cost,
    floating,
    unbroadcast,
)

Saved = tuple[Any, ...]
Needs = tuple[bool, ...]


def _of_two(function: str, sign: int) -> Implementation:
    """Return the larger of two, or the smaller for `sign` -1."""

    def forward(a: Array, b: Array) -> tuple[Array, Saved]:
        return getattr(array_module(a), function)(a, b), (a, b)

    def backward(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
        (a, b), xp = saved, array_module(gy)
        shared = xp.where(a == b, gy / 2, gy)
        a_loses, b_loses = (a < b, b < a)[::sign]
        ga = unbroadcast(xp.where(a_loses, 0, shared), a.shape) if needs[0] else None
        gb = unbroadcast(xp.where(b_loses, 0, shared), b.shape) if needs[1] else None
        return ga, gb

    return Implementation(forward, backward)


def _where(c: Array, a: Array, b: Array) -> tuple[Array, Saved]:
    return array_module(c).where(c, a, b), (c, a.shape, b.shape)


def _where_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    (c, a, b), xp = saved, array_module(gy)
    ga = unbroadcast(xp.where(c, gy, 0), a) if needs[1] else None
    gb = unbroadcast(xp.where(c, 0, gy), b) if needs[2] else None
    return None, ga, gb


def _clip(x: Array, *, min: Number | None, max: Number | None) -> tuple[Array, Saved]:
    return array_module(x).clip(x, min, max), (x,)


def _clip_back(gy: Array, saved: Saved, *, min: Number | None, max: Number | None) -> Gradients:
    (x,), xp = saved, array_module(gy)
    inside = x == x  # not where x is NaN
    if min is not None:
        inside &= x >= min
    if max is not None:
        inside &= x <= max
    return (xp.where(inside, gy, 0),)


def _op(name: str, implementation: Implementation) -> Op:
    return Op(name, {"plain": implementation}, elementwise_cost(1))


MAXIMUM = _op("maximum", _of_two("maximum", 1))
MINIMUM = _op("minimum", _of_two("minimum", -1))
WHERE = _op("where", Implementation(_where, _where_back))
CLIP = _op("clip", Implementation(_clip, _clip_back))


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, element by element, broadcast; either may be a number.

    Equal elements get half of the gradient each. NaN beside a number gives NaN.
    """
    return elementwise(MAXIMUM, *as_tensors(a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """Return the smaller of a and b, element by element, broadcast; see `maximum`."""
    return elementwise(MINIMUM, *as_tensors(a, b))


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return `a` where `condition` is true and `b` elsewhere, element by element, broadcast.

    Parameters
    ----------
    condition : Tensor or array of booleans, as comparisons give them
    a, b : Tensors, arrays or numbers

    Raises
    ------
    TypeError
        If `condition` does not hold booleans.
    """
    (condition,) = check_booleans("where", condition)
    if as_number(a) is not None and as_number(b) is not None:
        a = as_tensor(a, condition)
    return elementwise(WHERE, condition, *as_tensors(a, b))


def clip(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Return `x` with what is less than `min` or more than `max` replaced by that.

    Parameters
    ----------
    x : Tensor
    min, max : float, optional
        One may be left out. Whole numbers between bounds that are none are float32. Where `min` is
        more than `max`, everything is `max`.

    Raises
    ------
    TypeError
        If a bound is no number, or none is given.
    """
    x = as_tensor(x)
    bounds = {"min": min, "max": max}
    given = {name: as_number(value) for name, value in bounds.items() if value is not None}
    for name, number in given.items():
        if number is None:
            raise TypeError(
                f"clip: {name} is {bounds[name]!r}; give a number, or use ops.maximum or "
                "ops.minimum with a Tensor"
            )
    if not given:
        raise TypeError("clip: give min, max or both")
    if any(isinstance(number, float) for number in given.values()):
        x = floating(x)
    # in the type of x, as a number beside it in an operation is
    fitted = {name: number_like(n, x.data).item() for name, n in given.items() if n is not None}
    return CLIP(x, min=fitted.get("min"), max=fitted.get("max"))
