"""What a counted launch asked of memory, line by line of its kernel."""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.lines import UNKNOWN, Line, Lines
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.plan import Dim3, LaunchPlan

_ACCESSES = {i.READ: "read", i.WRITE: "write", i.ATOMIC: "atomic"}
_CALL = re.compile(r"^\s*([0-9a-f]+):\s+(?:call|bl)\S*\s.*__sanitizer_cov_trace_pc")


@dataclass
class MemoryCounts:
    """The accesses that one line makes to one array, summed over the warps of a launch.

    Attributes
    ----------
    access : "read", "write" or "atomic"
    memory : "global" or "shared"
    width : int
        Bytes that each lane asks for at once.
    requests, lanes : float
        Instructions of warps, and the lanes that were active in them.
    wavefronts, least_wavefronts : float
        Passes through the 32 banks of the L1 cache or shared memory, and how many there would be
        without bank conflicts.
    sectors, least_sectors : float
        Pieces of 32 bytes of global memory that were asked for, and how few would hold the bytes.
    lines : float
        The same of 128 bytes, which are looked up in the L1 cache.
    l1_hits, first : float
        Sectors that were in the block's part of the L1 cache; that it read, or wrote, for the first
        time.
    successive : float
        Requests in which every lane goes on where its last access to the array ended, and the two
        are aligned as one of twice the width.
    """

    file: str
    line: int
    access: str
    array: str
    memory: str
    width: int
    requests: float = 0
    lanes: float = 0
    wavefronts: float = 0
    least_wavefronts: float = 0
    sectors: float = 0
    least_sectors: float = 0
    lines: float = 0
    l1_hits: float = 0
    first: float = 0
    successive: float = 0


@dataclass
class BranchCounts:
    """A conditional branch: how often warps came to it, and lanes of one went different ways."""

    file: str
    line: int
    requests: float = 0
    lanes: float = 0
    divergent: float = 0


@dataclass
class PrimitiveCounts:
    """A barrier, or a primitive of a warp: how often warps, and lanes, came to it."""

    file: str
    line: int
    kind: str
    requests: float = 0
    lanes: float = 0


@dataclass(frozen=True, eq=False)
class Counts:
    """What one launch did.

    Attributes
    ----------
    kernel : str
        With its template arguments.
    grid, block : tuple of three ints
    static_shared, dynamic_shared : int
        Bytes of shared memory of a block.
    blocks, counted : int
        The blocks of the grid; how many of them were run and counted. The others are taken to be
        like these.
    standard_error : float
        What totals over all blocks are off by, as a share of them, estimated from how the blocks
        that were counted differ: of requests, sectors and wavefronts that which is least certain.
    busiest_block : float
        The requests and branches of the counted block that has most, as a multiple of the mean.
    cut : bool
        Whether some threads did more than was counted. The rest is taken to be like it.
    arrays : tuple of NamedArray
        Of constants, which have a cache of their own, no accesses are counted.
    """

    kernel: str
    grid: Dim3
    block: Dim3
    static_shared: int
    dynamic_shared: int
    blocks: int
    counted: int
    standard_error: float
    busiest_block: float
    cut: bool
    arrays: tuple[NamedArray, ...]
    memory: tuple[MemoryCounts, ...]
    branches: tuple[BranchCounts, ...]
    primitives: tuple[PrimitiveCounts, ...]
    plan: LaunchPlan = field(repr=False)
    source: Lines = field(repr=False)


Row = TypeVar("Row", bound=MemoryCounts | BranchCounts | PrimitiveCounts)


def counts(
    plan: LaunchPlan,
    arrays: Sequence[NamedArray],
    tallies: Iterable[i.Tally],
    lines: Lines,
    counted: int,
    standard_error: float,
    busiest_block: float,
    cut: bool,
) -> Counts:
    """Return what the runtime counted, with lines looked up and like rows joined."""
    every = list(tallies)
    branches = _branches(one for one in every if one.kind == i.BRANCH)
    at = _line_of_branch(branches, lines) if branches else {}
    lines.look_up(one.location.pc for one in every if one.location.pc)
    memory = (
        added(
            MemoryCounts(
                *lines.of(one.location),
                _ACCESSES[one.kind],
                arrays[one.region].name,
                "shared" if arrays[one.region].shared else "global",
                one.bytes,
            ),
            one,
        )
        for one in every
        if one.kind in _ACCESSES and one.region >= 0
    )
    primitives = (
        added(PrimitiveCounts(*lines.of(one.location), _kind(one)), one)
        for one in every
        if one.kind in (i.BARRIER, i.WARP)
    )
    blocks = plan.grid[0] * plan.grid[1] * plan.grid[2]
    shared = sum(array.size * array.bytes for array in arrays if array.shared)
    return Counts(
        plan.expression,
        plan.grid,
        plan.block,
        max(shared - plan.shared, 0),
        plan.shared,
        blocks,
        counted,
        standard_error,
        busiest_block,
        cut,
        tuple(arrays),
        _joined(memory),
        _joined(
            added(BranchCounts(*at[one.location.pc]), one)
            for one in branches
            # the emulator's own functions have no line
            if at[one.location.pc] != UNKNOWN
        ),
        _joined(primitives),
        plan,
        lines,
    )


def _kind(tally: i.Tally) -> str:
    return "barrier" if tally.kind == i.BARRIER else "warp"


def _numbers(row: Any) -> list[str]:
    return [one.name for one in fields(row) if one.type == "float"]


def added(row: Row, other: Any) -> Row:
    """Add up the numbers of a row and of another, or of what the runtime counted."""
    for name in _numbers(row):
        setattr(row, name, getattr(row, name) + getattr(other, name))
    return row


def _joined(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Add up the rows that differ in nothing but what was counted, in the order of the text."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        same = {one.name for one in fields(row)} - {*_numbers(row)}
        key = tuple(getattr(row, name) for name in sorted(same))
        found[key] = added(found[key], row) if key in found else row
    # In which order cores hand in what they counted does not show: not in that of rows, nor in the
    # last digits of sums.
    for row in found.values():
        for name in _numbers(row):
            setattr(row, name, float(f"{getattr(row, name):.12g}"))
    order = sorted(found, key=lambda key: (found[key].file, found[key].line, key))
    return tuple(found[key] for key in order)


def _branches(ends: Iterable[i.Tally]) -> list[i.Tally]:
    """Return what happened at the end of those blocks that more than one other block followed."""
    alike: dict[int, list[i.Tally]] = {}
    for one in ends:
        alike.setdefault(one.location.pc, []).append(one)
    return [
        one
        for same in alike.values()
        if len(followed := {one.bytes for one in same}) > 1 or -1 in followed
        for one in same
    ]


def _line_of_branch(branches: Sequence[i.Tally], lines: Lines) -> dict[int, Line]:
    """Return the line of the jump at the end of each block, by the address that it begins at.

    A block calls the runtime first of all, so the jump is in front of the next such call.
    """
    calls = _calls(lines.library)
    ends: dict[int, int] = {}
    for one in branches:
        begin = one.location.pc
        after = bisect_right(calls, begin)
        ends[begin] = calls[after] if after < len(calls) else begin
    lines.look_up(ends.values())
    return {begin: lines.of(i.Location(pc=end)) for begin, end in ends.items()}


_known_calls: dict[Path, list[int]] = {}


def _calls(library: Path) -> list[int]:
    """Return where every basic block of a library calls the runtime, in rising order."""
    if library not in _known_calls:
        tool = shutil.which("objdump") or shutil.which("llvm-objdump")
        text = ""
        if tool is not None:
            command = [tool, "-d", "--no-show-raw-insn", str(library)]
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = (_CALL.match(line) for line in text.splitlines())
        _known_calls[library] = [int(one[1], 16) for one in found if one]
    return _known_calls[library]
