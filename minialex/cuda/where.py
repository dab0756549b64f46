"""Where kernels run: on a GPU, or under the emulation that is active.

Ops ask at every call, also those that never launch a kernel: nothing here needs the launch layer.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from minialex.arrays import Device

if TYPE_CHECKING:
    from minialex.cuda.emulator import Emulation


def emulation() -> Emulation | None:
    """Return the active emulation, None where kernels do not run on NumPy arrays."""
    # not imported for this, which is slow: before it is imported none is active
    ask: Callable[[], Emulation | None] | None
    ask = getattr(sys.modules.get("minialex.cuda.emulator"), "emulation", None)
    return None if ask is None else ask()


def why_not(device: Device) -> str:
    """Return why kernels cannot run on arrays of `device`; empty where they can."""
    if device.kind == "cuda" or emulation() is not None:
        return ""
    return (
        "CUDA kernels run on a GPU (--device cuda:0) or, on the CPU's arrays, under the emulator: "
        "'with minialex.emulated():' (--emulate on the command line)"
    )


def is_gpu(device: Device) -> bool:
    """Return whether arrays of `device` are a GPU's, or are counted as if they were."""
    emulated = emulation()
    return device.kind == "cuda" or (emulated is not None and emulated.mode == "counted")


def capability(device: Device) -> int:
    """Return the compute capability, times ten, of where kernels run on arrays of `device`.

    Of the CPU it is that of the GPU which is emulated, 0 where none is.
    """
    if device.kind == "cuda":
        return gpu_capability(device.index)
    emulated = emulation()
    return 0 if emulated is None else emulated.architecture.capability


@functools.cache
def gpu_capability(index: int) -> int:
    """Return the compute capability of a GPU, times ten: 90 is sm_90."""
    return int(importlib.import_module("cupy").cuda.Device(index).compute_capability)
