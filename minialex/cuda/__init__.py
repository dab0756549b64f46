"""The CUDA launch layer: finds the kernels, checks their arguments, compiles and launches them.

Only this package knows that ``.cu`` files exist. On CuPy arrays kernels run on the GPU; on NumPy
arrays they run under the emulator, ``with minialex.emulated():``, and nowhere else.
"""

from minialex.cuda.device_variables import Variables, variables
from minialex.cuda.emulator import Emulation, EmulationError, emulated, emulation
from minialex.cuda.launch import (
    BLOCK_SIZE,
    Kernel,
    blocks,
    capability,
    is_gpu,
    kernel,
    why_not,
)
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
