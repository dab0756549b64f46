"""The CUDA launch layer: finds the kernels, checks their arguments, compiles and launches them.

Only this package knows that ``.cu`` files exist. On CuPy arrays kernels run on the GPU; on NumPy
arrays they run under the emulator, ``with minialex.emulated():``, and nowhere else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from minialex.cuda.kernels import BLOCK_SIZE, Kernel, blocks, kernel
from minialex.cuda.where import capability, emulation, is_gpu, why_not

if TYPE_CHECKING:
    from minialex.cuda.device_variables import Variables, variables
    from minialex.cuda.emulator import Emulation, EmulationError, emulated
    from minialex.cuda.source import edited, kernel_files, kernel_folder

__all__ = [
    "BLOCK_SIZE",
    "Emulation",
    "EmulationError",
    "Kernel",
    "Variables",
    "blocks",
    "capability",
    "edited",
    "emulated",
    "emulation",
    "is_gpu",
    "kernel",
    "kernel_files",
    "kernel_folder",
    "variables",
    "why_not",
]

_LATE = {
    **dict.fromkeys(("Variables", "variables"), "minialex.cuda.device_variables"),
    **dict.fromkeys(("Emulation", "EmulationError", "emulated"), "minialex.cuda.emulator"),
    **dict.fromkeys(("edited", "kernel_files", "kernel_folder"), "minialex.cuda.source"),
}
"""By name, the module of what ``import minialex`` leaves out, to be fast."""


def __dir__() -> list[str]:
    """Return what completion should offer."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import what reads or runs kernels when it is asked for."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
