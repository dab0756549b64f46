"""Recordings made by hand: what a few threads do, as the emulator would have written it down."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import EVENT, Recording
from minialex.cuda.emulator.report import NamedArray

X = NamedArray("x", (4, 64), 4, "f", False)
TILE = NamedArray("tile", (8, 9), 4, "f", True)


def event(thread: int, kind: int, **fields: Any) -> np.ndarray:
    """Return one event of a block of one row of threads; values as one float."""
    made = np.zeros(1, EVENT)
    made["kind"], made["thread"] = kind, (thread, 0, 0)
    made["array"], made["request"] = -1, -1
    for name, value in fields.items():
        if name in ("value", "result"):
            raw = np.asarray(value).tobytes().ljust(16, b"\0")
            made[name] = np.frombuffer(raw, "V16")
        else:
            made[name] = value
    return made


def accesses(request: int, kind: int, array: int, offsets: dict[int, int], **fields: Any) -> list:
    """Return one event for each thread, all of one request of four bytes per lane."""
    fields = {"bytes": 4, "line": 1, "value": np.float32(0), "result": np.float32(0), **fields}
    return [
        event(thread, kind, request=request, array=array, offset=offset, **fields)
        for thread, offset in offsets.items()
    ]


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
