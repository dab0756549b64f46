"""Definitions of the ops that move elements."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """Deal out the elements in C order."""
    elements = [x[i] for i in np.ndindex(x.shape)]
    known = int(np.prod([n for n in shape if n != -1]))
    y = np.empty([len(elements) // known if n == -1 else n for n in shape])
    for i, value in zip(np.ndindex(y.shape), elements, strict=True):
        y[i] = value
    return y


def permute(x: Array, *, dims: tuple[int, ...]) -> Array:
    """Axis d of the result is axis dims[d] of x."""
    y = np.empty([x.shape[d] for d in dims])
    for i in np.ndindex(y.shape):
        source = [0] * x.ndim
        for d, place in zip(dims, i, strict=True):
            source[d] = place
        y[i] = x[tuple(source)]
    return y


def getitem(x: Array, *, index: Any) -> Array:
    """Look each element up by its number in C order."""
    numbers = np.arange(x.size).reshape(x.shape)[index]
    flat = [x[i] for i in np.ndindex(x.shape)]
    return np.array([flat[n] for n in np.ravel(numbers)]).reshape(np.shape(numbers))


def concatenate(*xs: Array, dim: int) -> Array:
    """Put the arrays one behind the other along `dim`."""
    shape = list(xs[0].shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    y, start = np.empty(shape), 0
    for x in xs:
        for i in np.ndindex(x.shape):
            place = list(i)
            place[dim] += start
            y[tuple(place)] = x[i]
        start += x.shape[dim]
    return y


def astype(x: Array, *, dtype: Any) -> Array:
    """Leave the values as they are, but for rounding to the type."""
    return np.array([dtype.type(v) for v in x.ravel()], np.float64).reshape(x.shape)


def to(x: Array, *, device: Any) -> Array:
    """Leave the values as they are."""
    return x.copy()
