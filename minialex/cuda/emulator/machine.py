"""Runs one launch under the emulator: from checked arguments to what the kernel left in them."""

from __future__ import annotations

# of the module `signal`, getsignal looks for a member of an enum first: a tenth of a small launch
import _signal  # type: ignore[import-not-found]
import ctypes
import dataclasses
import math
import signal
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minialex.arrays import Array, address_of
from minialex.cuda import gpu
from minialex.cuda.architectures import Architecture
from minialex.cuda.compiler_text import for_emulator, left_out
from minialex.cuda.cxx import Compiler
from minialex.cuda.device_variables import variables
from minialex.cuda.emulator import compiler, interface
from minialex.cuda.emulator.counts import Counts, counts
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.memory import Copies, lies_as_on_a_gpu, phase_of
from minialex.cuda.emulator.named import array_parameters, known_before, shared_array
from minialex.cuda.emulator.recording import MAX_EVENTS, RAW, Recording, recording
from minialex.cuda.emulator.report import NamedArray, explain
from minialex.cuda.emulator.sampling import Sample
from minialex.cuda.emulator.tallies import TALLY, Tallies, weighted, work_of_blocks
from minialex.cuda.emulator.translate import entry, translate
from minialex.cuda.emulator.variables import LibraryVariables, library_variables, regions
from minialex.cuda.plan import Dim3, LaunchPlan
from minialex.errors import MinialexError

_MAX_REGIONS = 256
MAX_EVENTS_OF_A_THREAD = 100_000
MAX_TALLIES = 300_000
"""Places of a kernel's text that blocks which are counted come to, each block by itself."""


@dataclass(frozen=True)
class Traced:
    """Who is traced: a thread, all threads of its block, or all that touch an array.

    Attributes
    ----------
    watch : (str, None or int or tuple of int), optional
        The name of an array, and the index of one element or None for all.
    """

    block: Dim3
    thread: Dim3
    every_thread: bool = False
    watch: tuple[str, int | tuple[int, ...] | None] | None = None

    @property
    def is_of_a_block(self) -> bool:
        """Whether it is all threads of a block."""
        return self.every_thread and self.watch is None

    @property
    def is_of_a_thread(self) -> bool:
        """Whether it is one thread, of which a trace can be drawn."""
        return not self.every_thread and self.watch is None


@dataclass(frozen=True)
class EmulatedLaunch:
    """One launch: what runs, on what, in which shape, and how it is watched.

    Attributes
    ----------
    kind : "fast", "checked" or "counted"
        What is done about its accesses.
    seed : int
        0 for the natural order of threads and blocks, else which shuffled one.
    traced : Traced or None
        Whom to write down; only where it is checked.
    strict_alignment : bool
        Whether shared arrays are aligned as they are declared, and no more.
    max_blocks : int or None
        How many blocks run, where it is counted or others are; None for all.
    resident_blocks : int or None
        How many blocks share an L1 cache where it is counted; None for as many as threads and
        shared memory allow.
    """

    plan: LaunchPlan
    values: tuple[Any, ...]
    architecture: Architecture
    workers: int
    kind: str
    seed: int
    strict_alignment: bool = False
    traced: Traced | None = None
    max_blocks: int | None = None
    resident_blocks: int | None = None

    @property
    def build(self) -> str:
        """Which of the builds of a kernel runs: warps are put together by their basic blocks."""
        return "counted" if self.traced and self.traced.is_of_a_block else self.kind


@dataclass(frozen=True)
class CompiledKernel:
    """A compiled kernel: its library, the address of its entry, and the runtime to run it.

    Attributes
    ----------
    variables : LibraryVariables
        Those at file scope.
    """

    path: Path
    entry: Any
    runtime: ctypes.CDLL
    variables: LibraryVariables


_compiled_kernels: dict[tuple[str, str, int, str, Compiler], CompiledKernel] = {}


def run(task: EmulatedLaunch) -> Recording | Counts | None:
    """Run a launch and return what was recorded or counted of it, None if it was neither.

    Raises
    ------
    EmulationError
        If the kernel does not compile or does what it must not.
    KeyboardInterrupt
        At Ctrl-C, as `_interrupts` says.
    """
    compiled = _compiled(task)
    if compiled.variables.regions:
        variables(task.plan.source.file).enter(compiled.variables)
    arrays = [value for value in task.values if isinstance(value, np.ndarray)]
    copied = task.kind == "checked" or not all(map(lies_as_on_a_gpu, arrays))
    copies = Copies(arrays) if copied else None
    addresses = copies.addresses if copies else [address_of(array) for array in arrays]
    launch, memory = _launch(task, compiled, addresses)
    if task.kind != "fast":
        memory += _describe_memory(
            launch, arrays, addresses, regions(task.plan, compiled.variables)
        )
    events = _trace(launch, task, compiled, task.traced) if task.traced else None
    if task.kind == "counted":
        failed, sample, found = _run_sample(launch, task, compiled)
    else:
        if task.max_blocks is not None:
            memory.append(_choose(launch, Sample(task.plan.grid, task.max_blocks).weights()))
        failed = _emulate(launch, compiled)
    # What the launch points to has to live until here.
    del memory
    if failed:
        raise explain(
            task.plan.expression,
            launch.fault,
            _named(task, compiled, launch),
            _lines(task, compiled),
        )
    if copies:
        copies.copy_back([not p.const for p, _ in array_parameters(task.plan, task.values)])
    if task.kind == "counted":
        weights = sample.weights()
        return counts(
            task.plan,
            _named(task, compiled, launch),
            weighted(found, weights, task.plan.grid),
            _lines(task, compiled),
            len(weights),
            _standard_error(sample, found, task.plan.grid),
            sample.busiest(work_of_blocks(found, task.plan.grid)),
            bool(launch.cut),
        )
    if events is None:
        return None
    return recording(
        task.plan.expression,
        task.plan.grid,
        task.plan.block,
        _named(task, compiled, launch),
        events[: launch.event_count],
        launch.event_count,
        _lines(task, compiled),
    )


def _emulate(launch: interface.Launch, compiled: CompiledKernel) -> bool:
    """Run the launch and return whether it failed."""
    launch.interrupts = _interrupts()
    failed = bool(compiled.runtime.emu_launch(ctypes.byref(launch)))
    if failed and launch.fault.kind == interface.INTERRUPTED:
        # Python's own handler mostly has raised it by now
        raise KeyboardInterrupt
    return failed


def _interrupts() -> int:
    """Return how many times Ctrl-C has to be pressed to end a launch; 0 where it does not.

    A handler that the caller has set may let a launch come to its end: it is called then. The
    second time ends the launch.
    """
    if threading.current_thread() is not threading.main_thread():
        return 0
    handler = _signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        return 1
    return 2 if callable(handler) else 0


def _compiled(task: EmulatedLaunch) -> CompiledKernel:
    """Return the compiled kernel, compiled together with its neighbours if it is new."""
    # what else a kernel is compiled under
    about = (
        task.plan.source.digest,
        task.architecture.capability if task.plan.source.asks_for_architecture else 0,
        task.build,
        compiler.compiler(),
    )
    if (task.plan.expression, *about) not in _compiled_kernels:
        names = gpu.compiled_together(task.plan.source, task.plan.signature, task.plan.binding)
        code = for_emulator(task.plan.source, names, task.architecture.capability)
        text = translate(code, names, unroll=task.build == "counted")
        path = compiler.build(
            text, task.plan.expression, task.build, note=left_out(task.plan.source)
        )
        runtime, library = compiler.load_runtime(compiler.runtime()), compiler.load(path)
        its_variables = library_variables(path, code)
        _check_sizes(task.plan, library, entry(names.index(task.plan.expression)))
        for number, name in enumerate(names):
            address = ctypes.cast(library[entry(number)], ctypes.c_void_p)
            _compiled_kernels[name, *about] = CompiledKernel(path, address, runtime, its_variables)
    return _compiled_kernels[task.plan.expression, *about]


def _check_sizes(plan: LaunchPlan, library: ctypes.CDLL, symbol: str) -> None:
    """Check that the compiler has the types of the kernel's parameters as they were read."""
    sizes = ctypes.POINTER(ctypes.c_uint).in_dll(library, f"{symbol}_sizes")
    for number, parameter in enumerate(plan.signature.parameters):
        layout = plan.signature.layout(parameter, plan.binding)
        if layout is not None and sizes[number] not in (0, layout.dtype.itemsize):
            raise MinialexError(
                f"{plan.signature.name}: argument {parameter.name} of type {parameter.ctype!r} was "
                f"read as {layout.dtype.itemsize} bytes, and the compiler has {sizes[number]}: "
                "write the type out, without pragmas and names that others have too"
            )


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
    launch.strict_alignment = int(task.strict_alignment)
    cores = task.architecture.tensor_cores
    if cores is not None:
        launch.tensor_cores = interface.TensorCores(*dataclasses.astuple(cores))
    launch.workers, launch.seed = task.workers, task.seed
    launch.checked, launch.counted = int(task.kind == "checked"), int(task.kind == "counted")
    return launch, [slots, pointers]


def _describe_memory(
    launch: interface.Launch,
    arrays: Sequence[Array],
    addresses: Sequence[int],
    at_file_scope: list[interface.Region],
) -> list[Any]:
    """Tell the runtime which arrays there are; return the memory for it."""
    count, capacity = len(arrays) + len(at_file_scope), _MAX_REGIONS + len(at_file_scope)
    described = (interface.Region * capacity)()
    for region, array, address in zip(described, arrays, addresses, strict=False):
        region.base, region.bytes = address, array.nbytes
        region.element_type.bytes, region.phase = array.itemsize, phase_of(array)
    described[len(arrays) : count] = at_file_scope
    launch.regions, launch.region_capacity = described, capacity
    launch.region_count = launch.array_count = count
    return [described]


def _run_sample(
    launch: interface.Launch, task: EmulatedLaunch, compiled: CompiledKernel
) -> tuple[bool, Sample, Tallies]:
    """Run and count blocks until all parts of the grid are seen.

    Returns whether it failed, which blocks ran, and what they did.
    """
    launch.l1_bytes = task.architecture.l1_per_multiprocessor
    launch.resident_blocks = task.resident_blocks or max(
        task.architecture.threads_per_multiprocessor // math.prod(task.plan.block), 1
    )
    sample = Sample(task.plan.grid, task.max_blocks)
    work: dict[int, float] = {}
    every: list[Tallies] = []
    while True:
        weights = sample.weights()
        chosen = _choose(launch, [block for block in weights if block not in work])
        tallies = np.zeros(MAX_TALLIES, TALLY)
        launch.tallies = ctypes.cast(address_of(tallies), ctypes.POINTER(interface.Tally))
        launch.tally_count, launch.tally_capacity = 0, MAX_TALLIES
        failed = _emulate(launch, compiled)
        every.append(tallies[: launch.tally_count])
        work |= dict.fromkeys(chosen.tolist(), 0.0) | work_of_blocks(every[-1], task.plan.grid)
        if failed or not sample.refine(work):
            return failed, sample, np.concatenate(every)


def _standard_error(sample: Sample, found: Tallies, grid: Dim3) -> float:
    return max(
        sample.standard_error(work_of_blocks(found, grid, number))
        for number in ("requests", "sectors", "wavefronts")
    )


def _choose(
    launch: interface.Launch, blocks: Iterable[int]
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Tell the runtime which blocks to run; return the memory for it."""
    chosen = np.array(list(blocks), np.uint64)
    launch.chosen, launch.chosen_count = address_of(chosen), len(chosen)
    return chosen


def _trace(
    launch: interface.Launch, task: EmulatedLaunch, compiled: CompiledKernel, traced: Traced
) -> np.ndarray[Any, np.dtype[np.void]]:
    """Tell the runtime whom to trace; return the memory for its events."""
    # pages that stay empty cost nothing
    events = np.zeros(MAX_EVENTS_OF_A_THREAD if traced.is_of_a_thread else MAX_EVENTS, RAW)
    launch.events = ctypes.cast(address_of(events), ctypes.POINTER(interface.Event))
    launch.event_capacity = len(events)
    launch.traced_block, launch.traced_thread = traced.block, traced.thread
    launch.traced = interface.TRACED_BLOCK if traced.is_of_a_block else interface.TRACED_THREAD
    if traced.watch is not None:
        launch.traced = interface.TRACED_BYTES
        launch.watched_region = -1
        name, index = traced.watch
        for region, array in enumerate(known_before(task.plan, task.values, compiled.variables)):
            if array.name == name:
                launch.watched_region = region
                launch.watched_begin, launch.watched_end = _bytes_of(name, index, array)
    return events


def _bytes_of(name: str, index: int | tuple[int, ...] | None, array: NamedArray) -> tuple[int, int]:
    """Return where in memory an element lies, from the array's start; of all where it is None."""
    if index is None:
        return 0, array.size * array.bytes
    whole = (index,) if isinstance(index, int) else index
    shape = (array.size,) if isinstance(index, int) else array.shape
    if len(whole) != len(shape) or any(not 0 <= i < n for i, n in zip(whole, shape, strict=True)):
        raise MinialexError(
            f"emulated: watch is {(name, index)!r}, and {name} has shape {array.shape}: name an "
            "element of it, counted through the array or by its index on each axis; if another "
            "kernel is meant, name that"
        )
    first = int(np.ravel_multi_index(whole, shape)) * array.bytes
    return first, first + array.bytes


def _named(
    task: EmulatedLaunch, compiled: CompiledKernel, launch: interface.Launch
) -> list[NamedArray]:
    """Return the arrays of a launch in the order of its regions: shared memory comes last."""
    named = known_before(task.plan, task.values, compiled.variables)
    later = launch.regions[len(named) : launch.region_count] if task.kind != "fast" else []
    return named + [shared_array(region) for region in later]


def _lines(task: EmulatedLaunch, compiled: CompiledKernel) -> Lines:
    return Lines(compiled.path, task.plan.source)
