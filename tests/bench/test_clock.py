import contextlib
import os
import sys

import pytest

from minialex.arrays import CPU, Device
from minialex.bench import ceilings, pinning
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


def test_ceilings_are_rates():
    assert ceilings.gemm(CPU, type("Clock", (), {"time_call": lambda self, run: 2.0})()) == 2048**3
    assert (
        ceilings.copy(CPU, type("Clock", (), {"time_call": lambda self, run: 2.0})()) == 256 << 20
    )


def test_threads_are_pinned_and_released(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    before = os.sched_getaffinity(0)
    with pinning.pinned(1) as count:
        assert (count, threads.cores()) == (1, 1)
        assert len(os.sched_getaffinity(0)) == 1
        described = pinning.describe(count)
        assert described["used"] == 1
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
