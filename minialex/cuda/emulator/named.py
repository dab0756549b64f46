"""The arrays of a launch, by the names that they have in its kernel's text."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.cuda.device_variables import variables
from minialex.cuda.emulator.interface import Region
from minialex.cuda.emulator.memory import phase_of
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.emulator.variables import LibraryVariables, shape_of
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.signature import KernelParameter


def array_parameters(
    plan: LaunchPlan, values: tuple[Any, ...]
) -> list[tuple[KernelParameter, Array]]:
    """Return the parameters that are arrays and not null, with their arrays."""
    pairs = zip(plan.signature.parameters, values, strict=True)
    return [(p, value) for p, value in pairs if isinstance(value, np.ndarray)]


def known_before(
    plan: LaunchPlan, values: tuple[Any, ...], its_variables: LibraryVariables
) -> list[NamedArray]:
    """Return the arrays that a launch begins with: its arguments, then variables at file scope."""
    arguments = [
        NamedArray(
            *(p.name, array.shape or (1,), array.itemsize, _code(plan, p.ctype, array)),
            shared=False,
            phase=phase_of(array),
        )
        for p, array in array_parameters(plan, values)
    ]
    if not its_variables.regions:
        return arguments
    short = variables(plan.source.file).short
    return arguments + [
        NamedArray(
            *(short(name), shape_of(region), region.element_type.bytes),
            code=region.element_type.code.decode(),
            shared=False,
            is_variable=True,
        )
        for name, region in its_variables.regions.items()
    ]


def shared_array(region: Region) -> NamedArray:
    """Return an array in shared memory."""
    element_type = region.element_type
    extents = list(element_type.extent)[: element_type.rank]
    # The first extent of `extern __shared__ float a[]` is not in the text.
    rest = int(np.prod(extents[1:])) if extents else 1
    first = region.bytes // element_type.bytes // rest
    shape = (first, *extents[1:])
    return NamedArray(
        region.name.decode(), shape, element_type.bytes, element_type.code.decode(), True
    )


def _code(plan: LaunchPlan, ctype: str, array: Array) -> str:
    """Return the element type as ``emu/runtime.h`` codes it."""
    if plan.binding.get(ctype, ctype) == "__nv_bfloat16":
        return "b"
    return {"b": "u", "V": "?", "c": "?"}.get(array.dtype.kind, array.dtype.kind)
