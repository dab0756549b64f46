"""Streams, events, graphs and kernels for ``tests/device_double.py``: a GPU that can be captured.

Kernels run under the emulator, on the arrays that the double hides. A capture keeps what is
launched and runs nothing; a graph runs it in that order, on the same arrays, as often as it is
launched. As on a GPU, the default stream cannot be captured, memory must come from a pool that the
graph keeps, and what is launched on another stream meanwhile would be lost, which is refused.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from minialex.arrays import CPU
from minialex.cuda import source
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.arguments import BoundArguments
from minialex.cuda.emulator.machine import EmulatedLaunch, run
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.signature import signatures
from minialex.cuda.tokens import split
from tests.device_double import QUEUE, forget_gpus, make_cupy, ndarray


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.recorded, self.blocks = False, 0

    def record(self, stream: Any = None) -> None:
        self.recorded, self.blocks = True, Event.blocks_so_far

    blocks_so_far = 0

    def synchronize(self) -> None:
        QUEUE.refuse_while_capturing("waiting for an event")


class Graph:
    def __init__(self, on: Gpu, work: list[Any]) -> None:
        self._gpu, self._work, self.launches = on, work, 0
        # as long as the graph lives, so does its memory
        self._pool = on.allocator

    def launch(self, stream: Any = None) -> None:
        QUEUE.refuse_while_capturing("launching a graph")
        self.launches += 1
        if self._gpu.computes:
            for one in self._work:
                one()


class Stream:
    def __init__(self, on: Gpu, null: bool = False, non_blocking: bool = False) -> None:
        self._gpu, self.ptr = on, 0 if null else id(self)

    def __enter__(self) -> Stream:
        self._gpu.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._gpu.streams.pop() is self

    def synchronize(self) -> None:
        QUEUE.refuse_while_capturing("waiting for a stream")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if QUEUE.captured is not None and self is self._gpu.capturing:
            raise RuntimeError("a dependency created on uncaptured work in another stream")

    def is_capturing(self) -> bool:
        return self is self._gpu.capturing

    def begin_capture(self) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if not isinstance(self._gpu.allocator, Pool):
            raise AssertionError("the graph's memory would be given to others")
        QUEUE.captured, self._gpu.capturing = [], self

    def end_capture(self) -> Graph:
        assert self is self._gpu.capturing
        work, QUEUE.captured, self._gpu.capturing = QUEUE.captured, None, None
        graph = Graph(self._gpu, work or [])
        self._gpu.graphs.append(graph)
        return graph


class Pool:
    def malloc(self, nbytes: int) -> None:
        raise AssertionError("the double's memory is NumPy's")


class Function:
    """A kernel of a module, as CuPy calls it."""

    max_dynamic_shared_size_bytes = 0

    def __init__(self, on: Gpu, text: str, expression: str) -> None:
        self._gpu = on
        self._source = next(
            one for one in map(source.read, source.kernel_files()) if text.endswith(one.text)
        )
        name, _, rest = expression.partition("<")
        self._signature = signatures(self._source)[name]
        given = split(rest.removesuffix(">"))
        names = [p.name for p in self._signature.template]
        self._binding = dict(zip(names, given, strict=True))

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        if QUEUE.captured is not None and self._gpu.streams[-1] is not self._gpu.capturing:
            raise AssertionError("a kernel on another stream than the one that is captured")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise AssertionError("dynamic shared memory that was not asked for")
        values = tuple(map(_for_emulator, args))
        bound = BoundArguments(self._binding, values, CPU)
        launch = self._source, self._signature, bound, grid, block, shared_mem
        plan = LaunchPlan.of(*launch, converted=lambda number: number)
        emulated_launch = EmulatedLaunch(
            plan, values, ARCHITECTURES["sm_90"], workers=1, kind="fast", seed=0
        )
        self._gpu.launched.append(self._signature.name)
        Event.blocks_so_far += math.prod(grid)
        QUEUE.launch(lambda: run(emulated_launch))


def _for_emulator(arg: Any) -> Any:
    """Return an argument as the emulator takes it: a struct is no array there."""
    if isinstance(arg, ndarray):
        return arg.hidden
    return arg[()] if isinstance(arg, np.ndarray) else arg


class Gpu:
    """The state of the double, for tests to look at.

    Attributes
    ----------
    cupy : module
    graphs : list of Graph
        Those that were captured.
    launched : list of str
        Every kernel that was launched or captured, in order.
    computes : bool
        Whether to run what a graph is of.
    """

    def __init__(self, compute_capability: str = "90") -> None:
        self.cupy = make_cupy()
        self.default = Stream(self, null=True)
        self.streams = [self.default]
        self.capturing: Stream | None = None
        self.allocator: object = None
        self.graphs: list[Graph] = []
        self.launched: list[str] = []
        self.computes = True
        cuda = self.cupy.cuda
        cuda.Stream = lambda **kw: Stream(self, **kw)
        cuda.Event, cuda.MemoryPool = Event, Pool
        # a block takes a microsecond
        cuda.get_elapsed_time = lambda start, stop: (stop.blocks - start.blocks) / 1e3
        cuda.runtime.getDeviceProperties = lambda index: {"name": b"A made-up GPU"}
        cuda.Device = functools.partial(_Device, compute_capability)
        cuda.get_current_stream = lambda: self.streams[-1]
        cuda.using_allocator = self._using
        self.cupy.RawModule = self._module
        cuda.compiler = types.SimpleNamespace(CompileException=RuntimeError)

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch, compute_capability: str = "90") -> Gpu:
        """Return one that is CuPy for the length of a test, with no kernel compiled yet."""
        double = cls(compute_capability)
        monkeypatch.setitem(sys.modules, "cupy", double.cupy)
        forget_gpus(monkeypatch)
        return double

    @contextlib.contextmanager
    def _using(self, malloc: Any) -> Iterator[None]:
        before, self.allocator = self.allocator, malloc.__self__
        try:
            yield
        finally:
            self.allocator = before

    def _module(self, *, code: str, options: Any, name_expressions: Any) -> types.SimpleNamespace:
        return types.SimpleNamespace(get_function=lambda name: Function(self, code, name))


class _Device(contextlib.nullcontext):
    def __init__(self, compute_capability: str, index: int = 0) -> None:
        super().__init__()
        self.id, self.compute_capability = index, compute_capability
