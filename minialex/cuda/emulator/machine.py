"""Runs one launch under the emulator: from checked arguments to what the kernel left in them."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minialex.arrays import Array, address_of
from minialex.cuda import gpu
from minialex.cuda.architectures import Architecture
from minialex.cuda.emulator import compiler, interface
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.memory import Copies
from minialex.cuda.emulator.report import NamedArray, explain
from minialex.cuda.emulator.trace import trace_lines
from minialex.cuda.emulator.translate import entry, translate
from minialex.cuda.plan import Dim3, LaunchPlan

_MAX_REGIONS = 256
_MAX_EVENTS = 100_000


@dataclass(frozen=True)
class EmulatedLaunch:
    """One launch: what runs, on what, in which shape, and whether it is checked.

    Attributes
    ----------
    seed : int
        0 for the natural order of threads and blocks, else which shuffled one.
    traced : pair of triples or None
        The block and the thread to write down; only where `checked`.
    """

    plan: LaunchPlan
    values: tuple[Any, ...]
    architecture: Architecture
    workers: int
    checked: bool
    seed: int
    traced: tuple[Dim3, Dim3] | None


@dataclass(frozen=True)
class CompiledKernel:
    """A compiled kernel: its library, the address of its entry, and the runtime to run it."""

    path: Path
    entry: Any
    runtime: ctypes.CDLL


_compiled_kernels: dict[tuple[str, str, bool, compiler.Compiler], CompiledKernel] = {}


def run(task: EmulatedLaunch) -> list[str]:
    """Run a launch and return its trace, empty if nothing is traced.

    Raises
    ------
    EmulationError
        If the kernel does not compile or does what it must not.
    """
    compiled = _compiled(task)
    arrays = [value for value in task.values if isinstance(value, np.ndarray)]
    copies = Copies(arrays) if task.checked else None
    addresses = copies.addresses if copies else [address_of(array) for array in arrays]
    launch, memory = _launch(task, compiled, addresses)
    if task.checked:
        memory += _describe_memory(launch, task, arrays, addresses)
    failed = compiled.runtime.emu_launch(ctypes.byref(launch))
    # What the launch points to has to live until here.
    del memory
    if failed:
        raise explain(
            task.plan.expression, launch.fault, _named(task, launch), _lines(task, compiled)
        )
    if copies:
        copies.copy_back([not p.const for p, _ in _array_parameters(task)])
    if task.traced is None:
        return []
    return _trace(task, *task.traced, launch, _lines(task, compiled))


def _compiled(task: EmulatedLaunch) -> CompiledKernel:
    """Return the compiled kernel, compiled together with its neighbours if it is new."""
    tool = compiler.compiler()
    key = (task.plan.source.digest, task.plan.expression, task.checked, tool)
    if key not in _compiled_kernels:
        names = gpu.compiled_together(task.plan.source, task.plan.signature, task.plan.binding)
        text = translate(task.plan.source.text, names)
        path = compiler.build(text, task.plan.expression, checked=task.checked)
        runtime, library = compiler.load_runtime(compiler.runtime()), compiler.load(path)
        for number, name in enumerate(names):
            address = ctypes.cast(library[entry(number)], ctypes.c_void_p)
            _compiled_kernels[task.plan.source.digest, name, task.checked, tool] = CompiledKernel(
                path, address, runtime
            )
    return _compiled_kernels[key]


def _launch(
    task: EmulatedLaunch, compiled: CompiledKernel, addresses: Sequence[int]
) -> tuple[interface.Launch, Any]:
    """Return the runtime's description of `task`, and the memory that it points to."""
    values = task.values
    # A copy of each argument and a pointer to each copy, as CUDA's launch has it.
    remaining = iter(addresses)
    slots = [
        np.array(np.uint64(next(remaining)) if isinstance(value, np.ndarray) else value)
        for value in values
    ]
    pointers = (ctypes.c_void_p * (len(slots) + 1))(*map(address_of, slots))
    launch = interface.Launch()
    launch.entry = compiled.entry
    launch.args = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))
    launch.grid, launch.block, launch.shared = task.plan.grid, task.plan.block, task.plan.shared
    launch.shared_limit = task.architecture.shared_per_block
    cores = task.architecture.tensor_cores
    if cores is not None:
        launch.tensor_cores = interface.TensorCores(*dataclasses.astuple(cores))
    launch.workers, launch.checked, launch.seed = task.workers, int(task.checked), task.seed
    return launch, [slots, pointers]


def _describe_memory(
    launch: interface.Launch,
    task: EmulatedLaunch,
    arrays: Sequence[Array],
    addresses: Sequence[int],
) -> list[Any]:
    """Tell the runtime which arrays there are and whom to trace; return the memory for it."""
    regions = (interface.Region * _MAX_REGIONS)()
    for region, array, address in zip(regions, arrays, addresses, strict=False):
        region.base, region.bytes = address, array.nbytes
        region.element_type.bytes = array.itemsize
    launch.regions, launch.region_capacity = regions, _MAX_REGIONS
    launch.region_count = len(arrays)
    if task.traced is None:
        return [regions]
    events = (interface.Event * _MAX_EVENTS)()
    launch.traced, (launch.traced_block, launch.traced_thread) = 1, task.traced
    launch.events, launch.event_capacity = events, _MAX_EVENTS
    return [regions, events]


def _lines(task: EmulatedLaunch, compiled: CompiledKernel) -> Lines:
    return Lines(compiled.path, task.plan.source)


def _array_parameters(task: EmulatedLaunch) -> list[tuple[Any, Array]]:
    """Return the parameters that are arrays and not null, with their arrays."""
    pairs = zip(task.plan.signature.parameters, task.values, strict=True)
    return [(p, value) for p, value in pairs if isinstance(value, np.ndarray)]


def _named(task: EmulatedLaunch, launch: interface.Launch) -> list[NamedArray]:
    """Return the arrays of a launch in the order of its regions: arguments, then shared memory."""
    named = [
        NamedArray(p.name, array.shape or (1,), array.itemsize, _code(task, p.ctype, array), False)
        for p, array in _array_parameters(task)
    ]
    shared = launch.regions[len(named) : launch.region_count] if task.checked else []
    return named + [_shared(region) for region in shared]


def _shared(region: interface.Region) -> NamedArray:
    element_type = region.element_type
    extents = list(element_type.extent)[: element_type.rank]
    # The first extent of `extern __shared__ float a[]` is not in the text.
    rest = int(np.prod(extents[1:])) if extents else 1
    first = region.bytes // element_type.bytes // rest
    shape = (first, *extents[1:])
    return NamedArray(
        region.name.decode(), shape, element_type.bytes, element_type.code.decode(), True
    )


def _code(task: EmulatedLaunch, ctype: str, array: Array) -> str:
    """Return the element type as ``emu/runtime.h`` codes it."""
    if task.plan.binding.get(ctype, ctype) == "__nv_bfloat16":
        return "b"
    return {"b": "u"}.get(array.dtype.kind, array.dtype.kind)


def _trace(
    task: EmulatedLaunch, block: Dim3, thread: Dim3, launch: interface.Launch, lines: Lines
) -> list[str]:
    shape = f"grid {task.plan.grid}, block {task.plan.block}"
    if any(a >= b for a, b in zip(block + thread, task.plan.grid + task.plan.block, strict=True)):
        return [f"{task.plan.expression}, {shape}: has no thread {thread} of block {block}"]
    head = f"{task.plan.expression}, {shape}: what thread {thread} of block {block} does"
    kept = launch.events[: min(launch.event_count, launch.event_capacity)]
    out = [head, *trace_lines(kept, _named(task, launch), lines)]
    if launch.event_count > launch.event_capacity:
        out.append(f"... and {launch.event_count - launch.event_capacity} more")
    return out
