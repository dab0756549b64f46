"""How values of C++ types lie in memory, as NumPy dtypes: numbers, vectors, structs and enums."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.cuda import scalars

_WIDEST_VECTOR_BYTES = 16


@dataclass(frozen=True)
class Member:
    """A member of a struct: what each of its elements is, and its extents as an array."""

    name: str
    layout: Layout
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How values of one type lie in memory.

    Attributes
    ----------
    ctype : str
        The type as messages call it.
    alignment : int
        In bytes.
    members : tuple of Member
        Of a struct or a vector; of a number there are none.
    """

    ctype: str
    dtype: np.dtype[Any]
    alignment: int
    members: tuple[Member, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether it is one number."""
        return scalars.is_known(self.ctype)

    @functools.cached_property
    def uniform(self) -> tuple[str, int] | None:
        """The C type of its numbers and how many there are, if all are of one and no gaps."""
        if self.is_number:
            return self.ctype, 1
        parts = [(m.layout.uniform, math.prod(m.shape)) for m in self.members]
        kinds = {part[0] if part else "" for part, _ in parts}
        count = sum(part[1] * times for part, times in parts if part)
        kind = next(iter(kinds)) if len(kinds) == 1 else ""
        is_dense = kind and count * scalars.dtype_of(kind).itemsize == self.dtype.itemsize
        return (kind, count) if is_dense else None

    def takes(self, dtype: np.dtype[Any], size: int) -> bool:
        """Return whether an array of `size` elements of `dtype` is one of these values."""
        if dtype.names is not None or self.uniform is None:
            # whatever the names of members
            same_size = dtype.itemsize == self.dtype.itemsize
            return same_size and _numbers(dtype) == _numbers(self.dtype)
        kind, count = self.uniform
        if dtype.kind == "c" and count % 2 == 0:
            dtype, size = np.dtype(f"f{dtype.itemsize // 2}"), 2 * size
        return scalars.matches(dtype, kind) and size % count == 0


def _numbers(dtype: np.dtype[Any]) -> list[tuple[int, np.dtype[Any]]]:
    """Return where in a value each of its numbers lies, and its dtype."""
    if dtype.subdtype is not None:
        of, shape = dtype.subdtype
        each = range(0, math.prod(shape) * of.itemsize, max(of.itemsize, 1))
        return [(start + at, one) for start in each for at, one in _numbers(of)]
    if dtype.names is None:
        return [(0, dtype)]
    assert dtype.fields is not None
    fields = [dtype.fields[name] for name in dtype.names]
    return sorted(
        ((f[1] + at, one) for f in fields for at, one in _numbers(f[0])), key=lambda pair: pair[0]
    )


def number(ctype: str) -> Layout:
    """Return the layout of a number, by its canonical name."""
    dtype = scalars.dtype_of(ctype)
    return Layout(ctype, dtype, dtype.itemsize)


def struct(ctype: str, members: Sequence[Member], alignment: int = 1) -> Layout:
    """Return the layout of members that lie one after another, each aligned as its type is."""
    offsets, end = [], 0
    for member in members:
        at = -(-end // member.layout.alignment) * member.layout.alignment
        offsets.append(at)
        end = at + member.layout.dtype.itemsize * math.prod(member.shape)
    alignment = max([alignment, *(m.layout.alignment for m in members)])
    dtype = np.dtype(
        {
            "names": [m.name for m in members],
            "formats": [(m.layout.dtype, m.shape) for m in members],
            "offsets": offsets,
            # an empty struct has one byte
            "itemsize": max(-(-end // alignment) * alignment, 1),
        }
    )
    return Layout(ctype, dtype, alignment, tuple(members))


def vector(ctype: str, of: str, count: int) -> Layout:
    """Return the layout of float4 and the like; two and four numbers are aligned as a whole."""
    element = number(of)
    whole = count * element.dtype.itemsize if count in (2, 4) else 1
    members = [Member(name, element) for name in "xyzw"[:count]]
    return struct(ctype, members, min(whole, _WIDEST_VECTOR_BYTES))


def cast(value: object, layout: Layout, what: str) -> np.generic:
    """Return `value` as the type of `layout` has it.

    Parameters
    ----------
    value : number, tuple or NumPy scalar
        Of a struct or vector a tuple of its members, which may be named, or a scalar of numbers
        that lie as its do.
    what : str
        The kernel and the argument, as messages begin.

    Raises
    ------
    TypeError
        If it has other members, or one is no number of its kind.
    ValueError
        If a number does not fit.
    """
    if layout.is_number:
        return scalars.cast(value, layout.ctype, what)
    is_struct = isinstance(value, np.void | np.ndarray) and value.dtype.names is not None
    if is_struct and value.size == 1 and layout.takes(value.dtype, 1):  # type: ignore[attr-defined]
        value = np.frombuffer(value.tobytes(), layout.dtype)[0].item()  # type: ignore[attr-defined]
    whole = np.zeros(1, layout.dtype)
    whole[0] = _members(value, layout, what)
    return whole[0]  # type: ignore[no-any-return]


def _members(value: object, layout: Layout, what: str) -> tuple[Any, ...]:
    names = tuple(m.name for m in layout.members)
    given = getattr(value, "_fields", names)
    if not isinstance(value, tuple) or given != names or len(value) != len(names):
        listed = f"a struct of {', '.join(names)}" if names else "an empty struct"
        raise TypeError(
            f"{what} is {listed}, got {scalars.named(value)}: pass "
            + ("a tuple of these" if names else "()")
        )
    pairs = zip(value, layout.members, strict=True)
    return tuple(_member(v, m, f"{what}.{m.name}") for v, m in pairs)


def _member(value: Any, member: Member, what: str) -> Any:
    if not member.shape:
        return cast(value, member.layout, what)
    # a tuple may be one struct
    depth = len(member.shape)
    cells = np.empty(member.shape, object)
    found = np.shape(value) if member.layout.is_number else np.shape(value)[:depth]
    if found != member.shape:
        raise ValueError(f"{what} has shape {member.shape}, got {found}: pass as many")
    for index in np.ndindex(member.shape):
        one = functools.reduce(operator.getitem, index, value)
        cells[index] = cast(one, member.layout, what)
    return cells.tolist()
