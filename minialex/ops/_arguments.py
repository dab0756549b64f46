"""What several ops share: undoing a broadcast, counting, and reading the arguments of users."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minialex.arrays import FLOATS, Array, array_module
from minialex.autograd import Cost, Shapes, Tensor, as_tensor

ITEM_BYTES = 4


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum `g` over the axes along which an array of `shape` was broadcast to it."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = (
        *range(extra),
        *(extra + i for i, n in enumerate(shape) if n == 1 != g.shape[extra + i]),
    )
    return g.sum(axis=axes, keepdims=True).reshape(shape)  # type: ignore[no-any-return]


def select(g: Array, keep: Array, out: Array) -> None:
    """Write `g` to `out` where `keep` is true, and 0 elsewhere.

    A product of the bits with 0 or 1 selects exactly, infinities and NaN as well, and takes a
    fifth of the time of ``where``.
    """
    bits = np.dtype(f"i{g.itemsize}")
    array_module(g).multiply(g.view(bits), keep.view(np.int8), out=out.view(bits))


def elementwise_cost(per_element: int) -> Callable[..., Cost]:
    """Return the cost function of an op with `per_element` operations an output element."""

    def cost(shapes: Shapes, **_: object) -> Cost:
        present = [s for s in shapes if s is not None]
        size = prod(np.broadcast_shapes(*present))
        return Cost(per_element * size, ITEM_BYTES * (size + sum(map(prod, present))))

    return cost


def check_float(op: str, **inputs: Tensor | None) -> None:
    """Refuse inputs, given by name, that are neither float32 nor float64; None is not there."""
    for name, x in inputs.items():
        if x is not None and x.dtype not in FLOATS:
            raise TypeError(
                f"{op}: {name} is {x.dtype}; convert it to float32 or float64 with .astype()"
            )


def floating(x: Any) -> Tensor:
    """Return `x` as a Tensor of floats: float32 where it holds whole numbers or booleans."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else Tensor(x.data.astype(np.float32))


def whole_number(op: str, name: str, value: Any) -> int:
    """Return `value` as an int; refuse what is no whole number, booleans among it."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{op}: {name} is {value!r}; give a whole number")


def normal_dim(dim: Any, ndim: int, op: str, name: str = "dim") -> int:
    """Return `dim`, exactly one axis, as a number from 0 to `ndim` - 1."""
    d = whole_number(op, name, dim)
    if not -ndim <= d < ndim:
        raise ValueError(f"{op}: {name} {d} is not an axis of a Tensor with {ndim} axes")
    return d % ndim


def normal_dims(dim: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Return `dim`, one axis or several, as numbers from 0 to `ndim` - 1; None is all of them."""
    if dim is None:
        return tuple(range(ndim))
    wanted = tuple(dim) if is_sequence(dim) else (dim,)
    dims = tuple(normal_dim(d, ndim, op) for d in wanted)
    if len(set(dims)) < len(dims):
        raise ValueError(f"{op}: dim {wanted} names an axis twice")
    return dims


def is_sequence(value: Any) -> bool:
    """Return whether an argument is several numbers, in a sequence or an array, and not one."""
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) > 0
