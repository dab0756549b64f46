"""Definitions of the element-by-element ops: one Python number at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def _each(function: Callable[..., float], *inputs: Array) -> Array:
    together = [np.array(a) for a in np.broadcast_arrays(*inputs)]
    y = np.empty(together[0].shape)
    for i in np.ndindex(y.shape):
        y[i] = function(*(float(a[i]) for a in together))
    return y


def add(a: Array, b: Array) -> Array:
    """Sum."""
    return _each(lambda p, q: p + q, a, b)


def subtract(a: Array, b: Array) -> Array:
    """Difference."""
    return _each(lambda p, q: p - q, a, b)


def multiply(a: Array, b: Array) -> Array:
    """Product."""
    return _each(lambda p, q: p * q, a, b)


def divide(a: Array, b: Array) -> Array:
    """Quotient."""
    return _each(lambda p, q: p / q, a, b)


def negative(x: Array) -> Array:
    """-x."""
    return _each(lambda p: -p, x)


def power(x: Array, *, exponent: float) -> Array:
    """x^exponent."""
    return _each(lambda p: p**exponent, x)


def exp(x: Array) -> Array:
    """e^x."""
    return _each(math.exp, x)


def log(x: Array) -> Array:
    """The natural logarithm of x."""
    return _each(math.log, x)


def sqrt(x: Array) -> Array:
    """The square root of x."""
    return _each(math.sqrt, x)


def tanh(x: Array) -> Array:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return _each(math.tanh, x)


def absolute(x: Array) -> Array:
    """|x|."""
    return _each(abs, x)
