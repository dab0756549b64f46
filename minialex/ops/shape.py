"""Ops that move elements without changing them.

    op           y                              gx
    reshape      the same elements, new axes    gy in the old shape
    permute      axes in another order          gy with the axes back
    getitem      x[index]                       zeros, with gy added at the index
    concatenate  arrays joined along an axis    the pieces of gy
    astype       another float type             gy in the old type
    to           another device                 gy on the old device

saved is what backward needs to undo the move: a shape, a type, a device, the pieces' lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex import arrays
from minialex.arrays import DIFFERENTIABLE, Array, Device, array_module, device_of, to_device
from minialex.autograd import (
    Cost,
    Gradients,
    Implementation,
    Op,
    Shapes,
    Tensor,
    as_tensor,
    as_tensors,
)
from minialex.autograd.operators import answers_numpy
from minialex.ops._arguments import ITEM_BYTES, is_sequence, normal_dim, normal_dims, whole_number
from minialex.ops._cuda.astype import KERNEL as ASTYPE_KERNEL
from minialex.ops._scatter import is_unique, scatter_add

Saved = tuple[Any, ...]


def _cost(shapes: Shapes, **_: Any) -> Cost:
    """No arithmetic; each element is read once and written once."""
    return Cost(0, 2 * ITEM_BYTES * sum(prod(s) for s in shapes if s is not None))


def _free(shapes: Shapes, **_: Any) -> Cost:
    """Nothing moves: the result is a view."""
    return Cost(0, 0)


def _reshape(x: Array, *, shape: tuple[int, ...]) -> tuple[Array, Saved]:
    return x.reshape(shape), (x.shape,)


def _reshape_back(gy: Array, saved: Saved, *, shape: tuple[int, ...]) -> Gradients:
    return (gy.reshape(saved[0]),)


def _permute(x: Array, *, dims: tuple[int, ...]) -> tuple[Array, Saved]:
    return x.transpose(dims), ()


def _permute_back(gy: Array, saved: Saved, *, dims: tuple[int, ...]) -> Gradients:
    return (gy.transpose(tuple(int(d) for d in np.argsort(dims))),)


def _getitem(x: Array, *, index: Any) -> tuple[Array, Saved]:
    return x[index], (x.shape,)


def _getitem_back(gy: Array, saved: Saved, *, index: Any) -> Gradients:
    gx = array_module(gy).zeros(saved[0], gy.dtype)
    index = index if isinstance(index, tuple) else (index,)
    if is_unique(index):
        gx[index] = gy
    else:
        scatter_add(gx, index, gy)
    return (gx,)


def _concatenate(*xs: Array, dim: int) -> tuple[Array, Saved]:
    return array_module(xs[0]).concatenate(xs, axis=dim), tuple(x.shape[dim] for x in xs)


def _concatenate_back(gy: Array, saved: Saved, *, dim: int) -> Gradients:
    return tuple(array_module(gy).split(gy, tuple(accumulate(saved))[:-1], axis=dim))


def _astype(x: Array, *, dtype: np.dtype[Any]) -> tuple[Array, Saved]:
    return x.astype(dtype), (x.dtype,)


def _astype_back(gy: Array, saved: Saved, *, dtype: np.dtype[Any]) -> Gradients:
    return (gy.astype(saved[0]),)


def _to(x: Array, *, device: Device) -> tuple[Array, Saved]:
    return to_device(x, device), (device_of(x),)


def _to_back(gy: Array, saved: Saved, *, device: Device) -> Gradients:
    return (to_device(gy, saved[0]),)


_EVERY_TYPE: dict[str, Any] = {"dtypes": ("float32", "float64", "bfloat16")}

RESHAPE = Op("reshape", {"plain": Implementation(_reshape, _reshape_back, **_EVERY_TYPE)}, _free)
PERMUTE = Op("permute", {"plain": Implementation(_permute, _permute_back, **_EVERY_TYPE)}, _free)
GETITEM = Op("getitem", {"plain": Implementation(_getitem, _getitem_back)}, _cost)
CONCATENATE = Op("concatenate", {"plain": Implementation(_concatenate, _concatenate_back)}, _cost)
ASTYPE = Op(
    "astype",
    {"plain": Implementation(_astype, _astype_back, **_EVERY_TYPE), "kernel": ASTYPE_KERNEL},
    _cost,
    kernel="kernel",
)
TO = Op("to", {"plain": Implementation(_to, _to_back, **_EVERY_TYPE)}, _cost)


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """Return the same elements, in C order, under another shape; one size may be -1.

    Raises
    ------
    ValueError
        If the number of elements differs, or a size is below 0 and not the one -1.
    TypeError
        If a size is no whole number.
    """
    x = as_tensor(x)
    given = shape[0] if len(shape) == 1 and is_sequence(shape[0]) else shape
    sizes = tuple(whole_number("reshape", "a size", n) for n in given)
    if any(n < -1 for n in sizes) or sizes.count(-1) > 1:
        raise ValueError(f"reshape: sizes are 0 or more, and one may be -1, not {sizes}")
    return RESHAPE(x, shape=sizes)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `x` with the axes from `start_dim` to `end_dim`, both included, joined into one.

    Raises
    ------
    ValueError
        If there are no such axes, or `end_dim` is before `start_dim`.
    """
    x = as_tensor(x)
    start = normal_dim(start_dim, max(x.ndim, 1), "flatten", "start_dim")
    end = normal_dim(end_dim, max(x.ndim, 1), "flatten", "end_dim") + 1
    if end <= start:
        raise ValueError(f"flatten: end_dim {end_dim} is before start_dim {start_dim}")
    return reshape(x, *x.shape[:start], prod(x.shape[start:end]), *x.shape[end:])


def permute(x: Tensor, *dims: Any) -> Tensor:
    """Return `x` with its axes in the order `dims`, all of them.

    Raises
    ------
    TypeError
        If an axis is no whole number.
    ValueError
        If `dims` does not name each axis once.
    """
    x = as_tensor(x)
    named = dims[0] if len(dims) == 1 and is_sequence(dims[0]) else dims
    order = normal_dims(named, x.ndim, "permute")
    if len(order) != x.ndim:
        raise ValueError(f"permute: {order} does not name each of the {x.ndim} axes once")
    return PERMUTE(x, dims=order)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return `x` with two of its axes exchanged; `permute` takes a whole order.

    Raises
    ------
    TypeError
        If an axis is no whole number.
    ValueError
        If `x` has no such axis.
    """
    x = as_tensor(x)
    d0 = normal_dim(dim0, x.ndim, "transpose", "dim0")
    d1 = normal_dim(dim1, x.ndim, "transpose", "dim1")
    order = list(range(x.ndim))
    order[d0], order[d1] = d1, d0
    return PERMUTE(x, dims=tuple(order))


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return x[index]: integers, slices, None, ..., and integer or boolean arrays or Tensors."""
    x, parts = as_tensor(x), index if isinstance(index, tuple) else (index,)
    plain = (part.data if isinstance(part, Tensor) else part for part in parts)
    # lists and arrays are copied: the caller may fill them anew before backward
    return GETITEM(x, index=tuple(deepcopy(p) if hasattr(p, "copy") else p for p in plain))


@answers_numpy
def concatenate(xs: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return the Tensors `xs` joined along the axis `dim`; their other axes must agree.

    Raises
    ------
    ValueError
        If there is no Tensor, or shapes do not fit.
    """
    tensors = as_tensors(*xs)
    if not tensors:
        raise ValueError("concatenate: there is nothing to join")
    first = tensors[0].shape
    d = normal_dim(dim, len(first), "concatenate")
    for shape in (t.shape for t in tensors):
        if len(shape) != len(first) or shape[:d] + shape[d + 1 :] != first[:d] + first[d + 1 :]:
            raise ValueError(f"concatenate: {first} and {shape} differ in more than dim {d}")
    return CONCATENATE(*tensors, dim=d)


def astype(x: Tensor, dtype: npt.DTypeLike) -> Tensor:
    """Return `x` with elements of another type; itself where they are of it already.

    Gradients flow to float32, float64 and bfloat16 only.
    """
    x, wanted = as_tensor(x), np.dtype(dtype)
    if x.dtype == wanted:
        return x
    if x.dtype in DIFFERENTIABLE and wanted in DIFFERENTIABLE:
        return ASTYPE(x, dtype=wanted)
    return Tensor(x.array.astype(wanted))


def to(x: Tensor, device: str | Device) -> Tensor:
    """Return `x` on a device, "cpu" or "cuda:N"; itself where it is there already."""
    x, where = as_tensor(x), arrays.device(device)
    return x if x.device == where else TO(x, device=where)
