"""The C types that kernels take, and the NumPy dtypes that they are on the host."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_DTYPES: dict[str, type[np.generic]] = {
    "bool": np.bool_,
    "char": np.int8,
    "signed char": np.int8,
    "unsigned char": np.uint8,
    "short": np.int16,
    "unsigned short": np.uint16,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long": np.int64,
    "unsigned long": np.uint64,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "size_t": np.uint64,
    "float": np.float32,
    "double": np.float64,
    "__half": np.float16,
    # NumPy has no bfloat16: arrays hold its bits, or come from the ml_dtypes package.
    "__nv_bfloat16": np.uint16,
}
_OTHER_NAMES = {
    "int8_t": "signed char",
    "int16_t": "short",
    "int32_t": "int",
    "uint8_t": "unsigned char",
    "uint16_t": "unsigned short",
    "uint32_t": "unsigned int",
    **dict.fromkeys(("int64_t", "ptrdiff_t", "ssize_t", "intptr_t", "clock_t", "time_t"), "long"),
    **dict.fromkeys(("uint64_t", "uintptr_t", "ulong"), "unsigned long"),
    "uchar": "unsigned char",
    "ushort": "unsigned short",
    "uint": "unsigned int",
    "half": "__half",
    "nv_half": "__half",
    "nv_bfloat16": "__nv_bfloat16",
}
_INTEGER_WORDS = frozenset(("signed", "unsigned", "char", "short", "int", "long"))
# Which C type a template parameter becomes when it is deduced from an array of this dtype.
_DEDUCED = {
    np.dtype(dtype): ctype
    for ctype, dtype in reversed(_DTYPES.items())
    if ctype not in ("char", "size_t", "long", "unsigned long", "__nv_bfloat16")
}


def canonical(ctype: str) -> str:
    """Return the one spelling used here for `ctype`: ``"unsigned"`` is ``"unsigned int"``."""
    words = ctype.split()
    if words and _INTEGER_WORDS.issuperset(words):
        return _integer(words)
    joined = " ".join(words)
    plain = joined.removeprefix("std::")
    return plain if plain in _DTYPES else _OTHER_NAMES.get(plain, joined)


def _integer(words: Sequence[str]) -> str:
    """Return the integer that some keywords, in any order, name."""
    sign = "unsigned " if "unsigned" in words else ""
    if "char" in words:
        return ("signed " if "signed" in words else sign) + "char"
    if "short" in words:
        return sign + "short"
    return sign + (" ".join(["long"] * words.count("long")) or "int")


def is_known(ctype: str) -> bool:
    """Return whether `ctype`, in its canonical spelling, is a type that can be passed."""
    return ctype in _DTYPES


def dtype_of(ctype: str) -> np.dtype[Any]:
    """Return the NumPy dtype whose bytes the C type `ctype` reads."""
    return np.dtype(_DTYPES[ctype])


def ctype_of(dtype: np.dtype[Any]) -> str | None:
    """Return the C type that an array of `dtype` holds, None where there is none."""
    if dtype.name == "bfloat16":
        return "__nv_bfloat16"
    return _DEDUCED.get(dtype)


def matches(dtype: np.dtype[Any], ctype: str) -> bool:
    """Return whether an array of `dtype` is one of the C type `ctype`."""
    return dtype == _DTYPES[ctype] or ctype_of(dtype) == ctype


def cast(value: object, ctype: str, what: str) -> np.generic:
    """Return the number `value` as the C type `ctype` has it.

    Parameters
    ----------
    value : bool, int, float or a NumPy scalar
    ctype : str
        In its canonical spelling.
    what : str
        The kernel and the argument, as messages begin.

    Raises
    ------
    TypeError
        If `value` is no number of that kind: a float for an int, a bool for a number.
    ValueError
        If it does not fit.
    """
    dtype = dtype_of(ctype)
    if ctype == "__nv_bfloat16":
        return np.uint16(bfloat16_bits(_cast_float(value, np.dtype(np.float32), ctype, what)))
    if dtype.kind == "b":
        return _cast_bool(value, what)
    if dtype.kind == "f":
        return _cast_float(value, dtype, ctype, what)
    return _cast_int(value, dtype, ctype, what)


def bfloat16_bits(x: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Return the bits of the bfloat16 numbers next to float32 numbers, of two the even one."""
    numbers = np.asarray(x, np.float32)
    # wider, as a NaN may have all bits
    bits = numbers.view(np.uint32).astype(np.uint64)
    nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(numbers), 0x7FFF, nearest).astype(np.uint16)


def _cast_bool(value: object, what: str) -> np.generic:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{what} is a bool, got {value!r}: pass True or False")
    return np.bool_(value)


def _cast_int(value: object, dtype: np.dtype[Any], ctype: str, what: str) -> np.generic:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what} is {_a(ctype)}, got {named(value)}: pass an int")
    limits = _limits(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(
            f"{what} is {_a(ctype)}, which holds {limits.min} to {limits.max}, got {value}: "
            "declare a wider type in the kernel or pass less"
        )
    return dtype.type(value)  # type: ignore[no-any-return]


def _cast_float(value: object, dtype: np.dtype[Any], ctype: str, what: str) -> np.generic:
    numbers = (int, float, np.integer, np.floating)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers):
        raise TypeError(f"{what} is {_a(ctype)}, got {named(value)}: pass a float")
    largest = _largest(dtype)
    # As Python's own number, which a comparison does not round.
    number = value.item() if isinstance(value, np.generic) else value
    if largest < abs(number) != math.inf:
        raise ValueError(
            f"{what} is {_a(ctype)}, which ends at {largest:.6g}, got {value}: "
            "pass less or use a wider type"
        )
    return dtype.type(value)  # type: ignore[no-any-return]


@functools.cache
def _limits(dtype: np.dtype[Any]) -> np.iinfo[Any]:
    return np.iinfo(dtype)


@functools.cache
def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max)


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def named(value: object) -> str:
    """Return how messages call a value that was given."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        return f"an array of shape {tuple(value.shape)}"
    return f"{value!r} ({type(value).__name__})"
