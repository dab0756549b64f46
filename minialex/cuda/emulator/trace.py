"""Writes what one thread did as lines that a student can follow beside the kernel's text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.lines import Line, Lines
from minialex.cuda.emulator.report import NamedArray

_COLUMN = 23
"""The column at which the text begins beside file and line."""

_INDENT = " " * 8


def trace_lines(
    events: Sequence[i.Event], arrays: Sequence[NamedArray], lines: Lines
) -> Iterator[str]:
    """Yield the trace: each line of the kernel as it was reached, and below it what it did."""
    lines.look_up(event.location.pc for event in events if event.location.pc)
    shown: Line | None = None
    for event in events:
        line = lines.of(event.location)
        # A barrier's line is shown anew each time: a loop's iterations are then told apart.
        if line[1] and line != shown and event.kind != i.END:
            where = f"{PurePath(line[0]).name}:{line[1]} "
            yield where.ljust(_COLUMN) + lines.text(line)
        shown = None if event.kind == i.BARRIER else line
        yield _INDENT + _what(event, arrays)


def _what(event: i.Event, arrays: Sequence[NamedArray]) -> str:
    if event.kind == i.END:
        return "returns"
    if event.kind == i.BARRIER:
        return "waits at the barrier"
    if event.kind == i.WARP:
        code, width = event.element_type.code.decode(), event.element_type.bytes
        given = _values(event.value, event.bytes, code, width)
        return f"gives {given}, gets {_values(event.result, event.bytes, code, width)}"
    array = arrays[event.region]
    code = array.code
    first, count = event.offset // array.bytes, max(1, event.bytes // array.bytes)
    name = array.element_in_full(first)
    if count > 1:
        name += f" and the next {count - 1}"
    before = _values(event.value, event.bytes, code, array.bytes)
    if event.kind == i.READ:
        return f"reads   {name}: {before}"
    after = _values(event.result, event.bytes, code, array.bytes)
    if event.kind == i.WRITE:
        return f"writes  {name}: {after}"
    return f"changes {name}: {before} to {after}"


def _values(raw: Any, count: int, code: str, width: int) -> str:
    data = bytes(raw)[:count]
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
