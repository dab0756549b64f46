"""Tensors whose types go together, of what an op takes side by side."""

from __future__ import annotations

from typing import Any

from minialex import arrays
from minialex.autograd.conversion import as_number
from minialex.autograd.tensor import Tensor, as_tensor


def as_tensors(*xs: Any) -> tuple[Tensor, ...]:
    """Return what an op takes side by side as Tensors whose types go together.

    This is the one rule for mixed types. A number, be it Python's, a NumPy scalar or a NumPy array
    of no axes, takes the type of the Tensor or array beside it; but a whole number beside booleans
    is int64, a float beside whole numbers or booleans float32. Whole numbers and booleans then
    take the type of the floats beside them. Two types of floats stay two, which ops refuse.
    """
    if {x.array.dtype.kind if isinstance(x, Tensor) else "" for x in xs} == {"f"}:
        return xs
    like = next((as_tensor(x) for x in xs if as_number(x) is None), None)
    tensors = tuple([as_tensor(x, like) for x in xs])
    floats = [t.dtype for t in tensors if arrays.is_floating(t.dtype)]
    if len(floats) in (0, len(tensors)):
        return tensors
    return tuple(
        t if arrays.is_floating(t.dtype) else Tensor(t.array.astype(floats[0])) for t in tensors
    )
