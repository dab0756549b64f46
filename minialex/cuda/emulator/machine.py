"""Runs one launch under the emulator: from checked arguments to what the kernel left in them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.cuda import gpu, scalars
from minialex.cuda.arguments import Bound, address_of
from minialex.cuda.emulator import compiler, interface
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.memory import Copies
from minialex.cuda.emulator.report import Named, explain
from minialex.cuda.emulator.trace import trace_lines
from minialex.cuda.emulator.translate import entry, translate
from minialex.cuda.signature import Signature
from minialex.cuda.source import Source

Triple = tuple[int, int, int]
_REGIONS = 256
_EVENTS = 100_000
_libraries: dict[tuple[str, str, bool, str], tuple[Path, str]] = {}


@dataclass(frozen=True)
class Job:
    """One launch: what runs, on what, in which shape, and how closely it is watched.

    Attributes
    ----------
    seed : int
        0 for the natural order of threads and blocks, else which shuffled one.
    traced : pair of triples or None
        The block and the thread to write down.
    """

    source: Source
    signature: Signature
    bound: Bound
    grid: Triple
    block: Triple
    shared: int
    workers: int
    watched: bool
    seed: int
    traced: tuple[Triple, Triple] | None

    @property
    def kernel(self) -> str:
        """The kernel with its template arguments."""
        return self.signature.expression(self.bound.binding)


def run(job: Job) -> list[str]:
    """Run a launch and return its trace, empty if nothing is traced.

    Raises
    ------
    EmulationError
        If the kernel does not compile or does what it must not.
    """
    library_path, symbol = _library(job)
    runtime = compiler.load_runtime(compiler.runtime())
    library = compiler.load(library_path)
    arrays = [v for v in job.bound.values if isinstance(v, np.ndarray)]
    copies = Copies(arrays) if job.watched else None
    addresses = copies.addresses if copies else [address_of(a) for a in arrays]
    named = _named(job)

    launch = interface.Launch()
    launch.entry = ctypes.cast(library[symbol], ctypes.c_void_p)
    storage, launch.args = _arguments(job.bound.values, addresses)
    launch.grid, launch.block = job.grid, job.block
    launch.shared, launch.workers = job.shared, job.workers
    launch.watched, launch.seed = int(job.watched), job.seed
    regions = _regions(arrays, addresses) if job.watched else None
    if regions is not None:
        launch.regions, launch.region_capacity = regions, _REGIONS
        launch.region_count = len(arrays)
    if job.traced:
        events = (interface.Event * _EVENTS)()
        launch.traced, (launch.traced_block, launch.traced_thread) = 1, job.traced
        launch.events, launch.event_capacity = events, _EVENTS
    failed = runtime.emu_launch(ctypes.byref(launch))
    del storage

    lines = Lines(library_path, job.source)
    codes = [_code(a) for a in arrays]
    if regions is not None:
        for region in regions[len(arrays) : launch.region_count]:
            named.append(_shared(region))
            codes.append(region.elements.code.decode())
    if failed:
        raise explain(job.kernel, launch.fault, named, lines)
    if copies:
        copies.copy_back(_written(job))
    return _trace(job, launch, named, codes, lines) if job.traced else []


def _library(job: Job) -> tuple[Path, str]:
    """Return the compiled library that holds the kernel, and the name of its entry."""
    key = (job.source.digest, job.kernel, job.watched, str(compiler.compiler()))
    if key not in _libraries:
        names = gpu.together(job.source, job.signature, job.bound.binding)
        text = translate(job.source.text, names)
        path = compiler.build(text, job.kernel, watched=job.watched)
        for number, name in enumerate(names):
            _libraries[key[0], name, *key[2:]] = path, entry(number)
    return _libraries[key]


def _arguments(values: Sequence[Any], addresses: Sequence[int]) -> tuple[Any, Any]:
    """Return the kernel's arguments in memory, and the array of pointers to them."""
    storage = np.zeros(max(len(values), 1), np.uint64)
    places = iter(addresses)
    for number, value in enumerate(values):
        if isinstance(value, np.ndarray):
            storage[number] = next(places)
        elif value is not None:
            storage[number : number + 1].view(np.uint8)[: value.nbytes] = np.frombuffer(
                value.tobytes(), np.uint8
            )
    start = address_of(storage)
    pointers = (ctypes.c_void_p * len(storage))(*(start + 8 * n for n in range(len(storage))))
    return (storage, pointers), ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))


def _pointers(job: Job) -> list[Any]:
    """Return the parameters that are arrays and not null."""
    return [
        p
        for p, v in zip(job.signature.parameters, job.bound.values, strict=True)
        if isinstance(v, np.ndarray)
    ]


def _named(job: Job) -> list[Named]:
    arrays = [v for v in job.bound.values if isinstance(v, np.ndarray)]
    return [
        Named(p.name, tuple(a.shape) or (1,), a.itemsize, False)
        for p, a in zip(_pointers(job), arrays, strict=True)
    ]


def _written(job: Job) -> list[bool]:
    return [not p.const for p in _pointers(job)]


def _shared(region: interface.Region) -> Named:
    elements = region.elements
    extents = list(elements.extent)[: elements.rank]
    # The first extent of `extern __shared__ float a[]` is not in the text.
    rest = int(np.prod(extents[1:])) if extents else 1
    first = region.bytes // elements.bytes // rest
    return Named(region.name.decode(), (first, *extents[1:]), elements.bytes, True)


def _regions(arrays: Sequence[Array], addresses: Sequence[int]) -> Any:
    regions = (interface.Region * _REGIONS)()
    for region, array, address in zip(regions, arrays, addresses, strict=False):
        region.base, region.bytes = address, array.nbytes
        region.elements.bytes = array.itemsize
        region.elements.code = _code(array).encode()
    return regions


def _code(array: Array) -> str:
    if scalars.ctype_of(array.dtype) == "__nv_bfloat16":
        return "b"
    return {"b": "u"}.get(array.dtype.kind, array.dtype.kind)


def _trace(
    job: Job,
    launch: interface.Launch,
    named: Sequence[Named],
    codes: Sequence[str],
    lines: Lines,
) -> list[str]:
    assert job.traced is not None
    block, thread = job.traced
    shape = f"grid {job.grid}, block {job.block}"
    head = f"{job.kernel}, {shape}: what thread {thread} of block {block} does"
    if any(a >= b for a, b in zip(block + thread, job.grid + job.block, strict=True)):
        return [f"{job.kernel}, {shape}: has no thread {thread} of block {block}"]
    kept = launch.events[: min(launch.event_count, _EVENTS)]
    out = [head, *trace_lines(kept, named, codes, lines)]
    if launch.event_count > _EVENTS:
        out.append(f"... and {launch.event_count - _EVENTS} more")
    return out
