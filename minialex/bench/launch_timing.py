"""Times of single launches: on a GPU between CUDA events, under the emulator the host's."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, TypeVar

from minialex.arrays import CPU, Device, module_of
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan

AHEAD_PRODUCTS, AHEAD_SIZE = 2, 8192
"""Products of square matrices before a step: some 40 ms of a GPU."""

T = TypeVar("T")


def timed_launches(
    step: Callable[[], object],
    device: Device,
    times: int,
    describe: Callable[[LaunchPlan, tuple[Any, ...]], T],
) -> list[tuple[T, float]]:
    """Return the launches of a step in order, each with the median of its times in seconds.

    On a GPU an event stands on either side of each launch, and work of its own in front of each
    step, so that Python is ahead and gaps between launches are not timed.

    Parameters
    ----------
    step : callable
        Makes the same launches each time.
    device : Device
    times : int
        How often the step is taken.
    describe : callable
        Is given the plan and the arguments of a launch and returns what to call it.
    """
    described: list[T] = []
    pairs: list[tuple[Any, Any]] = []
    mark = time.perf_counter if device == CPU else _event(device)

    def timing(launch: LaunchFunction) -> LaunchFunction:
        def call(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
            start = mark()
            launch(plan, values)
            pairs.append((start, mark()))
            described.append(describe(plan, values))

        return call

    ahead = _work_ahead(device)
    runs: list[list[float]] = []
    with wrapped_launches(timing):
        for _ in range(times):
            described.clear()
            pairs.clear()
            ahead()
            step()
            runs.append([_seconds(pair, device) for pair in pairs])
    columns = zip(*runs, strict=True)
    return [(one, median(column)) for one, column in zip(described, columns, strict=True)]


def _event(device: Device) -> Callable[[], Any]:
    cuda = module_of(device).cuda

    def mark() -> Any:
        event = cuda.Event()
        event.record()
        return event

    return mark


def _seconds(pair: tuple[Any, Any], device: Device) -> float:
    start, stop = pair
    if device == CPU:
        return float(stop - start)
    stop.synchronize()
    return float(module_of(device).cuda.get_elapsed_time(start, stop)) / 1e3


def _work_ahead(device: Device) -> Callable[[], object]:
    """Return a function that gives a GPU other work."""
    if device == CPU:
        return lambda: None
    xp = module_of(device)
    a = xp.ones((AHEAD_SIZE, AHEAD_SIZE), xp.float32)
    out = xp.empty_like(a)
    return lambda: [xp.matmul(a, a, out=out) for _ in range(AHEAD_PRODUCTS)]
