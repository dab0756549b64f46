"""Variables at file scope under the emulator: how they are compiled, and where they are then."""

from __future__ import annotations

import ctypes
import functools
import math
from itertools import groupby
from pathlib import Path

import numpy as np

from minialex.cuda.device_variables import VariableLayout, VariableStorage, variables
from minialex.cuda.emulator import compiler
from minialex.cuda.emulator.interface import ElementType, Region, Variable
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.tokens import closing
from minialex.cuda.variable_declarations import (
    DeviceVariable,
    device_variables,
    is_attribute,
    type_of,
)


class LibraryVariables(VariableStorage):
    """The variables of one compiled library.

    Attributes
    ----------
    regions : dict of str to Region
        Where each is, by its name with namespaces.
    """

    def __init__(self, library: ctypes.CDLL, text: str) -> None:
        by_number: dict[int, Region] = {}
        following = ctypes.POINTER(Variable).in_dll(library, "emu_variables")
        while following:
            by_number[following.contents.number] = following.contents.region
            following = following.contents.next
        # of two in branches of an #if, one is there
        there = [v for v in device_variables(text) if v.number in by_number]
        self.regions = {v.name: by_number[v.number] for v in there}
        super().__init__({v.name: _layout(by_number[v.number], v) for v in there})

    def read(self, name: str) -> bytes:
        """Return the bytes of a variable."""
        region = self.regions[name]
        return ctypes.string_at(region.base, region.bytes)

    def write(self, name: str, data: bytes) -> None:
        """Set the bytes of a variable."""
        # what is const lies where nothing can be written, and is as it was
        if data != self.read(name):
            ctypes.memmove(self.regions[name].base, data, len(data))


@functools.cache
def library_variables(path: Path, text: str) -> LibraryVariables:
    """Return the variables of the library at `path`, compiled from CUDA `text`."""
    return LibraryVariables(compiler.load(path), text)


def regions(plan: LaunchPlan, its_variables: LibraryVariables) -> list[Region]:
    """Return the variables as the runtime is told of them when a launch begins."""
    found = []
    for name, known in its_variables.regions.items():
        region = Region.from_buffer_copy(known)
        region.unfilled &= not variables(plan.source.file).is_set(name)
        found.append(region)
    return found


def shape_of(region: Region) -> tuple[int, ...]:
    """Return the sizes of a variable, in which a float4 is an axis of four numbers."""
    element: ElementType = region.element_type
    shape = tuple(element.extent[: element.rank])
    # of very many axes not all are listed
    is_whole = math.prod(shape) * element.bytes == region.bytes
    return shape if is_whole else (region.bytes // element.bytes,)


def _layout(region: Region, variable: DeviceVariable) -> VariableLayout:
    element: ElementType = region.element_type
    known, shape, size = variable.layout, shape_of(region), element.bytes
    if known and shape and known.dtype.itemsize == shape[-1] * size != size:
        # the last axis is that of a vector, or of a struct that looks like one
        shape, size = shape[:-1], known.dtype.itemsize
    kind = {"h": "f", "b": "u", "?": "V"}.get(code := element.code.decode(), code)
    dtype = f"{kind}{size}" if size == element.bytes else f"V{size}"
    return VariableLayout.of(variable, np.dtype(dtype), shape)


def list_variables(text: str) -> str:
    """Return the CUDA `text` with its variables placed apart and listed: ``emu/variables.h``.

    Every line stays where it was.
    """
    parts, at = [], 0
    for declaration, group in groupby(device_variables(text), lambda v: v.declaration):
        ones = list(group)
        end = declaration.tokens[-1].end
        is_apart = all(map(_can_be_apart, ones))
        old = text[declaration.start : end]
        new = " ".join(_apart(text, v) for v in ones) if is_apart else old
        new += "".join(_listed(v, is_apart) for v in ones)
        parts += [text[at : declaration.start], new, "\n" * (old.count("\n") - new.count("\n"))]
        at = end
    return "".join([*parts, text[at:]])


def _can_be_apart(variable: DeviceVariable) -> bool:
    words = [token.text for token in variable.declarator]
    # the size of `k[] = {1, 2}` is known to the compiler alone
    is_plain = variable.ctype not in ("", "auto") and "[ ]" not in " ".join(words[:3])
    is_plain = is_plain and not any(map(is_attribute, variable.declarator))
    return is_plain and not (variable.is_pointer or variable.is_fixed or variable.is_extern)


def _apart(text: str, variable: DeviceVariable) -> str:
    head, declarator, name = variable.head, variable.declarator, variable.bare
    attributes = [
        text[token.start : head[closing(head, i + 1)].end]
        for i, token in enumerate(head)
        if is_attribute(token)
    ]
    static = ["static"] if any(token.text == "static" for token in head) else []
    volatile = "volatile " if any(token.text == "volatile" for token in head) else ""
    of, i = volatile + " ".join(type_of(head)), 1
    while i < len(declarator) and declarator[i].text == "[":
        i = closing(declarator, i) + 1
    sizes, value = "".join(t.text + " " for t in declarator[1:i]), ""
    if i < len(declarator):
        value = _value(text, variable, of, i)
    kept = " ".join([*attributes, *static])
    return (
        f"{kept} emu::Apart<{of} {sizes}> emu_apart_{name}{value}; "
        f"static auto& {name} = emu_apart_{name}.variable;"
    ).lstrip()


def _value(text: str, variable: DeviceVariable, of: str, i: int) -> str:
    """Return the value of what `_apart` makes, from that which begins at token `i`."""
    declarator = variable.declarator
    first = declarator[i + 1] if declarator[i].text == "=" else declarator[i]
    value = text[first.start : declarator[-1].end]
    if not variable.axes and first.text != "{":
        # within braces, numbers are converted where nothing is lost only
        value = f"static_cast<{of}>({value})"
    return f" = {{{{}}, {value}, {{}}}}"


def _listed(variable: DeviceVariable, is_apart: bool) -> str:
    unfilled = variable.is_constant and not variable.is_initialised and not variable.is_fixed
    constant = variable.is_constant or variable.is_fixed
    margin = "emu::MARGIN" if is_apart else "0"
    flags = f"{int(constant)}, {int(unfilled)}, {margin}"
    return f" EMU_VARIABLE({variable.bare}, {variable.number}, {flags})"
