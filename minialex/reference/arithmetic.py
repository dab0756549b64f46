"""Definitions of the element-by-element ops: one Python number at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def each(function: Callable[..., float], *inputs: Array) -> Array:
    """Return `function` of the elements of the inputs, which are broadcast."""
    together = [np.array(a) for a in np.broadcast_arrays(*inputs)]
    y = np.empty(together[0].shape)
    for i in np.ndindex(y.shape):
        y[i] = function(*(float(a[i]) for a in together))
    return y


def add(a: Array, b: Array) -> Array:
    """Sum."""
    return each(lambda p, q: p + q, a, b)


def subtract(a: Array, b: Array) -> Array:
    """Difference."""
    return each(lambda p, q: p - q, a, b)


def multiply(a: Array, b: Array) -> Array:
    """Product."""
    return each(lambda p, q: p * q, a, b)


def divide(a: Array, b: Array) -> Array:
    """Quotient."""
    return each(lambda p, q: p / q, a, b)


def negative(x: Array) -> Array:
    """-x."""
    return each(lambda p: -p, x)


def power(x: Array, exponent: Array) -> Array:
    """x^exponent; its real part where a negative x has a power that is not whole."""
    return each(lambda p, q: (p**q).real, x, exponent)


def exp(x: Array) -> Array:
    """e^x."""
    return each(math.exp, x)


def log(x: Array) -> Array:
    """The natural logarithm of x."""
    return each(math.log, x)


def sqrt(x: Array) -> Array:
    """The square root of x."""
    return each(math.sqrt, x)


def tanh(x: Array) -> Array:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return each(math.tanh, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), which is e^x / (e^x + 1)."""
    return each(lambda p: 1 / (1 + math.exp(-p)) if p > 0 else math.exp(p) / (1 + math.exp(p)), x)


def absolute(x: Array) -> Array:
    """|x|."""
    return each(abs, x)
