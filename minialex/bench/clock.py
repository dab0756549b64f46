"""Taking times: on the CPU with the performance counter, on a GPU with CUDA events.

The contenders of a case are interleaved, so that whatever else the machine does slows all of them
alike. In each round each contender is timed once: a warm-up call, then as many iterations as fill a
round, of which the mean counts. On the CPU a round first waits for the previous contender's threads
to go to sleep: BLAS and OpenMP threads spin for a while after their work is done, on the very cores
that the next contender needs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from math import inf
from statistics import median
from typing import Any, Protocol

from minialex.arrays import CPU, Device, module_of, on_device

Run = Callable[[], Any]

# the threads of OpenBLAS spin for 2^26 cycles, about 30 ms; those of ONNX Runtime as long
SETTLE_SECONDS = 0.04
CPU_ROUND_SECONDS, GPU_ROUND_SECONDS = 0.03, 0.005
"""How long the iterations of a round take together."""
ONE_ITERATION_SECONDS = 0.5
"""A call on a CPU that takes this long is a round by itself, without a warm-up call."""
SLOW_GPU_CALL_SECONDS = 0.2
"""A call on a GPU that takes this long is timed once: only what is slow on purpose does."""
COLD_CALLS = 9
MIN_CPU_CALL_SECONDS, MIN_GPU_CALL_SECONDS = 1e-7, 1e-6
"""What a call is taken to last at least where iterations are counted: it may round to 0."""


class Clock(Protocol):
    """Takes times on one device, in seconds.

    Attributes
    ----------
    slow_call_seconds : float
        A first call that takes this long is the only one of its repetition.
    """

    slow_call_seconds: float

    def time_call(self, run: Run) -> float:
        """Return the time of one call."""

    def time_round(self, run: Run) -> float:
        """Return the mean time of an iteration among the many of a round."""

    def time_cold_call(self, run: Run) -> float | None:
        """Return the time of a call that finds nothing in the L2 cache; None on a CPU."""


class CpuClock:
    """The time until the call returns."""

    slow_call_seconds = inf

    def time_call(self, run: Run) -> float:
        """Return the time of one call."""
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def time_round(self, run: Run) -> float:
        """Return the mean time of as many iterations as fill `CPU_ROUND_SECONDS`."""
        _spin(SETTLE_SECONDS)
        warm_up = self.time_call(run)
        if warm_up >= ONE_ITERATION_SECONDS:
            return warm_up
        if warm_up < 2 * CPU_ROUND_SECONDS:
            # it may have waited for threads that went to sleep late, or woke up
            warm_up = min(warm_up, self.time_call(run))
        iterations = max(1, round(CPU_ROUND_SECONDS / max(warm_up, MIN_CPU_CALL_SECONDS)))
        start = time.perf_counter()
        for _ in range(iterations):
            run()
        return (time.perf_counter() - start) / iterations

    def time_cold_call(self, run: Run) -> float | None:
        """Return None: a CPU's caches are not emptied."""
        return None


def _spin(seconds: float) -> None:
    """Wait without sleeping.

    A thread that slept may wake up on the core of a thread that it has to wait for. PyTorch's,
    which wait by spinning, then took 16 ms per call in four rounds out of ten, this way in one.
    """
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class GpuClock:
    """The time between two events on the current stream of a CUDA device."""

    slow_call_seconds = SLOW_GPU_CALL_SECONDS

    def __init__(self, device: Device) -> None:
        self.device = device
        self.cuda = module_of(device).cuda
        with on_device(device) as xp:
            size = self.cuda.runtime.getDeviceProperties(device.index)["l2CacheSize"]
            # writing twice the cache leaves nothing else in it
            self.flush = xp.empty(2 * size, xp.uint8)

    def time_call(self, run: Run) -> float:
        """Return the time of one call."""
        return self._time_iterations(run, 1)

    def time_round(self, run: Run) -> float:
        """Return the mean time of as many iterations as fill `GPU_ROUND_SECONDS` on the GPU."""
        warm_up = max(self.time_call(run), MIN_GPU_CALL_SECONDS)
        return self._time_iterations(run, max(1, round(GPU_ROUND_SECONDS / warm_up)))

    def time_cold_call(self, run: Run) -> float | None:
        """Return the median time of single calls, each after the cache was overwritten.

        The host runs ahead while the cache is written, so that the launch itself is not timed.
        """
        with self.cuda.Device(self.device.index):
            events = []
            for _ in range(COLD_CALLS):
                self.flush.fill(0)
                start, stop = self.cuda.Event(), self.cuda.Event()
                start.record()
                run()
                stop.record()
                events.append((start, stop))
            events[-1][1].synchronize()
            times = [self.cuda.get_elapsed_time(*pair) / 1000 for pair in events]
        return float(median(times))

    def _time_iterations(self, run: Run, iterations: int) -> float:
        with self.cuda.Device(self.device.index):
            start, stop = self.cuda.Event(), self.cuda.Event()
            start.record()
            for _ in range(iterations):
                run()
            stop.record()
            stop.synchronize()
            return float(self.cuda.get_elapsed_time(start, stop)) / 1000 / iterations


def clock_for(device: Device) -> Clock:
    """Return the clock of a device."""
    return CpuClock() if device == CPU else GpuClock(device)


def interleaved(
    runs: Mapping[str, Run], clock: Clock, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the times of each contender, warm and cold, one per round; rounds rotate the order.

    Each first runs once: memory is touched for the first time then, an optimizer's state among it.
    That call is not timed, unless it is as slow as the clock's `slow_call_seconds`: then it is the
    only one.
    """
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    gc.collect()
    gc.disable()
    try:
        first_calls = {name: clock.time_call(run) for name, run in runs.items()}
        for name, seconds in first_calls.items():
            if seconds >= clock.slow_call_seconds:
                times[name][0].append(seconds)
        names = [name for name in runs if not times[name][0]]
        for i in range(rounds if names else 0):
            first = i % len(names)
            for name in names[first:] + names[:first]:
                warm, cold = times[name]
                warm.append(clock.time_round(runs[name]))
                seconds_cold = clock.time_cold_call(runs[name])
                if seconds_cold is not None:
                    cold.append(seconds_cold)
    finally:
        gc.enable()
    return times
