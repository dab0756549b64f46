"""Taking times: on the CPU with the performance counter, on a GPU with events of its own.

Contenders take turns, so that whatever else the machine does weighs on all of them. A turn begins
with a call that is not timed. On the CPU it waits before that for the threads of whoever came
before to go to sleep: BLAS and OpenMP threads spin on for a while after their work is done, on the
very cores that the next one needs.
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

# OpenBLAS's threads spin for 2^26 cycles, about 30 ms
SETTLE = 0.04
# short calls are repeated for so long; calls as long as LONG need no call before them
REPEAT, LONG = 0.03, 0.5
GPU_REPEAT, COLD_CALLS = 0.005, 9
# seconds from which one call on a GPU is enough: only what is slow on purpose takes so long
GPU_ENOUGH = 0.2


class Clock(Protocol):
    """Takes times on one device, in seconds.

    Attributes
    ----------
    enough : float
        Seconds from which a call is timed once, and no more in that sweep.
    """

    enough: float

    def once(self, run: Run) -> float:
        """Return the time of one call."""

    def turn(self, run: Run) -> float:
        """Return the time of a call among many of the same."""

    def cold(self, run: Run) -> float | None:
        """Return the time of a call that finds nothing in the L2 cache; None on a CPU."""


class CpuClock:
    """The time until the call returns."""

    enough = inf

    def once(self, run: Run) -> float:
        """Return the time of one call."""
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def turn(self, run: Run) -> float:
        """Return the mean time of as many calls as fill `REPEAT` seconds."""
        _wait(SETTLE)
        first = self.once(run)
        if first >= LONG:
            return first
        if first < 2 * REPEAT:
            # it may have waited for threads that went to sleep late, or woke up
            first = min(first, self.once(run))
        calls = max(1, round(REPEAT / max(first, 1e-7)))
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    def cold(self, run: Run) -> float | None:
        """Return None: a CPU's caches are not emptied."""
        return None


def _wait(seconds: float) -> None:
    """Wait without sleeping.

    A thread that slept may wake up on the core of a thread that it has to wait for. PyTorch's,
    which wait by spinning, then took 16 ms a call in four turns out of ten, this way in one.
    """
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class GpuClock:
    """The time between two events on the current stream of a CUDA device."""

    enough = GPU_ENOUGH

    def __init__(self, device: Device) -> None:
        self.device = device
        self.cuda = module_of(device).cuda
        with on_device(device) as xp:
            size = self.cuda.runtime.getDeviceProperties(device.index)["l2CacheSize"]
            # writing twice the cache leaves nothing else in it
            self.flush = xp.empty(2 * size, xp.uint8)

    def once(self, run: Run) -> float:
        """Return the time of one call."""
        return self._between(run, 1)

    def turn(self, run: Run) -> float:
        """Return the mean time of as many calls as fill `GPU_REPEAT` seconds on the GPU."""
        first = self.once(run)
        return self._between(run, max(1, round(GPU_REPEAT / max(first, 1e-6))))

    def cold(self, run: Run) -> float | None:
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

    def _between(self, run: Run, calls: int) -> float:
        with self.cuda.Device(self.device.index):
            start, stop = self.cuda.Event(), self.cuda.Event()
            start.record()
            for _ in range(calls):
                run()
            stop.record()
            stop.synchronize()
            return float(self.cuda.get_elapsed_time(start, stop)) / 1000 / calls


def clock_for(device: Device) -> Clock:
    """Return the clock of a device."""
    return CpuClock() if device == CPU else GpuClock(device)


def interleaved(
    runs: Mapping[str, Run], clock: Clock, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the times of each contender, warm and cold, one a round; another begins each round.

    Each first runs once: memory is touched for the first time then, an optimizer's state among it.
    That call is not timed, unless it takes so long that it is enough: then there is no other.
    """
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    gc.collect()
    gc.disable()
    try:
        first_calls = {name: clock.once(run) for name, run in runs.items()}
        for name, seconds in first_calls.items():
            if seconds >= clock.enough:
                times[name][0].append(seconds)
        names = [name for name in runs if not times[name][0]]
        for i in range(rounds if names else 0):
            first = i % len(names)
            for name in names[first:] + names[:first]:
                warm, cold = times[name]
                warm.append(clock.turn(runs[name]))
                emptied = clock.cold(runs[name])
                if emptied is not None:
                    cold.append(emptied)
    finally:
        gc.enable()
    return times
