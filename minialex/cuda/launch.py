"""The launch of a kernel, step by step: imported when the first one is launched.

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
from minialex.cuda import emulator, gpu, source, where
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.arguments import BoundArguments, bind
from minialex.cuda.kernels import Size
from minialex.cuda.plan import Dim3, LaunchPlan, PlanCache
from minialex.cuda.signature import Signature, signature

_MAX_THREADS_PER_BLOCK = max(one.threads_per_block for one in ARCHITECTURES.values())
_MAX_BLOCK: Dim3 = (1024, 1024, 64)
_MAX_GRID: Dim3 = (2**31 - 1, 65535, 65535)
_MAX_SHARED_BYTES = max(one.shared_per_block for one in ARCHITECTURES.values())


class Launcher:
    """What launches one kernel; see `minialex.cuda.Kernel`, whose arguments these are."""

    def __init__(
        self, file: str | Path, name: str, optional: Sequence[str], options: Sequence[str]
    ) -> None:
        self.file, self.name = file, name
        self.optional, self.options = optional, options
        self._plans: PlanCache | None = None

    @property
    def signature(self) -> Signature:
        """What the text declares."""
        return signature(self._source(), self.name)

    def launch(
        self,
        grid: Size,
        block: Size,
        args: Sequence[Any],
        shared: int,
        shapes: Mapping[str, Sequence[int]] | None,
        template: Mapping[str, Any],
    ) -> None:
        """Check the arguments and run the kernel."""
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
            default=None if where.emulation() is None else CPU,
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
