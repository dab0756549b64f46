"""One element of a gradient taken apart into what is added up, factor by factor.

`terms_of` is all that the rest of the walk knows of it: from a call, the gradient of its output, an
input and an index to the terms, each a product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from minialex.arrays import Array, to_numpy
from minialex.autograd import Call

Index: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class TermFactor:
    """A number that is multiplied.

    Attributes
    ----------
    of : str
        What it is an element of: ``gy``, ``y``, an argument of the op, or something by itself.
    index : tuple of int
    value : float
    form : str
        How it is written, the element standing in braces: ``1/{}``.
    """

    of: str
    index: Index
    value: float
    form: str = "{}"


@dataclass(frozen=True)
class ElementTerm:
    """A product that is added to an element of a gradient, or, for `sign` -1, taken from it."""

    factors: tuple[TermFactor, ...]
    sign: int = 1

    @property
    def value(self) -> float:
        """The product."""
        return self.sign * math.prod(one.value for one in self.factors)


@dataclass(frozen=True, eq=False)
class _Asked:
    """An element of the gradient of an input of a call."""

    inputs: tuple[Array | None, ...]
    y: Array
    gy: Array
    params: dict[str, Any]
    input: int
    index: Index

    def gradient(self, at: Index) -> TermFactor:
        return TermFactor("gy", at, float(self.gy[at]))

    def output(self, at: Index) -> TermFactor:
        return TermFactor("y", at, float(self.y[at]))

    def element(self, input: int, name: str, at: Index) -> TermFactor:
        """Return an element of an input."""
        array = self.inputs[input]
        assert array is not None
        return TermFactor(name, at, float(array[at]))

    def shape(self, input: int) -> Index:
        array = self.inputs[input]
        assert array is not None
        return array.shape

    def broadcast_to(self) -> Iterator[Index]:
        """Yield the outputs that the element was broadcast to."""
        for at in np.ndindex(self.gy.shape):
            if _source(at, self.shape(self.input)) == self.index:
                yield at


def _source(at: Index, shape: Index) -> Index:
    """Return which element of an array of `shape` an output of a broadcasting op is from."""
    last = at[len(at) - len(shape) :]
    return tuple(0 if n == 1 else i for i, n in zip(last, shape, strict=True))


def terms_of(call: Call, gy: Array, input: int, index: Index) -> tuple[ElementTerm, ...] | None:
    """Return what is added up to an element of the gradient of an input; None where unknown.

    Parameters
    ----------
    call : Call
    gy : array
        The gradient of its output.
    input : int
    index : tuple of int
        Of an element of that input.
    """
    function = _TERMS.get(call.op.name)
    if function is None:
        return None
    inputs = tuple(None if a is None else to_numpy(a) for a in call.inputs)
    asked = _Asked(inputs, to_numpy(call.y), gy, call.params, input, index)
    return tuple(function(asked))


def _add(a: _Asked) -> Iterator[ElementTerm]:
    for at in a.broadcast_to():
        yield ElementTerm((a.gradient(at),))


def _multiply(a: _Asked) -> Iterator[ElementTerm]:
    other = 1 - a.input
    for at in a.broadcast_to():
        beside = a.element(other, "ab"[other], _source(at, a.shape(other)))
        yield ElementTerm((a.gradient(at), beside))


def _divide(a: _Asked) -> Iterator[ElementTerm]:
    for at in a.broadcast_to():
        b = a.element(1, "b", _source(at, a.shape(1)))
        below = TermFactor("b", b.index, 1 / b.value, "1/{}")
        if a.input == 0:
            yield ElementTerm((a.gradient(at), below))
        else:
            yield ElementTerm((a.gradient(at), a.output(at), below), -1)


def _relu(a: _Asked) -> Iterator[ElementTerm]:
    # a bracket is 1 where it is true, else 0
    gate = TermFactor("y", a.index, float(a.y[a.index] > 0), "[{} > 0]")
    yield ElementTerm((a.gradient(a.index), gate))


def _sum(a: _Asked) -> Iterator[ElementTerm]:
    dims, keepdim = a.params["dims"], a.params["keepdim"]
    kept = ((0,) if d in dims else (i,) for d, i in enumerate(a.index) if keepdim or d not in dims)
    yield ElementTerm((a.gradient(sum(kept, ())),))


def _reshape(a: _Asked) -> Iterator[ElementTerm]:
    flat = np.ravel_multi_index(a.index, a.shape(0))
    at = tuple(int(i) for i in np.unravel_index(flat, a.gy.shape))
    yield ElementTerm((a.gradient(at),))


def _linear(a: _Asked) -> Iterator[ElementTerm]:
    outputs, rows = range(a.gy.shape[-1]), np.ndindex(a.gy.shape[:-1])
    if a.input == 0:
        *row, i = a.index
        for o in outputs:
            yield ElementTerm((a.gradient((*row, o)), a.element(1, "w", (o, i))))
        return
    for n in rows:
        gy = a.gradient((*n, a.index[0]))
        x = () if a.input == 2 else (a.element(0, "x", (*n, a.index[1])),)
        yield ElementTerm((gy, *x))


def _conv2d(a: _Asked) -> Iterator[ElementTerm]:
    if a.input == 2:
        for at in np.ndindex(a.gy.shape):
            if at[1] == a.index[0]:
                yield ElementTerm((a.gradient(at),))
        return
    for x, w, at in _taps(a):
        if a.input == 0 and x == a.index:
            yield ElementTerm((a.gradient(at), a.element(1, "w", w)))
        elif a.input == 1 and w == a.index:
            yield ElementTerm((a.gradient(at), a.element(0, "x", x)))


def _taps(a: _Asked) -> Iterator[tuple[Index, Index, Index]]:
    """Yield each pixel, tap and output of a convolution that meet in a product."""
    (sh, sw), (ph, pw), (dh, dw) = (a.params[name] for name in ("stride", "padding", "dilation"))
    (_, _, H, W), (_, CG, KH, KW) = a.shape(0), a.shape(1)
    outputs_per_group = a.gy.shape[1] // a.params["groups"]
    for n, o, i, j in np.ndindex(a.gy.shape):
        for c, k, m in np.ndindex(CG, KH, KW):
            h, w = i * sh - ph + k * dh, j * sw - pw + m * dw
            if 0 <= h < H and 0 <= w < W:
                yield (n, o // outputs_per_group * CG + c, h, w), (o, c, k, m), (n, o, i, j)


def _max_pool2d(a: _Asked) -> Iterator[ElementTerm]:
    (KH, KW), (sh, sw), (ph, pw) = (a.params[p] for p in ("kernel_size", "stride", "padding"))
    x = a.inputs[0]
    assert x is not None
    n, c, h, w = a.index
    for i, j in np.ndindex(a.gy.shape[2:]):
        window = [
            (r, s)
            for r in range(max(0, i * sh - ph), min(x.shape[2], i * sh - ph + KH))
            for s in range(max(0, j * sw - pw), min(x.shape[3], j * sw - pw + KW))
        ]
        # among equals the first
        if (h, w) in window and max(window, key=lambda at: x[n, c, *at]) == (h, w):
            yield ElementTerm((a.gradient((n, c, i, j)),))


def _cross_entropy(a: _Asked) -> Iterator[ElementTerm]:
    """Take the gradient of logits apart, of classes that count alike, and their mean."""
    x, targets, _ = a.inputs
    assert x is not None
    assert targets is not None
    n, c = a.index
    e = np.exp(x[n] - x[n].max())
    p = float(e[c] / e.sum())
    share = TermFactor("p", a.index, p)
    if int(targets[n]) == c:
        share = TermFactor("p", a.index, p - 1, "({} - 1)")
    yield ElementTerm((a.gradient(()), share, TermFactor("N", (), 1 / len(x), "1/{}")))


_TERMS: dict[str, Callable[[_Asked], Iterator[ElementTerm]]] = {
    "add": _add,
    "multiply": _multiply,
    "divide": _divide,
    "relu": _relu,
    "sum": _sum,
    "reshape": _reshape,
    "linear": _linear,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "cross_entropy": _cross_entropy,
}
