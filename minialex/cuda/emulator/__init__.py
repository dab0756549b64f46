"""Runs ``.cu`` text on NumPy arrays, on the CPU, so that kernels can be tried without a GPU.

    with minialex.emulated():
        y = ops.relu(x)                                # on its CUDA kernel

    with minialex.emulated("checked"):                 # find errors that a GPU does not report
    with minialex.emulated("traced", thread=(3, 0, 0), kernel="conv2d_tiled"):
    with minialex.emulated("traced", watch=("y", (0, 17, 2, 3))) as emulation:
        ...                                            # emulation.recordings: who touches it
    with minialex.emulated(architecture="sm_80"):      # as an A100 would, bit for bit

The machine's C++ compiler compiles the same text that NVRTC would (`translate`, `compiler`), and
a small runtime in C++ plays the GPU (``runtime/``, with ``include/`` as the device's headers).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.cpu import threads
from minialex.cuda import gpu
from minialex.cuda import source as sources
from minialex.cuda.architectures import ARCHITECTURES, Architecture
from minialex.cuda.emulator import cache, compiler
from minialex.cuda.emulator.counts import Counts
from minialex.cuda.emulator.errors import EmulationError
from minialex.cuda.emulator.machine import EmulatedLaunch, Traced, run
from minialex.cuda.emulator.matched import check_kernel, check_traced
from minialex.cuda.emulator.recording import Recording
from minialex.cuda.emulator.sampling import MAX_BLOCKS
from minialex.cuda.emulator.trace import trace
from minialex.cuda.plan import Dim3, LaunchPlan
from minialex.errors import MinialexError

__all__ = [
    "MODES",
    "Counts",
    "Emulation",
    "EmulationError",
    "Recording",
    "by_value",
    "emulated",
    "emulation",
    "launch",
]

MODES = ("fast", "checked", "traced", "counted")


_BUILDS = {"fast": "fast", "checked": "checked", "traced": "checked", "counted": "counted"}
"""Which build of a kernel runs in each mode."""


@dataclass
class Emulation:
    """How kernels are emulated, and what has run.

    Attributes
    ----------
    launches : Counter of str
        How often each kernel was launched, by name with template arguments.
    lines : list of str
        The trace so far.
    recordings : list of Recording
        What was traced, one for each launch.
    counts : list of Counts
        What was counted, one for each launch.
    """

    mode: str
    architecture: Architecture
    seed: int | None
    strict_alignment: bool
    traced: Traced
    max_blocks: int | None
    resident_blocks: Callable[[LaunchPlan], int | None]
    kernel: str | None
    write: Callable[[str], object]
    launches: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)


_current: ContextVar[Emulation | None] = ContextVar("minialex_emulation", default=None)


def emulation() -> Emulation | None:
    """Return the active emulation, None where kernels do not run on NumPy arrays."""
    return _current.get()


@contextlib.contextmanager
def emulated(
    mode: str = "fast",
    *,
    architecture: str = "sm_90",
    seed: int | None = None,
    strict_alignment: bool = False,
    block: tuple[int, ...] = (0, 0, 0),
    thread: tuple[int, ...] = (0, 0, 0),
    every_thread: bool = False,
    watch: str | tuple[str, int | tuple[int, ...]] | None = None,
    max_blocks: int | None = MAX_BLOCKS,
    resident_blocks: Callable[[LaunchPlan], int | None] = lambda plan: None,
    kernel: str | None = None,
    write: Callable[[str], object] = print,
) -> Iterator[Emulation]:
    """While the block runs, run CUDA kernels on NumPy arrays, on the CPU.

    Ctrl-C ends a launch, though its kernel would go on for ever, and leaves its results undefined.
    Where the caller has a handler of SIGINT, the second Ctrl-C within a launch does. A launch from
    another thread than the main one is not ended; nor, on a processor other than x86-64 or aarch64,
    is a loop that neither waits nor makes accesses that are checked or counted.

    Parameters
    ----------
    mode : str
        ``"fast"``: on all cores; a wrong kernel is undefined behaviour, and where it writes over
        what is not its own it may end the process. ``"checked"``: every access to memory is
        checked; out-of-bounds accesses and indices, races, reads of uninitialised shared memory and
        of constants that were never filled, writes to constants, misaligned vectors, divergent
        barriers and divisions by zero are errors.
        ``"traced"``: checked, and what one thread does is written down. ``"counted"``: what warps
        ask of memory is counted, line by line, and out-of-bounds accesses and misaligned vectors
        are errors; of a large launch only some blocks run, so that its results are not whole.
    architecture : str
        Which GPU to be: tensor cores add up as they do there, and what would not launch there is
        refused. ``"sm_80"``, ``"sm_90"`` and the like: see ``minialex.cuda.architectures``.
    seed : int, optional
        Which shuffled order threads and blocks are scheduled in; without it, the natural one.
    strict_alignment : bool
        Align shared arrays as they are declared and no more, which is what the language promises:
        kernels of the package always run so. Without it, as on a GPU, all are aligned to 16 bytes.
    block, thread : tuple of int
        The thread to trace: its indices x, y, z.
    every_thread : bool
        Record all threads of that block. There are recordings then, and no lines.
    watch : str or (str, int or tuple of int), optional
        Record instead who touches an argument or variable, in any block: the name of an array,
        alone or with the index of an element, counted through the array or one on each axis.
    max_blocks : int, optional
        How many blocks of a launch run where it is counted: the first and the last along each axis
        of the grid, and some between. None for all.
    resident_blocks : callable
        Where launches are counted, says of each how many of its blocks a multiprocessor holds at a
        time, and so share an L1 cache. None, and the default: as many as threads and shared memory
        allow; registers often allow fewer.
    kernel : str, optional
        Check, trace or count the kernel of this name only, and run all others fast; where launches
        are counted, so many of their blocks as if they were.
    write : callable
        Called with each line of the trace.

    Yields
    ------
    Emulation
        With the trace, the recordings, the counts and how often each kernel was launched.

    Raises
    ------
    ValueError
        If a setting is none of these.
    MinialexError
        If there is no C++ compiler or no folder for what it compiles; if `block` or `thread` are no
        indices. From a launch, if the architecture does not run the kernel, or an array that is
        watched has no such element. From the end of the block, if no launch had the kernel, the
        array or the thread that was asked for.
    EmulationError
        From a launch, if the kernel does what it must not.
    KeyboardInterrupt
        From a launch, at Ctrl-C.
    """
    if mode not in MODES:
        raise ValueError(f"emulated: mode is {mode!r}: use one of {', '.join(MODES)}")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"emulated: architecture is {architecture!r}: use one of {', '.join(ARCHITECTURES)}"
        )
    if max_blocks is not None and (type(max_blocks) is not int or max_blocks < 1):
        raise ValueError(
            f"emulated: max_blocks is {max_blocks!r}: use a whole number from 1, or None for all"
        )
    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"emulated: seed is {seed!r}: use a whole number from 0 to 2**63 - 1")
    if mode != "traced" and (every_thread or watch is not None):
        raise ValueError(f"emulated: mode is {mode!r}: every_thread and watch are for 'traced'")
    settings = Emulation(
        mode,
        ARCHITECTURES[architecture],
        seed,
        strict_alignment,
        _traced(block, thread, every_thread, watch),
        max_blocks,
        resident_blocks,
        kernel,
        write,
    )
    # here, and not at the first launch: what is missing is no error of a kernel
    compiler.compiler()
    cache.cache_folder()
    if _current.get() is None:
        # A kernel may have been edited since it was read.
        sources.clear_cache()
    token = _current.set(settings)
    try:
        yield settings
    finally:
        _current.reset(token)
    # what went wrong within has been raised by now, and is the better explanation
    if kernel is not None and mode != "fast":
        check_kernel(kernel, settings.launches)
    if mode == "traced":
        check_traced(settings.traced, settings.recordings)


def by_value(value: np.generic) -> np.generic:
    """Return a number as `launch` takes it: unchanged."""
    return value


def launch(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
    """Run a kernel on NumPy arrays.

    Raises
    ------
    MinialexError
        If no emulator is on, or the architecture does not run the kernel.
    EmulationError
        If the kernel does not compile or does what it must not.
    """
    settings = emulation()
    if settings is None:
        raise MinialexError(
            f"{plan.signature.name} is a CUDA kernel and its arrays are NumPy's: run it "
            "'with minialex.emulated():' (--emulate on the command line), or on a GPU"
        )
    _check_launch(plan, settings.architecture)
    chosen = settings.kernel in (None, plan.signature.name)
    kind = _BUILDS[settings.mode] if chosen else "fast"
    job = EmulatedLaunch(
        plan,
        values,
        settings.architecture,
        workers=threads.cores(),
        kind=kind,
        seed=0 if settings.seed is None else settings.seed + 1,
        strict_alignment=settings.strict_alignment or plan.source.is_own,
        traced=settings.traced if chosen and settings.mode == "traced" else None,
        max_blocks=settings.max_blocks if settings.mode == "counted" else None,
        resident_blocks=settings.resident_blocks(plan) if kind == "counted" else None,
    )
    settings.launches[plan.expression] += 1
    found = run(job)
    if isinstance(found, Counts):
        settings.counts.append(found)
    elif found is not None:
        settings.recordings.append(found)
        _show(found, settings)


def _show(recording: Recording, settings: Emulation) -> None:
    """Write the trace of one thread."""
    traced = settings.traced
    if traced.is_of_a_thread:
        for line in trace(recording, traced.block, traced.thread):
            settings.lines.append(line)
            settings.write(line)


def _check_launch(plan: LaunchPlan, architecture: Architecture) -> None:
    gpu.check_architecture(plan.source, "the emulated GPU", architecture.capability)
    if plan.shared > architecture.shared_per_block:
        raise MinialexError(
            f"{plan.signature.name} asks for {plan.shared} bytes of dynamic shared memory, a block "
            f"of the emulated GPU ({architecture.name}) has at most "
            f"{architecture.shared_per_block}: launch it with less, or emulate another architecture"
        )


def _traced(
    block: tuple[int, ...],
    thread: tuple[int, ...],
    every_thread: bool,
    watch: str | tuple[str, int | tuple[int, ...]] | None,
) -> Traced:
    if every_thread and watch is not None:
        raise ValueError("emulated: every_thread and watch are both given: use one of them")
    if not isinstance(watch, str | None):
        name, index = watch if isinstance(watch, tuple) and len(watch) == 2 else ("", None)
        numbers = index if isinstance(index, tuple) else (index,)
        if not (isinstance(name, str) and name and all(type(n) is int for n in numbers)):
            raise ValueError(
                f"emulated: watch is {watch!r}: use the name of an array, or its name and the "
                "index of an element, as in ('y', (0, 3))"
            )
    pair = (watch, None) if isinstance(watch, str) else watch
    return Traced(_triple("block", block), _triple("thread", thread), every_thread, pair)


def _triple(what: str, given: tuple[int, ...]) -> Dim3:
    is_triple = isinstance(given, tuple) and 1 <= len(given) <= 3
    if not is_triple or any(not isinstance(n, int) or n < 0 for n in given):
        raise MinialexError(
            f"emulated: {what} is {given!r}: use a tuple of up to three indices x, y, z, from 0, "
            "as in (5, 0, 0)"
        )
    x, y, z = (*given, 0, 0)[:3]
    return x, y, z
