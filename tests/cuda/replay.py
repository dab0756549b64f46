"""Recorded writes, written once more: what they leave must be what the kernel left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minialex.cuda import emulated
from minialex.cuda.emulator import interface
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan


@contextlib.contextmanager
def replayed() -> Iterator[list[str]]:
    """While the block runs, record every launch once for each array that it writes.

    The writes are replayed into a copy of the array as it was before. Yields the kernels and arrays
    of which that was done.
    """
    seen: list[str] = []

    def replaying(launch: LaunchFunction) -> LaunchFunction:
        def call(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
            for parameter, value in zip(plan.signature.parameters, values, strict=True):
                if isinstance(value, np.ndarray) and not parameter.const:
                    assert_replays(launch, plan, values, parameter.name)
                    seen.append(f"{plan.signature.name} {parameter.name}")
            launch(plan, values)

        return call

    with wrapped_launches(replaying):
        yield seen


def assert_replays(
    launch: LaunchFunction, plan: LaunchPlan, values: tuple[Any, ...], name: str
) -> None:
    """Record one launch, on copies of its arrays, and replay the writes to one of them."""
    copies = [v.copy() if isinstance(v, np.ndarray) else v for v in values]
    with emulated("traced", watch=name) as emulation:
        launch(plan, tuple(copies))
    (recording,) = emulation.recordings
    assert recording.total == len(recording.events), f"{recording.kernel} is cut"
    (number,) = [i for i, p in enumerate(plan.signature.parameters) if p.name == name]
    replay = bytearray(values[number].tobytes())
    changes = recording.events[recording.events["kind"] != interface.READ]
    columns = (changes[column].tolist() for column in ("offset", "bytes", "result"))
    for offset, size, result in zip(*columns, strict=True):
        replay[offset : offset + size] = result[:size]
    assert bytes(replay) == copies[number].tobytes(), f"{recording.kernel}: {name}"
