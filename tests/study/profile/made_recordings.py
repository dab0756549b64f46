"""Recordings made by hand: what a few threads do, as the emulator would have written it down."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import EVENT, Recording
from minialex.cuda.emulator.report import NamedArray

X = NamedArray("x", (4, 64), 4, "f", False)
TILE = NamedArray("tile", (8, 9), 4, "f", True)


def event(thread: int | list[int], kind: int, **fields: Any) -> np.ndarray:
    """Return one event for each thread, of a block of one row of threads; values as one number."""
    threads = [thread] if isinstance(thread, int) else thread
    made = np.zeros(len(threads), EVENT)
    made["kind"], made["array"], made["request"] = kind, -1, -1
    made["thread"][:, 0] = threads
    for name, value in fields.items():
        is_raw = name in ("value", "result")
        made[name] = np.frombuffer(value.tobytes().ljust(16, b"\0"), "V16") if is_raw else value
    return made


def accesses(request: int, kind: int, array: int, offsets: dict[int, int], **fields: Any) -> list:
    """Return the events of one request of four bytes per lane, one for each thread."""
    fields = {"bytes": 4, "line": 1, "value": np.float32(0), "result": np.float32(0), **fields}
    there = {"request": request, "array": array, "offset": list(offsets.values())}
    return [event(list(offsets), kind, **there, **fields)]


def recorded(events: list, threads: int = 32, arrays=(X, TILE), total: int = 0) -> Recording:
    """Return the recording of `events`, all in ``made.cu``."""
    joined = np.concatenate(events) if events else np.zeros(0, EVENT)
    total = total or len(joined)
    block = (threads, 1, 1)
    return Recording(
        "made<float>", (1, 1, 1), block, arrays, ("made.cu",), joined, total, cast(Any, None)
    )


def strided(threads: int, step: int) -> dict[int, int]:
    """Return offsets that are `step` bytes apart."""
    return {thread: thread * step for thread in range(threads)}


READ, WRITE, ATOMIC, BARRIER, WARP, END = i.READ, i.WRITE, i.ATOMIC, i.BARRIER, i.WARP, i.END
