"""What one line of a kernel asked of memory, as Nsight Compute's source view counts it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from minialex.cuda.emulator.counts import (
    BranchCounts,
    Counts,
    MemoryCounts,
    PrimitiveCounts,
    Row,
    added,
)
from minialex.errors import MinialexError


@dataclass(frozen=True)
class Line:
    """One line, over all warps of a launch or of several.

    Its numbers are of all accesses that it makes; `accesses` has them one array at a time.

    Attributes
    ----------
    file : str
    number : int
    text : str
        The line itself, stripped.
    accesses : tuple of MemoryCounts
    branches : tuple of BranchCounts
    primitives : tuple of PrimitiveCounts
        Barriers, and primitives of warps.
    """

    file: str
    number: int
    text: str
    accesses: tuple[MemoryCounts, ...] = ()
    branches: tuple[BranchCounts, ...] = ()
    primitives: tuple[PrimitiveCounts, ...] = ()

    @property
    def requests(self) -> float:
        """Instructions of warps that access memory."""
        return sum(one.requests for one in self.accesses)

    @property
    def active_lanes(self) -> float:
        """How many of the 32 lanes take part in a request, on average."""
        return self._of("memory").lanes / self.requests

    @property
    def sectors_per_request(self) -> float:
        """Sectors of 32 bytes of global memory that a request touches, on average."""
        found = self._of("global")
        return found.sectors / found.requests

    @property
    def least_sectors_per_request(self) -> float:
        """How many sectors would hold the bytes that are asked for."""
        found = self._of("global")
        return found.least_sectors / found.requests

    @property
    def wavefronts_per_request(self) -> float:
        """Passes through the banks of shared memory that a request takes, on average."""
        found = self._of("shared")
        return found.wavefronts / found.requests

    @property
    def least_wavefronts_per_request(self) -> float:
        """How many passes there would be without bank conflicts."""
        found = self._of("shared")
        return found.least_wavefronts / found.requests

    @property
    def divergent_branches(self) -> float:
        """How often lanes of one warp went different ways at the end of this line."""
        return sum(one.divergent for one in self.branches)

    @property
    def barriers(self) -> float:
        """How often a warp waited here."""
        return sum(one.requests for one in self.primitives if one.kind == "barrier")

    def _of(self, memory: str) -> MemoryCounts:
        """Return the sum of the accesses to global or shared memory, or to both."""
        chosen = [one for one in self.accesses if memory in ("memory", one.memory)]
        if not chosen:
            raise MinialexError(
                f"{self.file}:{self.number} has no access to {memory}"
                f"{'' if memory == 'memory' else ' memory'}: {self.text}"
            )
        return total(chosen)


def total(rows: Iterable[MemoryCounts]) -> MemoryCounts:
    """Return the sum of rows, of which there is at least one."""
    first, *others = rows
    found = replace(first)
    for one in others:
        added(found, one)
    return found


def lines(launches: Iterable[Counts]) -> list[Line]:
    """Return every line of which something was counted, in the order of files and text."""
    found: dict[tuple[str, int], Line] = {}
    for counts in launches:
        rows: list[MemoryCounts | BranchCounts | PrimitiveCounts] = [
            *counts.memory,
            *counts.branches,
            *counts.primitives,
        ]
        for place in dict.fromkeys((row.file, row.line) for row in rows):
            before = found.get(place, Line(*place, counts.source.text(place)))
            found[place] = Line(
                *place,
                before.text,
                before.accesses + _at(place, counts.memory),
                before.branches + _at(place, counts.branches),
                before.primitives + _at(place, counts.primitives),
            )
    return [found[place] for place in sorted(found)]


def find(every: Iterable[Line], file: str, number: int) -> Line:
    """Return one line of some.

    Parameters
    ----------
    file : str
        Its name, with as much of its path as there is need for.

    Raises
    ------
    MinialexError
        If nothing was counted there.
    """
    of_file = [line for line in every if _is_called(line.file, file)]
    found = [line for line in of_file if line.number == number]
    if len(found) != 1:
        there = ", ".join(f"{PurePath(line.file).name}:{line.number}" for line in of_file)
        raise MinialexError(
            f"nothing was counted at {file}:{number}: of this file there is {there or 'nothing'}"
        )
    return found[0]


def refuse_cut(launches: Sequence[Counts], file: str) -> None:
    """Raise where a launch of kernels with text of this file was not counted to its end.

    Which of its lines are wrong is not known; those to which threads came later are missing.

    Raises
    ------
    MinialexError
    """
    for number, counts in enumerate(launches, 1):
        if counts.cut and any(_is_called(one, file) for one in counts.plan.source.files):
            which = f", launch {number} of {len(launches)}" if len(launches) > 1 else ""
            grid = " x ".join(map(str, counts.grid))
            raise MinialexError(
                f"{counts.kernel}{which}, grid {grid}, was not counted to its end, so "
                f"numbers of lines of {file} are wrong: take a smaller case, in which threads do "
                "less between two barriers, or count fewer blocks (max_blocks)"
            )


def _at(place: tuple[str, int], rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if (row.file, row.line) == place)


def _is_called(path: str, name: str) -> bool:
    return PurePath(path).parts[-len(PurePath(name).parts) :] == PurePath(name).parts
