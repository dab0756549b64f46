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
from minialex.cuda.emulator.report import Named, explain
from minialex.cuda.emulator.trace import trace_lines
from minialex.cuda.emulator.translate import entry, translate
from minialex.cuda.plan import LaunchPlan, Triple

_REGIONS = 256
_EVENTS = 100_000


@dataclass(frozen=True)
class Job:
    """One launch: what runs, on what, in which shape, and how closely it is watched.

    Attributes
    ----------
    seed : int
        0 for the natural order of threads and blocks, else which shuffled one.
    traced : pair of triples or None
        The block and the thread to write down; only where `watched`.
    """

    plan: LaunchPlan
    values: tuple[Any, ...]
    architecture: Architecture
    workers: int
    watched: bool
    seed: int
    traced: tuple[Triple, Triple] | None


@dataclass(frozen=True)
class Module:
    """A compiled kernel: its library, the address of its entry, and the runtime to run it."""

    path: Path
    entry: Any
    runtime: ctypes.CDLL


_modules: dict[tuple[str, str, bool, compiler.Compiler], Module] = {}


def run(job: Job) -> list[str]:
    """Run a launch and return its trace, empty if nothing is traced.

    Raises
    ------
    EmulationError
        If the kernel does not compile or does what it must not.
    """
    module = _module(job)
    arrays = [value for value in job.values if isinstance(value, np.ndarray)]
    copies = Copies(arrays) if job.watched else None
    addresses = copies.addresses if copies else [address_of(array) for array in arrays]
    launch, memory = _launch(job, module, addresses)
    if job.watched:
        memory += _watch(launch, job, arrays, addresses)
    failed = module.runtime.emu_launch(ctypes.byref(launch))
    # What the launch points to has to live until here.
    del memory
    if failed:
        raise explain(job.plan.expression, launch.fault, _named(job, launch), _lines(job, module))
    if copies:
        copies.copy_back([not p.const for p, _ in _array_parameters(job)])
    return _trace(job, launch, _lines(job, module)) if job.traced else []


def _module(job: Job) -> Module:
    """Return the compiled kernel, compiled together with its neighbours if it is new."""
    tool = compiler.compiler()
    key = (job.plan.source.digest, job.plan.expression, job.watched, tool)
    if key not in _modules:
        names = gpu.together(job.plan.source, job.plan.signature, job.plan.binding)
        text = translate(job.plan.source.text, names)
        path = compiler.build(text, job.plan.expression, watched=job.watched)
        runtime, library = compiler.load_runtime(compiler.runtime()), compiler.load(path)
        for number, name in enumerate(names):
            place = ctypes.cast(library[entry(number)], ctypes.c_void_p)
            _modules[job.plan.source.digest, name, job.watched, tool] = Module(path, place, runtime)
    return _modules[key]


def _launch(job: Job, module: Module, addresses: Sequence[int]) -> tuple[interface.Launch, Any]:
    """Return the runtime's description of `job`, and the memory that it points to."""
    values = job.values
    # A copy of each argument and a pointer to each copy, as CUDA's launch has it.
    places = iter(addresses)
    slots = [
        np.array(np.uint64(next(places)) if isinstance(value, np.ndarray) else value)
        for value in values
    ]
    pointers = (ctypes.c_void_p * (len(slots) + 1))(*map(address_of, slots))
    launch = interface.Launch()
    launch.entry = module.entry
    launch.args = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))
    launch.grid, launch.block, launch.shared = job.plan.grid, job.plan.block, job.plan.shared
    launch.shared_limit = job.architecture.shared_per_block
    cores = job.architecture.tensor_cores
    if cores is not None:
        launch.tensor_cores = interface.TensorCores(*dataclasses.astuple(cores))
    launch.workers, launch.watched, launch.seed = job.workers, int(job.watched), job.seed
    return launch, [slots, pointers]


def _watch(
    launch: interface.Launch, job: Job, arrays: Sequence[Array], addresses: Sequence[int]
) -> list[Any]:
    """Tell the runtime which arrays there are and whom to trace; return the memory for it."""
    regions = (interface.Region * _REGIONS)()
    for region, array, address in zip(regions, arrays, addresses, strict=False):
        region.base, region.bytes = address, array.nbytes
        region.elements.bytes = array.itemsize
    launch.regions, launch.region_capacity = regions, _REGIONS
    launch.region_count = len(arrays)
    if job.traced is None:
        return [regions]
    events = (interface.Event * _EVENTS)()
    launch.traced, (launch.traced_block, launch.traced_thread) = 1, job.traced
    launch.events, launch.event_capacity = events, _EVENTS
    return [regions, events]


def _lines(job: Job, module: Module) -> Lines:
    return Lines(module.path, job.plan.source)


def _array_parameters(job: Job) -> list[tuple[Any, Array]]:
    """Return the parameters that are arrays and not null, with their arrays."""
    pairs = zip(job.plan.signature.parameters, job.values, strict=True)
    return [(p, value) for p, value in pairs if isinstance(value, np.ndarray)]


def _named(job: Job, launch: interface.Launch) -> list[Named]:
    """Return the arrays of a launch in the order of its regions: arguments, then shared memory."""
    named = [
        Named(p.name, array.shape or (1,), array.itemsize, _code(job, p.ctype, array), False)
        for p, array in _array_parameters(job)
    ]
    shared = launch.regions[len(named) : launch.region_count] if job.watched else []
    return named + [_shared(region) for region in shared]


def _shared(region: interface.Region) -> Named:
    elements = region.elements
    extents = list(elements.extent)[: elements.rank]
    # The first extent of `extern __shared__ float a[]` is not in the text.
    rest = int(np.prod(extents[1:])) if extents else 1
    first = region.bytes // elements.bytes // rest
    shape = (first, *extents[1:])
    return Named(region.name.decode(), shape, elements.bytes, elements.code.decode(), True)


def _code(job: Job, ctype: str, array: Array) -> str:
    """Return the element type as ``emu/runtime.h`` codes it."""
    if job.plan.binding.get(ctype, ctype) == "__nv_bfloat16":
        return "b"
    return {"b": "u"}.get(array.dtype.kind, array.dtype.kind)


def _trace(job: Job, launch: interface.Launch, lines: Lines) -> list[str]:
    block, thread = job.traced or ((0, 0, 0), (0, 0, 0))
    shape = f"grid {job.plan.grid}, block {job.plan.block}"
    if any(a >= b for a, b in zip(block + thread, job.plan.grid + job.plan.block, strict=True)):
        return [f"{job.plan.expression}, {shape}: has no thread {thread} of block {block}"]
    head = f"{job.plan.expression}, {shape}: what thread {thread} of block {block} does"
    kept = launch.events[: min(launch.event_count, launch.event_capacity)]
    out = [head, *trace_lines(kept, _named(job, launch), lines)]
    if launch.event_count > launch.event_capacity:
        out.append(f"... and {launch.event_count - launch.event_capacity} more")
    return out
