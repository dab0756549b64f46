"""Kernels as Python calls them.

    relu_forward = cuda.kernel("relu.cu", "relu_forward")
    relu_forward(cuda.blocks(x.size), cuda.BLOCK_SIZE, x, y, x.size)

A launch

1. looks up the plan of an earlier launch of the same kind (`plan`);
2. where there is none, has each argument checked against the kernel's text (`arguments`), and keeps
   the plan that comes of it;
3. fills the plan with its own arrays and numbers;
4. goes to a back end: CuPy arrays to the GPU, compiled by NVRTC, once (`gpu`); NumPy arrays to the
   emulator, where one is active, and nowhere else (`emulator`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minialex.arrays import CPU, Device
from minialex.cuda import emulator, gpu, source
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.arguments import BoundArguments, bind
from minialex.cuda.plan import Dim3, LaunchPlan, PlanCache
from minialex.cuda.signature import Signature, signature

BLOCK_SIZE = 256
"""Threads of a 1-D block where a kernel asks for no other number."""

Size = int | Sequence[int]
_MAX_THREADS_PER_BLOCK = max(one.threads_per_block for one in ARCHITECTURES.values())
_MAX_BLOCK: Dim3 = (1024, 1024, 64)
_MAX_GRID: Dim3 = (2**31 - 1, 65535, 65535)
_MAX_SHARED_BYTES = max(one.shared_per_block for one in ARCHITECTURES.values())


def blocks(count: int, threads: int = BLOCK_SIZE) -> int:
    """Return how many blocks of `threads` threads cover `count` threads."""
    return -(-count // threads)


class Kernel:
    """One ``__global__`` function of one file, to be called like a function.

    Parameters
    ----------
    file : str or Path
        A file of the kernel folder by name, or the path of any other. One that does not include
        ``common.cuh`` may hold anything, host code and headers too: see `minialex.cuda.foreign`.
    name : str
        The function, with its namespaces where there are several of that name.
    optional : sequence of str
        The pointers that may be None, which the kernel then reads as null; of a foreign file all
        may.
    options : sequence of str
        Of the compiler, as a foreign file may need them: ``-DNAME=VALUE``, ``-UNAME``,
        ``-IFOLDER``.

    Examples
    --------
    ``kernel(grid, block, *args, shared=0, shapes=None, **template)``: `grid` and `block` are one
    to three sizes; `shared` is the dynamic shared memory in bytes; `shapes` maps the name of an
    array to the shape that it must have; the rest are template arguments by name. Types are
    deduced from the arrays. An empty grid launches nothing.
    """

    def __init__(
        self,
        file: str | Path,
        name: str,
        *,
        optional: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.file, self.name = file, name
        self.optional, self.options = tuple(optional), tuple(options)
        self._plans: PlanCache | None = None

    def __repr__(self) -> str:
        return f"<kernel {self.name} of {self.file}>"

    @property
    def signature(self) -> Signature:
        """What the text declares.

        Raises
        ------
        MinialexError
            If the file has no kernel of that name, or it cannot be launched.
        """
        return signature(self._source(), self.name)

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
            If the arrays are NumPy's and no emulator is active, or the kernel does not compile.
        """
        plans = self._plan_cache()
        key, plan = plans.look_up(args, grid, block, shared, shapes, template)
        if plan is None or plan.has_overlap(args):
            plan = self._checked_plan(plans, args, grid, block, shared, shapes, template)
            if key is not None:
                plans.store(key, plan)
        values = plan.filled(args)
        if 0 not in plan.grid:
            _back_end(plan.device).launch(plan, values)

    def _source(self) -> source.Source:
        return source.read(self.file, self.options)

    def _plan_cache(self) -> PlanCache:
        """Return the plans of the kernel as its file's text is now."""
        text = self._source()
        if self._plans is None or self._plans.source is not text:
            self._plans = PlanCache(text, self.signature)
        return self._plans

    def _checked_plan(
        self,
        plans: PlanCache,
        args: Sequence[Any],
        grid: Size,
        block: Size,
        shared: int,
        shapes: Mapping[str, Sequence[int]] | None,
        template: Mapping[str, Any],
    ) -> LaunchPlan:
        """Check everything given and return the plan for launches like it."""
        declared = plans.signature
        bound = bind(
            declared,
            args,
            template,
            optional=[p.name for p in declared.parameters]
            if plans.source.is_foreign
            else self.optional,
            shapes=shapes,
            default=None if emulator.emulation() is None else CPU,
        )
        grid3 = _dim3(self.name, "grid", grid, _MAX_GRID, least=0)
        block3 = _dim3(self.name, "block", block, _MAX_BLOCK, least=1)
        _check_threads(declared, block3, bound)
        if not _is_int(shared) or not 0 <= shared <= _MAX_SHARED_BYTES:
            raise ValueError(
                f"{self.name}: shared must be 0 to {_MAX_SHARED_BYTES} bytes, the most that a GPU "
                f"has, got {shared!r}"
            )
        by_value = _back_end(bound.device).by_value
        return LaunchPlan.of(plans.source, declared, bound, grid3, block3, shared, by_value)


def kernel(
    file: str | Path, name: str, *, optional: Sequence[str] = (), options: Sequence[str] = ()
) -> Kernel:
    """Return the kernel `name` of `file`; see `Kernel`. Nothing is read before the first call."""
    return Kernel(file, name, optional=optional, options=options)


def why_not(device: Device) -> str:
    """Return why kernels cannot run on arrays of `device`; empty where they can."""
    if device.kind == "cuda" or emulator.emulation() is not None:
        return ""
    return (
        "CUDA kernels run on a GPU (--device cuda:0) or, on the CPU's arrays, under the emulator: "
        "'with minialex.emulated():' (--emulate on the command line)"
    )


def is_gpu(device: Device) -> bool:
    """Return whether arrays of `device` are a GPU's, or are counted as if they were."""
    emulation = emulator.emulation()
    return device.kind == "cuda" or (emulation is not None and emulation.mode == "counted")


def capability(device: Device) -> int:
    """Return the compute capability, times ten, of where kernels run on arrays of `device`.

    Of the CPU it is that of the GPU which is emulated, 0 where none is.
    """
    if device.kind == "cuda":
        return gpu.capability(device.index)
    emulation = emulator.emulation()
    return 0 if emulation is None else emulation.architecture.capability


def _back_end(device: Device) -> ModuleType:
    return gpu if device.kind == "cuda" else emulator


def _dim3(kernel: str, what: str, given: Size, limits: Dim3, *, least: int) -> Dim3:
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


def _check_threads(declared: Signature, block: Dim3, bound: BoundArguments) -> None:
    threads, limit = block[0] * block[1] * block[2], _MAX_THREADS_PER_BLOCK
    limit = min(limit, declared.most_threads(bound.binding) or limit)
    if threads > limit:
        why = "by __launch_bounds__" if limit < _MAX_THREADS_PER_BLOCK else "on any GPU"
        raise ValueError(
            f"{declared.name}: block has {threads} threads, at most {limit} {why}: launch smaller"
        )
