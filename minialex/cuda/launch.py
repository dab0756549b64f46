"""A kernel as Python calls it.

    relu_forward = cuda.kernel("relu.cu", "relu_forward")
    relu_forward(cuda.blocks(x.size), cuda.BLOCK, x, y, x.size)

On CuPy arrays it is compiled by NVRTC, once, and launched; on NumPy arrays it runs under the
emulator, and only there. Either way each argument is first checked against the kernel's text: whole
for the first launch of its kind, and by its plan (`plan`) for those that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minialex.arrays import Device
from minialex.cuda import emulator, gpu, source
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.arguments import Bound, bind
from minialex.cuda.plan import LaunchPlan, Plans
from minialex.cuda.signature import Signature, signatures
from minialex.errors import MinialexError

BLOCK = 256
Size = int | Sequence[int]
_MAX_THREADS = max(one.threads_per_block for one in ARCHITECTURES.values())
_MAX_BLOCK = (1024, 1024, 64)
_MAX_SHARED = max(one.shared_per_block for one in ARCHITECTURES.values())
_MAX_GRID = (2**31 - 1, 65535, 65535)


def blocks(count: int, block: int = BLOCK) -> int:
    """Return how many blocks of `block` threads cover `count` threads."""
    return -(-count // block)


class Kernel:
    """One ``__global__`` function of one file, to be called like a function.

    Parameters
    ----------
    file : str or Path
        A file of the kernel folder by name, or the path of any other.
    name : str
        The function.
    optional : sequence of str
        The pointers that may be None, which the kernel then reads as null.

    Examples
    --------
    ``kernel(grid, block, *args, shared=0, shapes=None, **template)``: `grid` and `block` are one
    to three sizes; `shared` is the dynamic shared memory in bytes; `shapes` maps the name of an
    array to the shape that it must have; the rest are template arguments by name. Types are
    deduced from the arrays. An empty grid launches nothing.
    """

    def __init__(self, file: str | Path, name: str, *, optional: Sequence[str] = ()) -> None:
        self.file, self.name, self.optional = file, name, tuple(optional)
        self._plans: Plans | None = None

    def __repr__(self) -> str:
        return f"<kernel {self.name} of {self.file}>"

    @property
    def signature(self) -> Signature:
        """What the text declares.

        Raises
        ------
        MinialexError
            If the file has no kernel of that name.
        """
        found = signatures(source.read(self.file))
        if self.name not in found:
            raise MinialexError(
                f"{self.file} has no kernel {self.name!r}: it has {', '.join(found) or 'none'}"
            )
        return found[self.name]

    def __call__(
        self,
        grid: Size,
        block: Size,
        *args: Any,
        shared: int = 0,
        shapes: Mapping[str, Sequence[int]] | None = None,
        **template: Any,
    ) -> None:
        """Check the arguments and run the kernel.

        Raises
        ------
        TypeError, ValueError
            If an argument, the grid or the block is not what the kernel takes.
        MinialexError
            If the arrays are NumPy's and no emulator is on, or the kernel does not compile.
        """
        plans = self._plans
        if plans is None or plans.source is not source.read(self.file):
            plans = self._plans = Plans(source.read(self.file), self.signature)
        key, plan = plans.find(args, grid, block, shared, shapes, template)
        if plan is None or plan.overlap(args):
            plan = self._check(plans, args, grid, block, shared, shapes, template)
            if key is not None:
                plans.keep(key, plan)
        values = plan.fill(args)
        if 0 in plan.grid:
            return
        _back_end(plan.device).launch(plan, values)

    def _check(
        self,
        plans: Plans,
        args: Sequence[Any],
        grid: Size,
        block: Size,
        shared: int,
        shapes: Mapping[str, Sequence[int]] | None,
        template: Mapping[str, Any],
    ) -> LaunchPlan:
        """Check everything given and return the plan for launches like it."""
        signature = plans.signature
        bound = bind(signature, args, template, optional=self.optional, shapes=shapes)
        grid3 = _sizes(self.name, "grid", grid, _MAX_GRID, least=0)
        block3 = _sizes(self.name, "block", block, _MAX_BLOCK, least=1)
        _check_threads(signature, block3, bound)
        if not _is_int(shared) or not 0 <= shared <= _MAX_SHARED:
            raise ValueError(
                f"{self.name}: shared must be 0 to {_MAX_SHARED} bytes, the most that a GPU has, "
                f"got {shared!r}"
            )
        by_value = _back_end(bound.device).by_value
        return LaunchPlan.of(plans.source, signature, bound, grid3, block3, shared, by_value)


def why_not(device: Device) -> str:
    """Return why kernels cannot run on arrays of `device`; empty where they can."""
    if device.kind == "cuda" or emulator.emulation() is not None:
        return ""
    return (
        "CUDA kernels run on a GPU (--device cuda:0) or, on the CPU's arrays, under the emulator: "
        "'with minialex.emulated():' (--emulate on the command line)"
    )


def capability(device: Device) -> int:
    """Return the compute capability, times ten, of where kernels run on arrays of `device`.

    Of the CPU it is that of the GPU which is emulated, 0 where none is.
    """
    if device.kind == "cuda":
        return gpu.capability(device.index)
    emulation = emulator.emulation()
    return 0 if emulation is None else emulation.architecture.capability


def kernel(file: str | Path, name: str, *, optional: Sequence[str] = ()) -> Kernel:
    """Return the kernel `name` of `file`; see `Kernel`. Nothing is read before the first call."""
    return Kernel(file, name, optional=optional)


def _back_end(device: Device) -> ModuleType:
    return gpu if device.kind == "cuda" else emulator


def _sizes(
    kernel: str, what: str, given: Size, limits: tuple[int, int, int], *, least: int
) -> tuple[int, int, int]:
    sizes = tuple(given) if isinstance(given, Sequence) else (given,)
    if not 1 <= len(sizes) <= 3 or not all(_is_int(size) for size in sizes):
        raise TypeError(f"{kernel}: {what} must be one to three ints, got {given!r}")
    x, y, z = (*(int(s) for s in sizes), 1, 1)[:3]
    for size, limit, axis in zip((x, y, z), limits, "xyz", strict=True):
        if not least <= size <= limit:
            raise ValueError(f"{kernel}: {what}.{axis} must be {least} to {limit}, got {size}")
    return x, y, z


def _is_int(size: object) -> bool:
    return isinstance(size, int | np.integer) and not isinstance(size, bool)


def _check_threads(signature: Signature, block: tuple[int, int, int], bound: Bound) -> None:
    threads, limit = block[0] * block[1] * block[2], _MAX_THREADS
    declared = bound.binding.get(signature.launch_bound, signature.launch_bound)
    if declared.isdigit():
        limit = min(limit, int(declared))
    if threads > limit:
        why = "by __launch_bounds__" if limit < _MAX_THREADS else "on any GPU"
        raise ValueError(
            f"{signature.name}: block has {threads} threads, at most {limit} {why}: launch smaller"
        )
