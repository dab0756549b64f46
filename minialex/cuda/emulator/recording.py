"""What a traced launch did, as data: one event an access, exchange and barrier."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.plan import Dim3

EVENT = np.dtype(
    [
        ("kind", "u1"),
        ("array", "i2"),
        ("offset", "i8"),
        ("bytes", "i4"),
        ("value", "V16"),
        ("result", "V16"),
        ("block", "u4", 3),
        ("thread", "u4", 3),
        ("phase", "i4"),
        ("pc", "u8"),
        ("file", "i2"),
        ("line", "i4"),
        ("code", "S1"),
        ("width", "i4"),
        ("request", "i4"),
        ("cost", "i4"),
        ("least", "i4"),
    ]
)
"""The fields of an event.

kind
    ``interface.READ``, ``WRITE``, ``ATOMIC``, ``BARRIER``, ``WARP`` (a primitive of a warp) or
    ``END``, the thread's return.
array, offset, bytes
    What is accessed: the index of the array among the recording's, -1 for none; where in it, and
    how much, in bytes.
value, result
    The first `bytes` of each are what was there before and after; of a primitive, what the thread
    gave and got.
block, thread
    Who did it: the indices x, y, z.
phase
    How many ``__syncthreads`` the thread had passed in this block.
pc
    The address in the compiled code; 0 where a function of the emulator made the access.
file, line
    Where in the text: the index of the file among the recording's, -1 where it is not known.
code, width
    The type of the numbers of a primitive, as that of a `NamedArray`, and the bytes of one.
request
    Where every thread of a block was recorded, the instruction of a warp that this was part of:
    lanes that went together have the same. Counted through the block in the order in which warps
    run when one goes on to the next barrier before another begins. -1 of a return, of a barrier of
    the block, and of all in other recordings.
cost, least
    Of a request to memory: the sectors of global memory that it touches, or the wavefronts that it
    takes of shared memory; and as few as would hold the bytes, or without bank conflicts. 0 where
    `request` is -1, and of constants.
"""

MAX_EVENTS = 2_000_000
"""At most so many events are kept of a launch, 200 MB; those after them are only counted."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What one launch did.

    Attributes
    ----------
    kernel : str
        With its template arguments.
    grid, block : tuple of three ints
        The launch's sizes.
    arrays : tuple of NamedArray
        The arguments that are arrays, then the variables at file scope, then the arrays in shared
        memory as they were met.
    files : tuple of str
        Kernel files, as `EVENT` numbers them.
    events : structured array, dtype `EVENT`
        In the order in which they happened.
    total : int
        How many there were: more than ``len(events)`` where the recording was cut.
    """

    kernel: str
    grid: Dim3
    block: Dim3
    arrays: tuple[NamedArray, ...]
    files: tuple[str, ...]
    events: np.ndarray[Any, np.dtype[np.void]]
    total: int
    lines: Lines = field(repr=False)

    def text(self, file: int, line: int) -> str:
        """Return the text of line number `line` of file number `file`, stripped."""
        return self.lines.text((self.files[file], line)) if file >= 0 else ""


RAW = i.dtype_of(
    i.Event,
    {
        "kind": ("kind", "i4"),
        "array": ("region", "i4"),
        "offset": ("offset", "i8"),
        "bytes": ("bytes", "i4"),
        "value": ("value", "V16"),
        "result": ("result", "V16"),
        "block": ("location.block", ("u4", 3)),
        "thread": ("location.thread", ("u4", 3)),
        "phase": ("phase", "i4"),
        "pc": ("location.pc", "u8"),
        "file": ("location.file", "u8"),
        "line": ("location.line", "i4"),
        "code": ("code", "S1"),
        "width": ("width", "i4"),
        "request": ("request", "i4"),
        "cost": ("cost", "i4"),
        "least": ("least", "i4"),
    },
)
"""Events as the runtime lays them out."""


def recording(
    kernel: str,
    grid: Dim3,
    block: Dim3,
    arrays: Sequence[NamedArray],
    raw: np.ndarray[Any, np.dtype[np.void]],
    total: int,
    lines: Lines,
) -> Recording:
    """Return the recording of what the runtime wrote down, with the lines of the text looked up."""
    events = np.zeros(len(raw), EVENT)
    for name in EVENT.names or ():
        if name not in ("file", "line"):
            events[name] = raw[name]
    # a number for each place; the compiled code is shorter than 2 GiB, and no file has 32,768 lines
    by_text = raw["file"] | raw["line"].astype(np.uint64) << np.uint64(48) | np.uint64(1 << 63)
    sites = np.where(raw["pc"], raw["pc"], by_text)
    _, first, which = np.unique(sites, return_index=True, return_inverse=True)
    lines.look_up(int(pc) for pc in raw["pc"][first] if pc)
    found = [_line(raw[at], lines) for at in first]
    files = tuple(dict.fromkeys(file for file, number in found if number))
    numbers = [files.index(file) if line else -1 for file, line in found]
    events["file"] = np.array(numbers, np.int16)[which.reshape(-1)]
    events["line"] = np.array([line for _, line in found], np.int32)[which.reshape(-1)]
    return Recording(kernel, grid, block, tuple(arrays), files, events, total, lines)


def _line(place: Any, lines: Lines) -> tuple[str, int]:
    file = ctypes.string_at(int(place["file"])) if place["file"] else None
    return lines.of(i.Location(pc=int(place["pc"]), file=file, line=int(place["line"])))
