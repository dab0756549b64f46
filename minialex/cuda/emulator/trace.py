"""Writes what one thread did as lines that a student can follow beside the kernel's text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import Recording
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.plan import Dim3

_COLUMN = 23
"""The column at which the text begins beside file and line."""

_INDENT = " " * 8


def trace(recording: Recording, block: Dim3, thread: Dim3) -> Iterator[str]:
    """Yield the trace of one thread, from a recording of it alone."""
    sizes = recording.grid + recording.block
    shape = f"grid {recording.grid}, block {recording.block}"
    if any(index >= size for index, size in zip(block + thread, sizes, strict=True)):
        yield f"{recording.kernel}, {shape}: has no thread {thread} of block {block}"
        return
    yield f"{recording.kernel}, {shape}: what thread {thread} of block {block} does"
    yield from trace_lines(recording)
    if recording.total > len(recording.events):
        yield f"... and {recording.total - len(recording.events)} more"


def trace_lines(recording: Recording) -> Iterator[str]:
    """Yield each line of the kernel as it was reached, and below it what it did."""
    shown: tuple[int, int] | None = None
    for event in recording.events:
        kind, file, number = int(event["kind"]), int(event["file"]), int(event["line"])
        # A barrier's line is shown anew each time: a loop's iterations are then told apart.
        if number and (file, number) != shown and kind != i.END:
            where = f"{PurePath(recording.files[file]).name}:{number} "
            yield where.ljust(_COLUMN) + recording.text(file, number)
        shown = None if kind == i.BARRIER else (file, number)
        yield _INDENT + _what(event, recording.arrays)


def _what(event: Any, arrays: tuple[NamedArray, ...]) -> str:
    kind, count = event["kind"], int(event["bytes"])
    if kind == i.END:
        return "returns"
    if kind == i.BARRIER:
        return "waits at the barrier"
    if kind == i.WARP:
        code, width = event["code"].decode(), int(event["width"])
        given = _values(event["value"], count, code, width)
        return f"gives {given}, gets {_values(event['result'], count, code, width)}"
    array = arrays[event["array"]]
    first, elements = int(event["offset"]) // array.bytes, max(1, count // array.bytes)
    name = array.element_in_full(first)
    if elements > 1:
        name += f" and the next {elements - 1}"
    before = _values(event["value"], count, array.code, array.bytes)
    if kind == i.READ:
        return f"reads   {name}: {before}"
    after = _values(event["result"], count, array.code, array.bytes)
    if kind == i.WRITE:
        return f"writes  {name}: {after}"
    return f"changes {name}: {before} to {after}"


def _values(raw: np.void, count: int, code: str, width: int) -> str:
    data = raw.tobytes()[:count]
    if count < width:
        # Part of an element: a byte of a float, say.
        return "0x" + data[::-1].hex()
    return ", ".join(_value(data[at : at + width], code) for at in range(0, count, width))


def _value(data: bytes, code: str) -> str:
    if code == "b":
        # A bfloat16 is the upper half of a float.
        return str(np.frombuffer(b"\0\0" + data, np.float32)[0])
    kind = {"f": "f", "h": "f", "i": "i", "u": "u"}.get(code)
    if kind is None:
        return "0x" + data[::-1].hex()
    return str(np.frombuffer(data, f"{kind}{len(data)}")[0])
