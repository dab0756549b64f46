"""Checks every argument of a launch against the kernel's signature, before anything runs.

CuPy checks none of this: it hands a Python float to a ``float`` parameter as a double, which is
read as garbage, and a transposed view as if its elements lay in order.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array, Device, device_of, extent_of
from minialex.cuda import layouts, scalars
from minialex.cuda.layouts import Layout
from minialex.cuda.signature import KernelParameter, Signature, TemplateParameter

Value = Array | np.generic | None


@dataclass(frozen=True)
class BoundArguments:
    """Arguments that passed every check, as the kernel takes them.

    Attributes
    ----------
    binding : dict of str to str
        The C text of each template argument.
    values : tuple of array, NumPy scalar or None
        One per parameter, scalars and structs in the declared C type; None is a null pointer.
    device : Device
        Where the arrays live.
    """

    binding: dict[str, str]
    values: tuple[Value, ...]
    device: Device


def bind(
    signature: Signature,
    args: Sequence[Any],
    template: Mapping[str, Any],
    *,
    optional: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    default: Device | None = None,
) -> BoundArguments:
    """Return `args` as `signature` wants them.

    Parameters
    ----------
    args : sequence
        One per parameter: arrays for pointers, numbers for scalars, named tuples for structs.
    template : dict
        Template arguments by name; types may be left to be deduced from the arrays.
    optional : sequence of str
        The pointers that may be None.
    shapes : dict of str to tuple of int
        The shapes that arrays must have, by parameter.
    default : Device, optional
        Where to run if no argument is an array.

    Raises
    ------
    TypeError
        For a wrong number of arguments, dtype or kind of argument.
    ValueError
        For a wrong layout, shape, device or range.
    """
    name, parameters = signature.name, signature.parameters
    if len(args) != len(parameters):
        wanted = ", ".join(p.name for p in parameters)
        raise TypeError(
            f"{name} takes {len(parameters)} arguments ({wanted}), got {len(args)}: pass one each"
        )
    for unknown in (shapes or {}).keys() - {p.name for p in parameters if p.pointer}:
        raise TypeError(f"{name} has no array {unknown!r} to have a shape: name a pointer of it")
    binding = _template_arguments(signature, args, template)
    values = tuple(
        _array(signature, p, arg, binding, p.name in optional, (shapes or {}).get(p.name))
        if p.pointer
        else layouts.cast(arg, layout_of_value(signature, p, binding), argument_name(signature, p))
        for p, arg in zip(parameters, args, strict=True)
    )
    arrays = [
        (p, v) for p, v in zip(parameters, values, strict=True) if p.pointer and v is not None
    ]
    device = _one_device(name, arrays, default)
    _refuse_overlaps(name, arrays)
    return BoundArguments(binding, values, device)


def argument_name(signature: Signature, p: KernelParameter) -> str:
    """Return what messages call an argument."""
    return f"{signature.name}: argument {p.name}"


def layout_of_value(signature: Signature, p: KernelParameter, binding: Mapping[str, str]) -> Layout:
    """Return the type of a parameter, or of what it points to.

    Raises
    ------
    TypeError
        If it cannot be passed.
    """
    found = signature.layout(p, binding)
    if found is None:
        ctype = binding.get(p.ctype, p.ctype)
        raise TypeError(
            f"{argument_name(signature, p)} has type {ctype!r}, which cannot be passed: use "
            "numbers, vectors such as float4, enums or structs of these"
        )
    return found


def _is_array(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


# ---- template arguments --------------------------------------------------------------------------


def _template_arguments(
    signature: Signature, args: Sequence[Any], given: Mapping[str, Any]
) -> dict[str, str]:
    for unknown in given.keys() - {p.name for p in signature.template}:
        raise TypeError(f"{signature.name} has no template parameter {unknown!r}: leave it out")
    binding = {p.name: _template_argument(signature, p, args, given) for p in signature.template}
    declared = dict(signature.instances)
    for name, value in binding.items():
        if name in declared and value not in declared[name]:
            raise TypeError(
                f"{signature.name} is declared for {name} = {', '.join(declared[name])}, "
                f"got {value}: pass one of them, or add it to the line '// instances:' above "
                f"the kernel ({signature.file}:{signature.line})"
            )
    return binding


def _template_argument(
    signature: Signature, p: TemplateParameter, args: Sequence[Any], given: Mapping[str, Any]
) -> str:
    what = f"{signature.name}: template argument {p.name}"
    if p.name in given:
        if p.is_type:
            return _type(signature, given[p.name], what)
        return _value(signature, given[p.name], p.kind, what)
    deduced = _deduced(signature, p, args) if p.is_type else None
    value = deduced or p.default
    if value is None:
        how = "it is the type of no array" if p.is_type else "it is a number"
        raise TypeError(f"{what} is missing and cannot be deduced ({how}): pass {p.name}=...")
    return value


def _deduced(signature: Signature, p: TemplateParameter, args: Sequence[Any]) -> str | None:
    """Return the type of the first array that is declared a pointer to `p`."""
    for parameter, arg in zip(signature.parameters, args, strict=True):
        if parameter.pointer and parameter.ctype == p.name and _is_array(arg):
            ctype = scalars.ctype_of(arg.dtype)
            if ctype is None:
                raise TypeError(
                    f"{signature.name}: argument {parameter.name} has dtype {arg.dtype}, "
                    "which no C type holds: convert it"
                )
            return ctype
    return None


def _type(signature: Signature, value: Any, what: str) -> str:
    if isinstance(value, str) and (signature.types.layout(value) or _names_class(signature, value)):
        return scalars.canonical(value)
    try:
        ctype = scalars.ctype_of(np.dtype(value))
    except TypeError:
        ctype = None
    if ctype is None:
        raise TypeError(f"{what} is a type, got {value!r}: pass a dtype or a C type's name")
    return ctype


def _names_class(signature: Signature, value: str) -> bool:
    """Return whether `value` begins with a type of the file: ``"space::Tile<16>"``."""
    return any(name in signature.types for name in re.findall(r"\w+", value.partition("<")[0]))


def _value(signature: Signature, value: Any, kind: str, what: str) -> str:
    if kind == "bool":
        return "true" if scalars.cast(value, "bool", what) else "false"
    ctype = scalars.canonical(kind)
    if scalars.is_known(ctype):
        return str(scalars.cast(value, ctype, what))
    # a function, a class template, or a value of an enum
    if isinstance(value, str):
        is_scoped = "::" not in value and signature.types.is_scoped_enum(kind)
        return f"{kind}::{value}" if is_scoped else value
    if isinstance(value, int) and kind == "auto":
        return str(value)
    if isinstance(value, int) and kind.isidentifier():
        return f"({kind}){int(value)}"
    raise TypeError(f"{what} is {kind!r}, got {value!r}: pass its name")


# ---- arrays --------------------------------------------------------------------------------------


def _array(
    signature: Signature,
    p: KernelParameter,
    arg: Any,
    binding: Mapping[str, str],
    optional: bool,
    shape: Sequence[int] | None,
) -> Array | None:
    what, ctype = argument_name(signature, p), binding.get(p.ctype, p.ctype)
    if arg is None and optional:
        return None
    if not _is_array(arg):
        raise TypeError(
            f"{what} points to {ctype}, got {type(arg).__name__}: pass a NumPy or CuPy array"
        )
    if ctype != "void":
        _check_elements(layout_of_value(signature, p, binding), arg, ctype, what)
    if not arg.flags.c_contiguous:
        raise ValueError(
            f"{what} must be C-contiguous, got shape {arg.shape} with strides {arg.strides}: "
            "pass ascontiguousarray of it"
            + (", or its .T if the kernel counts down columns" if arg.flags.f_contiguous else "")
        )
    if not p.const and isinstance(arg, np.ndarray) and not arg.flags.writeable:
        raise ValueError(f"{what} is written to, got a read-only array: pass a copy")
    if shape is not None and tuple(arg.shape) != tuple(shape):
        raise ValueError(f"{what} must have shape {tuple(shape)}, got {tuple(arg.shape)}")
    return arg  # type: ignore[no-any-return]


def _check_elements(layout: Layout, array: Array, ctype: str, what: str) -> None:
    if layout.takes(array.dtype, array.size):
        return
    if layout.is_number:
        raise TypeError(f"{what} points to {ctype} ({layout.dtype}), got {array.dtype}: convert it")
    wanted = f"an array of dtype {layout.dtype}"
    if layout.uniform is not None:
        kind, count = layout.uniform
        wanted = f"an array of {scalars.dtype_of(kind)} with a multiple of {count} elements"
    raise TypeError(
        f"{what} points to {ctype}, got {array.size} elements of {array.dtype}: pass {wanted}"
    )


def _one_device(
    kernel: str, arrays: Sequence[tuple[KernelParameter, Any]], default: Device | None
) -> Device:
    if not arrays and default is not None:
        return default
    if not arrays:
        raise TypeError(
            f"{kernel}: no argument is an array, so nothing says where to run: pass one"
        )
    first, device = arrays[0][0], device_of(arrays[0][1])
    for p, array in arrays[1:]:
        if device_of(array) != device:
            raise ValueError(
                f"{kernel}: argument {p.name} is on {device_of(array)}, but {first.name} is on "
                f"{device}: bring both to one device"
            )
    return device


def _refuse_overlaps(kernel: str, arrays: Sequence[tuple[KernelParameter, Any]]) -> None:
    """Refuse what ``__restrict__`` rules out: an array that is written and overlaps another."""
    spans = [(p, *extent_of(a)) for p, a in arrays]
    for (p, low, high), (q, other_low, other_high) in itertools.combinations(spans, 2):
        if p.rules_out(q) and max(low, other_low) < min(high, other_high):
            raise ValueError(
                f"{kernel}: arguments {p.name} and {q.name} overlap in memory, which the kernel "
                "rules out by __restrict__: pass a copy of one"
            )
