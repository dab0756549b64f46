"""Says what went wrong in a launch: a fault of the runtime becomes an `EmulationError`."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from minialex.cuda.architectures import STATIC_SHARED
from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.errors import EmulationError
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.subscripts import subscripted
from minialex.wording import counted

_NOUNS = {i.READ: "read", i.WRITE: "write", i.ATOMIC: "atomic"}
_KINDS = {
    i.DIVERGENT_BARRIER: "divergent barrier",
    i.STUCK_WARP: "warp",
    i.NOT_IN_MASK: "warp",
    i.MIXED_PRIMITIVES: "warp",
    i.LANE_NOT_IN_MASK: "warp",
    i.NOT_A_WHOLE_WARP: "warp",
    i.OUT_OF_BOUNDS: "out-of-bounds",
    i.MISALIGNED: "misaligned",
    i.RACE: "race",
    i.UNINITIALISED: "uninitialised",
    i.TOO_MUCH_SHARED: "shared memory",
    i.TRAP: "trap",
    i.UNFILLED_CONSTANT: "uninitialised",
    i.WRITTEN_CONSTANT: "constant",
    i.ENDLESS_WAIT: "endless wait",
    i.BAD_INDEX: "out-of-bounds",
    i.BAD_DIVISION: "division by zero",
    i.CRASH: "crash",
    i.STACK_OVERFLOW: "crash",
}


@dataclass(frozen=True)
class NamedArray:
    """An array as messages name it: an argument, a variable at file scope or shared memory.

    Attributes
    ----------
    bytes : int
        Of one element.
    code : str
        The element type, as ``emu/runtime.h`` codes it.
    phase : int
        How many bytes it begins after a multiple of what CUDA aligns memory to: of a view, perhaps
        not 0.
    is_variable : bool
        Whether it is a variable at file scope.
    """

    name: str
    shape: tuple[int, ...]
    bytes: int
    code: str
    shared: bool
    phase: int = 0
    is_variable: bool = False

    @property
    def is_declared(self) -> bool:
        """Whether the text declares it with its sizes, and indexes it by them."""
        return self.shared or self.is_variable

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def element(self, index: int) -> str:
        """Return element `index`, counted through the array, as a kernel would write it."""
        if self.is_declared and 0 <= index < self.size:
            return self.name + "".join(f"[{n}]" for n in self._unravel(index))
        return f"{self.name}[{index}]"

    def element_in_full(self, index: int) -> str:
        """Return `element`, and for an argument of several axes the index on each."""
        if self.is_declared or len(self.shape) < 2 or not 0 <= index < self.size:
            return self.element(index)
        return f"{self.element(index)} = {self.name}{list(self._unravel(index))}"

    def _unravel(self, index: int) -> tuple[int, ...]:
        rest: list[int] = []
        for size in reversed(self.shape):
            rest.append(index % size)
            index //= size
        return tuple(reversed(rest))


def explain(
    kernel: str, fault: i.Fault, arrays: Sequence[NamedArray], lines: Lines
) -> EmulationError:
    """Return the error that says what `fault` is, where, by whom, and on which element."""
    array = arrays[fault.region] if 0 <= fault.region < len(arrays) else None
    index = fault.offset // array.bytes if array else -1
    file, line = lines.of(fault.here)
    name = array.name if array else ""
    if fault.kind == i.BAD_INDEX:
        name, index = re.split(r"\W", _subscripted(fault, lines))[0], fault.offset
    parts = [f"{kernel}: {_headline(fault, array, index, lines)}"]
    if fault.kind == i.RACE:
        parts += _accesses(fault, lines)
    else:
        parts += _where("at", fault.here, lines)
    return EmulationError(
        "\n  ".join(parts),
        kind=_KINDS[fault.kind],
        kernel=kernel,
        file=file,
        line=line,
        block=tuple(fault.here.block),
        thread=tuple(fault.here.thread),
        array=name,
        index=index,
    )


def _headline(fault: i.Fault, array: NamedArray | None, index: int, lines: Lines) -> str:
    what = (fault.what or b"").decode()
    match fault.kind:
        case i.OUT_OF_BOUNDS:
            return _out_of_bounds(fault, array, index)
        case i.MISALIGNED if array:
            return (
                f"misaligned {_NOUNS[fault.access]}: {fault.bytes} bytes at "
                f"{array.element(index)}, which a GPU takes only at a multiple of as many"
                + _alignment_remedy(fault, array)
            )
        case i.RACE if array:
            return _race(fault, array, index)
        case i.UNINITIALISED if array:
            return (
                f"uninitialised shared memory: reads {array.element(index)}, which no thread wrote"
            )
        case i.UNFILLED_CONSTANT if array:
            return (
                f"reads {array.name}, a __constant__ that was never filled: set it with "
                f"cuda.variables({lines.source.file!r})[{array.name!r}] = ..."
            )
        case i.WRITTEN_CONSTANT if array:
            return f"writes {array.element(index)}, a __constant__, which no kernel may"
        case i.DIVERGENT_BARRIER:
            return (
                f"divergent barrier: some threads wait at {what} and {_who(fault.other)} "
                f"{_is_where(fault, lines)}; all threads of a block must reach the same barrier"
            )
        case i.STUCK_WARP:
            return (
                f"{what} waits for ever: its mask names {_who(fault.other)}, which "
                f"{_is_where(fault, lines)}"
            )
        case i.NOT_IN_MASK:
            return f"{what} is called by a lane that its own mask leaves out"
        case i.MIXED_PRIMITIVES:
            return (
                f"lanes of one mask meet in different primitives: {what} here, "
                f"and {_who(fault.other)} {_is_where(fault, lines)}"
            )
        case i.LANE_NOT_IN_MASK:
            return f"{what} reads from a lane that is not in the mask"
        case i.NOT_A_WHOLE_WARP:
            return f"{what} takes all 32 lanes of a warp, and some have returned or do not exist"
        case i.ENDLESS_WAIT:
            place = array.element(index) if array else "a number"
            return (
                f"waits for ever for {place} to change: all other threads of the block wait, too, "
                "or have returned, and another block runs only when this one has ended"
            )
        case i.TOO_MUCH_SHARED:
            if fault.bytes < STATIC_SHARED:
                return (
                    f"__shared__ {what} does not fit: the dynamic shared memory leaves "
                    f"{counted(fault.bytes, 'byte')} for what a block declares"
                )
            return (
                f"__shared__ {what} does not fit: a block may declare 48 KiB, more must be dynamic"
            )
        case i.BAD_INDEX:
            return _bad_index(fault, _subscripted(fault, lines))
        case i.BAD_DIVISION:
            return _bad_division(what.strip("'"))
        case i.CRASH:
            return _crash(fault)
        case i.STACK_OVERFLOW:
            return (
                "a thread runs out of stack, which has 128 KiB for its local variables and calls: "
                "does a recursion go too deep?"
            )
        case _:
            return f"{what} failed" if what.startswith("assert") else f"{what} was reached"


def _out_of_bounds(fault: i.Fault, array: NamedArray | None, index: int) -> str:
    noun = _NOUNS[fault.access]
    if array is None:
        if 0 <= fault.offset < 1 << 20:
            return (
                f"{noun} through a null pointer: the argument was None, or a pointer of the "
                "kernel's own is null"
            )
        return f"out-of-bounds {noun}: address {fault.offset:#x} is near no array"
    if array.shared and not array.size:
        return (
            f"out-of-bounds {noun} of shared memory: {array.element(index)}, but dynamic shared "
            "memory has as many bytes as the launch asks for, and it asked for none: give shared="
        )
    where = "before its start" if index < 0 else "past its end"
    kind = " of shared memory" if array.shared else ""
    shape = ", ".join(str(size) for size in array.shape)
    return (
        f"out-of-bounds {noun}{kind}: {array.element(index)} is {where}; "
        f"{array.name} has {counted(array.size, 'element')}, shape ({shape})"
    )


def _bad_index(fault: i.Fault, array: str) -> str:
    """Of an array that a compiler knows by its type, ``'float [4][32]'``, the text by a name."""
    declared = (fault.what or b"").decode().strip("'").replace(" [", "[")
    extent = re.search(r"\[(\d+)\]", declared)
    where = "before its start" if fault.offset < 0 else "past its end"
    what = f"{array}[{fault.offset}]" if array else f"{fault.offset}, of an array {declared},"
    has = f"; {array or 'it'} has {counted(int(extent[1]), 'element')}" if extent else ""
    return f"out-of-bounds index: {what} is {where}{has}"


def _subscripted(fault: i.Fault, lines: Lines) -> str:
    """Return the text of the array that has the bad index, empty where it is not found."""
    text = lines.whole_text(lines.of(fault.here))
    return subscripted(text, fault.bytes, (fault.what or b"").count(b"["))


def _bad_division(ctype: str) -> str:
    what = f"a division of {ctype} by zero"
    if not ctype:
        # as the processor says it
        what = "a division by zero, or of the least integer by -1"
    return f"{what}: on a GPU the result is undefined"


def _crash(fault: i.Fault) -> str:
    if fault.bytes == signal.SIGILL:
        return "crash: an instruction that there is not: does a function end without a return?"
    return (
        f"crash: it touches address {fault.offset % 2**64:#x}, where nothing is: run it under "
        "emulated('checked') to see what it does first"
    )


def _alignment_remedy(fault: i.Fault, array: NamedArray) -> str:
    if not array.shared or fault.offset % fault.bytes:
        return ""
    return f": declare {array.name} with __align__({fault.bytes})"


def _race(fault: i.Fault, array: NamedArray, index: int) -> str:
    element = array.element_in_full(index)
    if fault.other_what:
        return (
            f"race on {element}: a {_NOUNS[fault.access]}, and {fault.other_what.decode()} "
            "that has not been waited for"
        )
    same_block = tuple(fault.here.block) == tuple(fault.other.block)
    missing = "no barrier between them" if same_block else "blocks run in any order"
    memory = "shared memory" if array.shared else "global memory"
    nouns = {_NOUNS[fault.access], _NOUNS[fault.other_access]}
    both = " and ".join(f"a {n}" if n != "atomic" else "an atomic" for n in sorted(nouns))
    both = both if len(nouns) == 2 else "two writes"
    return f"race on {element} in {memory}: {both}, {missing}"


def _accesses(fault: i.Fault, lines: Lines) -> list[str]:
    """Both sides of a race, the one that ran first first."""
    return [
        *_where(f"{_other(fault)} at", fault.other, lines),
        *_where(f"{_NOUNS[fault.access]} at", fault.here, lines),
    ]


def _other(fault: i.Fault) -> str:
    return "copy" if fault.other_what else _NOUNS[fault.other_access]


def _where(what: str, location: i.Location, lines: Lines) -> list[str]:
    line = lines.of(location)
    at = [f"{what} {line[0]}:{line[1]}   {lines.text(line)}".rstrip()] if line[1] else []
    return [*at, f"by {_who(location)}"]


def _is_where(fault: i.Fault, lines: Lines) -> str:
    what = (fault.other_what or b"").decode()
    file, line = lines.of(fault.other)
    return f"is in {what} at {file}:{line}" if line else what


def _who(location: i.Location) -> str:
    thread = ", ".join(str(n) for n in location.thread)
    block = ", ".join(str(n) for n in location.block)
    return f"thread ({thread}) of block ({block})"
