import contextlib
import gc
import itertools
import os
import sys

import numpy as np
import pytest

from minialex.arrays import CPU, Device
from minialex.bench import ceilings, clock, pinning
from minialex.bench.clock import CpuClock, GpuClock, interleaved
from minialex.cpu import threads
from minialex.errors import MinialexError


class Counting:
    """A clock that notes the order of the calls."""

    slow_call_seconds = 100.0

    def __init__(self):
        self.rounds, self.first_calls = [], []

    def time_call(self, run):
        assert not self.rounds
        self.first_calls.append(run)
        return 0.0

    def time_round(self, run):
        self.rounds.append(run)
        return float(len(self.rounds))

    def time_cold_call(self, run):
        return None


def test_contenders_are_interleaved_and_another_begins_each_round():
    clock = Counting()
    times = interleaved({"a": "A", "b": "B", "c": "C"}, clock, rounds=4)
    assert clock.first_calls == ["A", "B", "C"]
    assert "".join(clock.rounds) == "ABCBCACABABC"
    assert times["a"] == ([1.0, 6.0, 8.0, 10.0], [])
    assert interleaved({}, clock, rounds=3) == {}


def test_a_slow_call_is_timed_once_and_never_cold():
    clock = Counting()
    clock.time_call = lambda run: 100.0 if run == "B" else 0.0
    clock.time_cold_call = lambda run: 0.5
    times = interleaved({"a": "A", "b": "B", "c": "C"}, clock, rounds=2)
    assert times["b"] == ([100.0], [])
    assert clock.rounds == ["A", "C", "C", "A"]
    assert times["a"] == ([1.0, 4.0], [0.5, 0.5])


def test_a_round_is_several_iterations_and_gives_the_time_of_one():
    calls = []
    seconds = CpuClock().time_round(lambda: calls.append(1))
    assert len(calls) > 2
    assert seconds > 0


def test_threads_are_pinned_and_released(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    for name in [name for name in os.environ if name.startswith(pinning.BLAS_VARIABLES)]:
        monkeypatch.delenv(name)
    assert pinning.describe(1)["variables"] == []
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    before = os.sched_getaffinity(0)
    with pinning.pinned(1) as count:
        assert (count, threads.cores()) == (1, 1)
        assert len(os.sched_getaffinity(0)) == 1
        described = pinning.describe(count)
        assert described["used"] == 1
        assert described["variables"] == ["OPENBLAS_CORETYPE"]
        assert {pool["num_threads"] for pool in described["pools"]} == {1}
        assert not any("path" in key for pool in described["pools"] for key in pool)
    assert os.sched_getaffinity(0) == before
    assert threads.VARIABLE not in os.environ


def test_more_threads_than_cores_are_refused():
    with pytest.raises(MinialexError, match=r"but .* available: use 1 to"), pinning.pinned(10_000):
        pass


class FakeCuda:
    """As much of CuPy as the clock of a GPU asks for; it notes the order of events."""

    def __init__(self):
        self.log, self.cuda = [], self
        self.runtime, self.uint8 = self, None
        log = self.log

        class Event:
            def record(self):
                log.append("event")

            def synchronize(self):
                log.append("wait")

        self.Event = Event

    def __call__(self, *_):
        raise AssertionError("nothing calls the module")

    def Device(self, index):
        return contextlib.nullcontext()

    def getDeviceProperties(self, index):
        return {"l2CacheSize": 1000}

    def empty(self, size, dtype):
        self.log.append(f"buffer of {size}")
        return self

    def fill(self, value):
        self.log.append("flush")

    def get_elapsed_time(self, start, stop):
        return 3.0


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_a_gpu_is_timed_by_its_own_events(gpu):
    clock = GpuClock(Device("cuda"))
    assert gpu.log == ["buffer of 2000"]
    gpu.log.clear()
    # three milliseconds between the events, for two calls the second time
    assert clock.time_round(lambda: gpu.log.append("call")) == 0.003 / 2
    assert gpu.log == ["event", "call", "event", "wait", "event", "call", "call", "event", "wait"]


def test_the_cache_is_overwritten_before_each_cold_call_and_outside_its_events(gpu):
    clock = GpuClock(Device("cuda"))
    gpu.log.clear()
    assert clock.time_cold_call(lambda: gpu.log.append("call")) == 0.003
    assert gpu.log == ["flush", "event", "call", "event"] * 9 + ["wait"]


@pytest.fixture
def ticking(monkeypatch):
    """Return a list whose numbers are added to the time when the counter is asked for it."""
    counter, steps = [0.0], []

    def now():
        counter[0] += steps.pop(0) if steps else 0.0
        return counter[0]

    monkeypatch.setattr(clock.time, "perf_counter", now)
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.0)
    counter.append(steps)
    return counter


@pytest.mark.parametrize(
    ("takes", "calls", "mean"),
    [
        # a call as long as two rounds is warmed up once, a shorter one twice: the shorter counts
        ([0.06] * 9, 2, 0.06),
        ([0.02, 0.01, 0.02, 0.03, 0.04], 5, 0.03),
        ([0.01, 0.02, 0.02, 0.03, 0.04], 5, 0.03),
        # so long that it counts by itself
        ([0.5], 1, 0.5),
        ([0.499, 0.3], 2, 0.3),
    ],
)
def test_a_round_on_a_cpu_is_as_many_calls_as_fill_it(ticking, takes, calls, mean):
    left = iter(takes)
    made = []

    def run():
        made.append(1)
        ticking[0] += next(left)

    assert CpuClock().time_round(run) == pytest.approx(mean)
    assert len(made) == calls
    assert CpuClock().time_cold_call(run) is None


def test_calls_too_short_for_the_counter_fill_a_round_all_the_same(ticking, monkeypatch):
    monkeypatch.setattr(clock, "CPU_ROUND_SECONDS", 1e-6)
    calls = []
    assert CpuClock().time_round(lambda: calls.append(1)) == 0
    # of a tenth of a microsecond each, after two that warm up
    assert len(calls) == 2 + 10


def test_a_round_on_a_cpu_begins_when_the_others_threads_sleep(ticking, monkeypatch):
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.04)
    ticking[1] += [0.0] + [0.015] * 3
    started = []
    CpuClock().time_round(lambda: started.append(ticking[0]) or ticking.__setitem__(0, 9.0))
    assert started == [pytest.approx(0.045)]


def test_a_gpu_call_too_short_for_its_events_fills_a_round_all_the_same(gpu, monkeypatch):
    gpu_clock, calls = GpuClock(Device("cuda")), []
    monkeypatch.setattr(gpu, "get_elapsed_time", lambda start, stop: 0.0)
    assert gpu_clock.time_round(lambda: calls.append(1)) == 0
    assert len(calls) == 1 + 5000


def test_the_collector_rests_while_times_are_taken_and_works_again_after_it():
    seen = []
    counting = Counting()
    counting.time_round = lambda run: seen.append(gc.isenabled()) or 1.0
    interleaved({"a": "A"}, counting, rounds=1)
    assert seen == [False]
    assert gc.isenabled()

    def breaks(run):
        raise ZeroDivisionError

    counting.time_round = breaks
    with pytest.raises(ZeroDivisionError):
        interleaved({"a": "A"}, counting, rounds=1)
    assert gc.isenabled()


def test_the_largest_rate_of_five_is_the_ceiling(monkeypatch):
    monkeypatch.setattr(ceilings, "CPU_MATRIX_SIDE", 10)
    monkeypatch.setattr(ceilings, "CPU_COPY_BYTES", 4000)
    times = iter([3.0, 2.0, 4.0, 5.0, 6.0] * 2)
    fake = type("Clock", (), {"time_call": lambda self, run: next(times)})()
    assert ceilings.gemm(CPU, fake) == 2 * 10**3 / 2
    assert ceilings.copy(CPU, fake) == 2 * 4000 / 2
    assert next(times, None) is None


@pytest.mark.parametrize(
    ("device", "side", "size", "parts"),
    [
        (CPU, "CPU_MATRIX_SIDE", "CPU_COPY_BYTES", 3),
        (Device("cuda"), "GPU_MATRIX_SIDE", "GPU_COPY_BYTES", 1),
    ],
)
def test_a_copy_is_shared_by_the_cores_of_a_cpu_and_one_call_of_a_gpu(
    monkeypatch, device, side, size, parts
):
    monkeypatch.setattr(ceilings, side, 4)
    monkeypatch.setattr(ceilings, size, 4000)
    monkeypatch.setattr(ceilings, "on_device", lambda device: contextlib.nullcontext(np))
    monkeypatch.setattr(threads, "cores", lambda: 3)
    shared = []

    def run(function, chunks):
        shared.append(chunks)
        for chunk in chunks:
            function(chunk)

    monkeypatch.setattr(threads, "run", run)
    fake = type("Clock", (), {"time_call": lambda self, run: (run(), 2.0)[1]})()
    assert ceilings.gemm(device, fake) == 4**3
    assert ceilings.copy(device, fake) == 4000
    # a call that is not timed first
    assert len(shared) == 1 + ceilings.ITERATIONS
    edges = {3: [0, 333, 666, 1000], 1: [0, 1000]}[parts]
    assert shared[0] == [slice(a, b) for a, b in itertools.pairwise(edges)]
