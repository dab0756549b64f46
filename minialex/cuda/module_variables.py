"""Variables at file scope on a GPU: how they are compiled, and where they are then.

By their symbols CUDA says where they are, CuPy not how large. So beside each stands a constant that
does, and is found by a name of our own.
"""

from __future__ import annotations

import importlib
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from minialex.cuda.device_variables import VariableLayout, VariableStorage
from minialex.cuda.variable_declarations import DeviceVariable, device_variables


class ModuleVariables(VariableStorage):
    """The variables of one module of CuPy's, on the device that is current.

    Parameters
    ----------
    module : cupy.RawModule
        Of what `with_extents` makes of `text`, with `expressions` of it among its names.
    """

    def __init__(self, module: Any, text: str) -> None:
        self._cupy = cupy = importlib.import_module("cupy")
        self._device = cupy.cuda.Device()
        self._bytes: dict[str, Any] = {}
        layouts = {}
        for variable in device_variables(text):
            count = variable.axes + 1
            try:
                pointer = module.get_global(_symbol(module, variable, _extents(variable)))
                extents = cupy.ndarray((count,), np.uint64, pointer).get()
                pointer = module.get_global(_symbol(module, variable, variable.bare))
            except cupy.cuda.driver.CUDADriverError:
                # under an #if that does not hold
                continue
            layouts[variable.name] = _layout(variable, [int(size) for size in extents])
            self._bytes[variable.name] = cupy.ndarray((int(extents[0]),), np.uint8, pointer)
        super().__init__(layouts)

    def read(self, name: str) -> bytes:
        """Return the bytes of a variable."""
        with self._device:
            return bytes(self._bytes[name].get().tobytes())

    def write(self, name: str, data: bytes) -> None:
        """Set the bytes of a variable."""
        with self._device:
            self._bytes[name].set(np.frombuffer(data, np.uint8))


def with_extents(text: str) -> str:
    """Return the CUDA `text` with the sizes of its variables beside them.

    Every line stays where it was. Of ``float k[2][3]`` the sizes in bytes are those of ``k``,
    ``k[0]`` and ``k[0][0]``.
    """
    parts, at = [], 0
    for declaration, group in groupby(device_variables(text), lambda v: v.declaration):
        end = declaration.tokens[-1].end
        parts += [text[at:end], *map(_sizes, group)]
        at = end
    return "".join([*parts, text[at:]])


def expressions(text: str) -> list[str]:
    """Return the name expressions of the variables whose symbols only the compiler knows."""
    hidden = [v for v in device_variables(text) if _is_hidden(v)]
    # it takes none of managed memory
    asked = [v for v in hidden if v.kind != "__managed__"]
    return [_expression(v, name) for v in asked for name in (v.bare, _extents(v))]


def _sizes(variable: DeviceVariable) -> str:
    sizes = ", ".join(f"sizeof({variable.bare}{'[0]' * i})" for i in range(variable.axes + 1))
    return f' extern "C" __device__ const unsigned long long {_extents(variable)}[] = {{{sizes}}};'


def _extents(variable: DeviceVariable) -> str:
    return f"minialex_extents_{variable.number}"


def _is_hidden(variable: DeviceVariable) -> bool:
    return "" in variable.declaration.namespace


def _expression(variable: DeviceVariable, name: str) -> str:
    return "&" + "::".join([*filter(None, variable.declaration.namespace), name])


def _symbol(module: Any, variable: DeviceVariable, name: str) -> str:
    """Return what a variable, or that of its sizes, is called in the machine code."""
    if _is_hidden(variable):
        expression = _expression(variable, name)
        return str(module.module.mapping.get(expression, expression))
    names = variable.name.split("::")
    if name != variable.bare or len(names) == 1:
        return name
    # as the C++ ABI of Itanium has it
    return "_ZN" + "".join(f"{len(one)}{one}" for one in names) + "E"


def _layout(variable: DeviceVariable, extents: list[int]) -> VariableLayout:
    shape = tuple(whole // part for whole, part in pairwise(extents))
    return VariableLayout.of(variable, np.dtype(f"V{extents[-1]}"), shape)
