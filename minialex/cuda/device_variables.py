"""The values of variables at file scope, which Python fills and reads by their names.

    cuda.variables("filters.cu")["taps"] = taps            # __constant__ float taps[2 * R + 1];
    smooth(grid, block, x, y)
    cuda.variables("filters.cu")["clipped"]                # __device__ int clipped;

A file has one value of each, though every kernel of it may be compiled by itself, for the emulator
in each mode and for each GPU: before a launch the values are brought to where it runs.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minialex.arrays import Array, is_array, to_numpy
from minialex.cuda import layouts, scalars, source
from minialex.cuda.foreign import outline
from minialex.cuda.layouts import Layout
from minialex.cuda.variable_declarations import DeviceVariable, device_variables
from minialex.errors import MinialexError
from minialex.wording import counted, enumerated

Value = Array | np.generic | float | bytes
_BYTES = np.dtype("V1")
"""Of a value that was given as bytes."""


@dataclass(frozen=True)
class VariableLayout:
    """How a variable lies in memory.

    Attributes
    ----------
    dtype : dtype
        Of its numbers, or of a struct; of what is not known, of as many bytes.
    shape : tuple of int
        A float4 is an axis of four numbers.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls, variable: DeviceVariable, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> VariableLayout:
        """Return a layout of elements of `dtype`, of which the text may know more."""
        known = variable.layout
        if known is None or known.dtype.itemsize != dtype.itemsize:
            return cls(dtype, shape)
        if variable.numbers is None:
            return cls(known.dtype, shape)
        ctype, count = variable.numbers
        return cls(scalars.dtype_of(ctype), (*shape, count) if count > 1 else shape)

    @property
    def nbytes(self) -> int:
        """The bytes of all."""
        return math.prod(self.shape) * self.dtype.itemsize


class VariableStorage(abc.ABC):
    """What a compiler made of a text, where kernels find their variables.

    Attributes
    ----------
    layouts : dict of str to VariableLayout
        The variables that it has, by their names with namespaces.
    initial : dict of str to bytes
        What they held before anything ran.
    """

    def __init__(self, layouts: Mapping[str, VariableLayout]) -> None:
        self.layouts = dict(layouts)
        self.initial = {name: self.read(name) for name in layouts}

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a variable."""

    @abc.abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Set the bytes of a variable."""


class Variables:
    """The variables at file scope of one file; see `variables`.

    ``self[name] = value`` sets one: to an array, to a number where it is a single one, or to bytes.
    What is shorter than the variable leaves the rest as it was. ``self[name]`` is its value, a
    read-only array. Namespaces are left out of a name where no other variable has the same.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = file
        self._digest = ""
        self._declared: dict[str, DeviceVariable] = {}
        self._set: dict[str, Any] = {}
        # where the values are now, and what variables that are not there held elsewhere
        self._storage: VariableStorage | None = None
        self._left: dict[str, tuple[bytes, VariableLayout]] = {}

    def __repr__(self) -> str:
        return f"<variables of {self.file}: {self._listed()}>"

    def __iter__(self) -> Iterator[str]:
        return iter([self.short(name) for name in self._here()])

    def __len__(self) -> int:
        return len(self._here())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and len(self._named(name)) == 1

    def __getitem__(self, name: str) -> Array:
        """Return the value of a variable.

        Raises
        ------
        MinialexError
            If the file has none of that name, or it has no value yet.
        """
        variable = self._variable(name)
        given, known = self._set.get(variable.name), self._known(variable.name)
        if known is not None:
            return _decoded(*known, given)
        if given is None:
            raise MinialexError(
                f"{self._what(variable)} has no value yet: set it, or run a kernel that uses it"
            )
        value = np.array(given)
        value.flags.writeable = False
        return value

    def __setitem__(self, name: str, value: Value) -> None:
        """Set a variable.

        Raises
        ------
        MinialexError
            If the file has none of that name, or its value is fixed.
        TypeError, ValueError
            If it does not take that value; at the next launch, where only the compiler knows.
        """
        variable = self._variable(name)
        what, key = self._what(variable), variable.name
        if variable.is_fixed:
            raise MinialexError(f"{what} is const: edit its value in the text")
        given = _checked(value, variable, what)
        if (known := self._known(key)) is not None:
            before, layout = known
            data = _encoded(given, layout, what)
            data += before[len(data) :]
            if self._storage is not None and key in self._storage.layouts:
                self._storage.write(key, data)
            else:
                self._left[key] = data, layout
        self._set[key] = _merged(self._set.get(key), given)

    def enter(self, storage: VariableStorage) -> None:
        """Bring the values to where a kernel is about to run.

        Raises
        ------
        TypeError, ValueError
            If a variable does not take the value that it was set to.
        """
        self._here()
        if storage is self._storage:
            return
        self._leave()
        for name in storage.layouts:
            storage.write(name, self._bytes_for(name, storage))
        self._storage = storage

    def is_set(self, name: str) -> bool:
        """Return whether the variable of that name, with namespaces, was set from Python."""
        return name in self._set

    def short(self, name: str) -> str:
        """Return the name without namespaces where no other variable has the same."""
        bare = name.rpartition("::")[2]
        return bare if self._named(bare) == [name] else name

    def _here(self) -> dict[str, DeviceVariable]:
        """Return what the text declares as it is now; what kernels left goes with the old one."""
        text = source.read(self.file)
        if text.digest != self._digest:
            whole = outline(text).text if text.is_foreign else text.text
            self._digest, self._declared = text.digest, _by_name(device_variables(whole))
            self._storage, self._left = None, {}
        return self._declared

    def _named(self, name: str) -> list[str]:
        here = self._here()
        return [name] if name in here else [one for one in here if one.endswith("::" + name)]

    def _variable(self, name: str) -> DeviceVariable:
        found = self._named(name)
        if len(found) == 1:
            return self._declared[found[0]]
        if found:
            raise MinialexError(f"{self.file} has {enumerated(found)}: name one with its namespace")
        raise MinialexError(
            f"{self.file} has no variable {name!r} of the device, but: {self._listed()}"
        )

    def _listed(self) -> str:
        named = [f"{v.kind} {self.short(v.name)}" for v in self._here().values()]
        return enumerated(named, limit=20) or "none"

    def _what(self, variable: DeviceVariable) -> str:
        return f"variable {self.short(variable.name)} of {self.file}"

    def _known(self, name: str) -> tuple[bytes, VariableLayout] | None:
        """Return the bytes of a variable, and their layout, once a kernel has been compiled."""
        if self._storage is not None and name in self._storage.layouts:
            return self._storage.read(name), self._storage.layouts[name]
        return self._left.get(name)

    def _leave(self) -> None:
        """Keep the values of the storage where they are now."""
        if self._storage is not None:
            for name, layout in self._storage.layouts.items():
                # what points to something there means nothing elsewhere
                if name not in self._declared or not self._declared[name].is_pointer:
                    self._left[name] = self._storage.read(name), layout
        self._storage = None

    def _bytes_for(self, name: str, storage: VariableStorage) -> bytes:
        layout, data = storage.layouts[name], b""
        if name in self._left and self._left[name][1] == layout:
            data = self._left[name][0]
        elif name in self._set:
            # what it does not take is forgotten
            given = self._set.pop(name)
            data = _encoded(given, layout, self._what(self._declared[name]))
            self._set[name] = given
        return data + storage.initial[name][len(data) :]


_kept: dict[Path, Variables] = {}


def variables(file: str | Path) -> Variables:
    """Return the ``__constant__``, ``__device__`` and ``__managed__`` variables of `file`.

    They are the same for all who ask. Reading one that kernels on a GPU may have written waits for
    them.

    Parameters
    ----------
    file : str or Path
        A file of the kernel folder by name, or the path of any other.

    Raises
    ------
    MinialexError
        If there is no such file.
    """
    return _kept.setdefault(source.path_of(file), Variables(file))


def _by_name(found: Iterable[DeviceVariable]) -> dict[str, DeviceVariable]:
    """Return variables by their names.

    Where branches of an ``#if`` declare one of different types, only the compiler knows which.
    """
    by_name: dict[str, DeviceVariable] = {}
    for one in found:
        other = by_name.setdefault(one.name, one)
        if (one.ctype, one.axes, one.is_fixed) != (other.ctype, other.axes, other.is_fixed):
            by_name[one.name] = replace(one, ctype="", layout=None, axes=0, is_fixed=False)
    return by_name


# ---- values --------------------------------------------------------------------------------------


def _checked(value: Any, variable: DeviceVariable, what: str) -> Any:
    """Return `value` as an own array, or a number, once it agrees with what the text says."""
    layout, is_one = variable.layout, isinstance(value, bool | int | float | tuple | np.generic)
    if is_one and variable.axes:
        raise TypeError(f"{what} is an array, got {value!r}: pass one")
    if is_one and layout is not None:
        return np.array(layouts.cast(value, layout, what))
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return value
    if isinstance(value, bytes):
        value = np.frombuffer(value, _BYTES)
    if not is_array(value):
        raise TypeError(f"{what} takes an array, a number or bytes, got {type(value).__name__}")
    array = np.array(to_numpy(value), order="C")
    if not array.size:
        raise ValueError(f"{what} is set to nothing, shape {array.shape}: pass elements")
    if layout is not None and array.dtype != _BYTES:
        _check_elements(array, layout, variable, what)
    return array


def _check_elements(array: Array, layout: Layout, variable: DeviceVariable, what: str) -> None:
    """Check that the elements of an array are those of the variable's type."""
    if array.dtype == layout.dtype:
        return
    ctype, count = layout.uniform or ("", 0)
    if not ctype or not scalars.matches(array.dtype, ctype):
        wanted = scalars.dtype_of(ctype) if ctype else layout.dtype
        raise TypeError(f"{what} is of {variable.ctype} ({wanted}), got {array.dtype}: convert it")
    if count > 1 and array.shape[-1:] != (count,):
        raise ValueError(
            f"{what} is of {variable.ctype}: its last axis must have {count} elements, "
            f"got shape {array.shape}"
        )


def _encoded(given: Any, layout: VariableLayout, what: str) -> bytes:
    """Return the bytes that a variable is to hold of what `_checked` returned."""
    if not isinstance(given, np.ndarray):
        ctype = scalars.ctype_of(layout.dtype)
        if layout.shape or ctype is None:
            raise TypeError(f"{what} is no single number, got {given!r}: pass an array or bytes")
        return scalars.cast(given, ctype, what).tobytes()
    if layout.dtype.kind == "V" or given.dtype.kind == "V":
        # structs, which the text has been asked for, or bytes
        whole = layout.dtype.itemsize if given.dtype != _BYTES else 1
        if given.nbytes % whole:
            raise TypeError(f"{what} has elements of {whole} bytes, got {given.dtype}: pass these")
    elif given.dtype != layout.dtype and not _are_bits_of(given, layout):
        raise TypeError(f"{what} has elements of {layout.dtype}, got {given.dtype}: convert it")
    elif given.ndim > 1 and len(layout.shape) > 1 and given.shape[1:] != layout.shape[1:]:
        raise ValueError(
            f"{what} has shape {layout.shape}, got {given.shape}: pass an array of that shape, or "
            "of one axis"
        )
    if given.nbytes > layout.nbytes:
        raise ValueError(
            f"{what} has shape {layout.shape}, {counted(layout.nbytes, 'byte')}, got "
            f"{counted(given.nbytes, 'byte')} of shape {given.shape}: pass at most as many"
        )
    return given.tobytes()


def _are_bits_of(given: Array, layout: VariableLayout) -> bool:
    """Whether an array of bfloat16, which is no type of NumPy's own, is for one of their bits."""
    return given.dtype.name == "bfloat16" and layout.dtype == np.uint16


def _decoded(data: bytes, layout: VariableLayout, given: Any) -> Array:
    """Return the value of a variable, of the dtype that it was set with where none is known."""
    dtype, shape = layout.dtype, layout.shape
    is_known = dtype.kind != "V" or dtype.names is not None
    if isinstance(given, np.ndarray) and given.dtype != _BYTES:
        if given.dtype.name == "bfloat16":
            dtype = given.dtype
        elif not is_known and dtype.itemsize % given.itemsize == 0:
            count = dtype.itemsize // given.itemsize
            dtype, shape = given.dtype, (*shape, count) if count > 1 else shape
    return np.frombuffer(data, dtype).reshape(shape)


def _merged(before: Any, given: Any) -> Any:
    """Return what a variable was set to, once its first part is set anew."""
    if not isinstance(before, np.ndarray) or not isinstance(given, np.ndarray):
        return given
    if before.nbytes <= given.nbytes:
        return given
    data = given.tobytes()
    data += before.tobytes()[len(data) :]
    return np.frombuffer(data, before.dtype).reshape(before.shape)
