"""What slows a kernel down, by line: what a person would look for in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.study.profile.resources import Resources
from minialex.wording import counted

WASTE = 1.25
"""How many times the least a request must take to be named."""

SHARE = 0.02
"""Which share of the launch's sectors, wavefronts or branches a line must waste to be named."""

WIDEST = 16
"""Bytes that one lane can ask for at once."""


@dataclass(frozen=True)
class Slowdown:
    """One thing that slows a launch down.

    Attributes
    ----------
    kind : str
        ``"uncoalesced"``, ``"bank conflict"``, ``"unvectorised"``, ``"divergent branch"`` or
        ``"spills"``.
    file, line : str, int
    share : float
        Of the launch's sectors, wavefronts, requests, branches or instructions, how many could be
        saved: the larger, the sooner to be looked at.
    sentence : str
        What it is, and what to do.
    """

    kind: str
    file: str
    line: int
    share: float
    sentence: str


def slowdowns(counts: Counts, taken: Resources) -> list[Slowdown]:
    """Return what slows a launch down, what costs most first."""
    found = [
        *_uncoalesced(counts),
        *_conflicts(counts),
        *_narrow(counts),
        *_divergent(counts),
        *_spills(taken),
    ]
    # shares that differ by the order of a sum are equal
    return sorted(found, key=lambda one: (-round(one.share, 6), one.file, one.line))


def _uncoalesced(counts: Counts) -> Iterator[Slowdown]:
    for row, share, each, least in _wasted(counts, "global", "sectors"):
        yield Slowdown(
            "uncoalesced",
            row.file,
            row.line,
            share,
            f"{_access(row)} touches {each:.3g} sectors a request where {least:.3g} would hold "
            "the bytes: let neighbouring lanes ask for neighbouring addresses",
        )


def _conflicts(counts: Counts) -> Iterator[Slowdown]:
    for row, share, each, least in _wasted(counts, "shared", "wavefronts"):
        yield Slowdown(
            "bank conflict",
            row.file,
            row.line,
            share,
            f"{_access(row)} takes {each:.3g} wavefronts a request where {least:.3g} would do: "
            "lanes ask one bank for different words; pad the rows, or permute the columns",
        )


def _wasted(
    counts: Counts, memory: str, what: str
) -> Iterator[tuple[MemoryCounts, float, float, float]]:
    """Yield the rows that take far more than the least: with the share of all, each, and least."""
    rows = [row for row in counts.memory if row.memory == memory]
    every = sum(getattr(row, what) for row in rows)
    for row in rows:
        taken, least = getattr(row, what), getattr(row, f"least_{what}")
        if taken > WASTE * least and taken - least > SHARE * every:
            yield row, (taken - least) / every, taken / row.requests, least / row.requests


def _narrow(counts: Counts) -> Iterator[Slowdown]:
    every = sum(row.requests for row in counts.memory)
    for row in counts.memory:
        saved = row.successive
        # the second of each two
        if row.width < WIDEST and 2.1 * saved > row.requests and saved > SHARE * every:
            yield Slowdown(
                "unvectorised",
                row.file,
                row.line,
                saved / every,
                f"{_access(row)} asks for {counted(row.width, 'byte')} a lane, and then for those "
                f"that follow: ask for {2 * row.width} or {WIDEST} at once, as float4 does",
            )


def _divergent(counts: Counts) -> Iterator[Slowdown]:
    every = sum(row.requests for row in counts.branches)
    for row in counts.branches:
        if row.divergent > SHARE * every:
            yield Slowdown(
                "divergent branch",
                row.file,
                row.line,
                row.divergent / every,
                f"{PurePath(row.file).name}:{row.line} sends lanes of one warp different ways "
                f"{100 * row.divergent / row.requests:.0f} % of the time: one after the other runs",
            )


def _spills(taken: Resources) -> Iterator[Slowdown]:
    every = sum(one.count for one in taken.lines)
    of_line: dict[tuple[str, int], int] = {}
    for one in taken.lines:
        if one.kind in ("LDL", "STL"):
            of_line[one.file, one.line] = of_line.get((one.file, one.line), 0) + one.count
    for (file, line), count in of_line.items():
        yield Slowdown(
            "spills",
            file,
            line,
            count / every,
            f"{PurePath(file).name}:{line} goes to local memory {counted(count, 'time')} in the "
            f"code of {taken.gpu.architecture}: {taken.registers} registers do not hold all, or an "
            "array is indexed by what is not known when compiling",
        )


def _access(row: MemoryCounts) -> str:
    verb = {"read": "reading", "write": "writing", "atomic": "changing"}[row.access]
    return f"{PurePath(row.file).name}:{row.line} {verb} {row.array}"
