"""What becomes the array of a Tensor, a number in an operation with an array, a flag."""

from __future__ import annotations

import sys
from math import inf
from typing import Any, TypeAlias

import numpy as np

from minialex import arrays
from minialex.arrays import BFLOAT16, Array, Device

Number: TypeAlias = int | float

_RANKS = {"b": 0, "u": 1, "i": 1, "f": 2}
"""The kinds of dtype that a Tensor can have, beside bfloat16, in the order of type promotion."""

_DTYPES_OF_NUMBERS = tuple(map(np.dtype, (bool, np.int64, np.float32)))
"""What Python's bool, int and float become."""

# looked at for every operator, and a union would be made each time
_SCALARS, _NUMBERS, _FLAGS = (np.generic, np.ndarray), (int, float), (bool, np.bool_)

_DLPACK_HOST = (1, 3)  # kDLCPU, kDLCUDAHost


def as_array(data: Any) -> Array:
    """Return an array, nested lists, a number or another library's array as an array.

    Arrays are not copied. Python floats become float32.

    Raises
    ------
    TypeError
        If these are no real numbers, or some of them are masked.
    """
    if isinstance(data, np.ndarray):
        array = data if type(data) is np.ndarray else _base_array(data)
    elif hasattr(data, "__dlpack_device__") or hasattr(data, "__cuda_array_interface__"):
        array = _import_array(data)
    else:
        array = np.asarray(data)
        if array.dtype == np.float64 and not isinstance(data, np.generic):
            array = array.astype(np.float32)
    if array.dtype.kind not in _RANKS and array.dtype != BFLOAT16:
        raise TypeError(
            f"a Tensor holds numbers, not {type(data).__name__} ({array.dtype}); give floats, "
            "whole numbers or booleans"
        )
    return array


def _base_array(data: Array) -> Array:
    """Return an array of a subclass of NumPy's without what the subclass changes of operators."""
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError("a Tensor has no mask: fill in the masked array with .filled(value)")
    return np.asarray(data) if isinstance(data, np.matrix) else data


def _import_array(data: Any) -> Array:
    """Return another library's array as NumPy's or CuPy's, without a copy, on its device."""
    # Every op's result comes here on a GPU, and to ask for its DLPack device asks the driver.
    loaded = sys.modules.get("cupy")
    if loaded is not None and isinstance(data, loaded.ndarray):
        return data  # type: ignore[no-any-return]
    on_host = hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] in _DLPACK_HOST
    if on_host:
        return np.from_dlpack(data)
    cupy = arrays.module_of(Device("cuda"))
    return cupy.from_dlpack(data) if hasattr(data, "__dlpack__") else cupy.asarray(data)  # type: ignore[no-any-return]


def as_number(x: Any) -> Number | None:
    """Return a Python number, a NumPy scalar or a NumPy array of no axes as a Python number.

    None where `x` is something else.
    """
    if isinstance(x, _SCALARS) and not x.ndim:
        x = x.item()
    return x if isinstance(x, _NUMBERS) else None


def as_float(number: Any) -> float:
    """Return a number as a float; infinity where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return inf


def flag(owner: str, name: str, value: Any) -> bool:
    """Return `value` as a bool; refuse what is neither True nor False."""
    if isinstance(value, _FLAGS):
        return bool(value)
    raise TypeError(f"{owner}: {name} is {value!r}; give True or False")


def number_like(number: Number, like: Array) -> Array:
    """Return `number` as an array on the device of `like` and, where that can hold it, of its type.

    A whole number beside booleans is int64; a float beside booleans or whole numbers is float32.
    """
    rank = 0 if isinstance(number, bool) else 1 if isinstance(number, int) else 2
    fits = like.dtype == BFLOAT16 or rank <= _RANKS[like.dtype.kind]
    dtype = like.dtype if fits else _DTYPES_OF_NUMBERS[rank]
    try:
        # as a float, since bfloat16 takes no whole number beyond int64
        given = float(number) if dtype == BFLOAT16 else number
        return arrays.array_module(like).asarray(given, dtype)  # type: ignore[no-any-return]
    except OverflowError:
        raise ValueError(
            f"{number} does not fit into {dtype}, the type of what is beside it; convert that with "
            ".astype()"
        ) from None


def is_array_like(x: Any) -> bool:
    """Return whether `x` is of a kind that can be compared with a Tensor's elements."""
    return isinstance(x, bool | int | float | np.generic | np.ndarray | list | tuple) or (
        hasattr(x, "__dlpack__") or hasattr(x, "__cuda_array_interface__")
    )
