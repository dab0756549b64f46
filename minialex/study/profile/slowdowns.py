"""What slows a launch down, by line or by its shape: what a person would look for in the tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from minialex.cuda.architectures import WARP_THREADS
from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.study.profile.executed import Executed
from minialex.study.profile.resources import Resources
from minialex.study.profile.time_model import PredictedTime
from minialex.study.profile.unvectorised import (
    LEAST_NARROW,
    WIDEST,
    Unvectorised,
    unvectorised,
)
from minialex.wording import counted

WASTE = 1.25
"""How many times the least a request must take to be named."""

SHARE = 0.02
"""Which share of the launch's sectors, wavefronts or branches a line must waste to be named."""

LEAST_SECONDS = 5e-6
"""Of a launch whose shape is named: what is shorter is mostly the launch itself."""

IDLE = 0.2
"""Which share of multiprocessors' time must be idle for the shape of a launch to be named."""


@dataclass(frozen=True)
class Slowdown:
    """One thing that slows a launch down.

    Attributes
    ----------
    kind : str
        ``"uncoalesced"``, ``"bank conflict"``, ``"unvectorised"``, ``"divergent branch"``,
        ``"spills"`` or ``"local memory"``; of the launch as a whole ``"small grid"``,
        ``"tail effect"``, ``"unequal blocks"`` or ``"partial warps"``.
    file, line : str, int
        Empty and 0 for what is of the launch as a whole.
    share : float
        Of the launch's sectors, wavefronts, requests, branches or instructions, how many could be
        saved, or how many of its lanes or how much of its multiprocessors' time is idle: the
        larger, the sooner to be looked at.
    sentence : str
        What it is, and what to do.
    """

    kind: str
    file: str
    line: int
    share: float
    sentence: str


def slowdowns(counts: Counts, taken: Resources, predicted: PredictedTime) -> list[Slowdown]:
    """Return what slows a launch down, what costs most first."""
    found = [
        *_uncoalesced(counts),
        *_conflicts(counts),
        *_narrow(counts, taken, predicted.executed),
        *_divergent(counts, taken),
        *_local(taken),
        *_shape(counts, predicted),
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
        advice = "lanes ask one bank for different words; pad the rows, or permute the columns"
        if row.access == "atomic":
            advice = "lanes change words of one bank; give lanes or warps copies of their own"
        yield Slowdown(
            "bank conflict",
            row.file,
            row.line,
            share,
            f"{_access(row)} takes {each:.3g} wavefronts a request where {least:.3g} would do: "
            f"{advice}",
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


def _narrow(counts: Counts, taken: Resources, done: Executed | None) -> Iterator[Slowdown]:
    every = sum(row.requests for row in counts.memory)
    for one in unvectorised(counts, done):
        if one.saved > SHARE * every:
            first = one.rows[0]
            yield Slowdown(
                "unvectorised", first.file, first.line, one.saved / every, _widen(one, taken)
            )


def _widen(one: Unvectorised, taken: Resources) -> str:
    """Return what an access that could be wider is, and what to do."""
    first, all_narrow = one.rows[0], one.narrow > 1 - LEAST_NARROW
    arrays = [row.array for row in one.rows]
    which = f"{', '.join(arrays[:-1])} {'and' if all_narrow else 'or'} " if arrays[1:] else ""
    access = _access(replace(first, array=f"{which}{arrays[-1]}"))
    asks = f"moves {counted(first.width, 'byte')} a lane"
    if not one.kinds:
        asks += " as written"
    elif all_narrow:
        asks += f" ({', '.join(one.kinds)})"
    else:
        asks += f" in {100 * one.narrow:.0f} % of the machine code ({', '.join(one.kinds)})"
    text = (
        f"{access} {asks}, and then those that follow: move {2 * first.width} or {WIDEST} at "
        "once, as float4 does"
    )
    return text if one.kinds else f"{text}; whether the compiler does is not known: {taken.missing}"


def _divergent(counts: Counts, taken: Resources) -> Iterator[Slowdown]:
    every = sum(row.requests for row in counts.branches)
    jumps = {(one.file, one.line) for one in taken.code.instructions if one.targets}
    for row in counts.branches:
        if row.divergent > SHARE * every:
            text = (
                f"{PurePath(row.file).name}:{row.line} sends lanes of one warp different ways "
                f"{100 * row.divergent / row.requests:.0f} % of the time: one after the other runs"
            )
            if jumps and (row.file, row.line) not in jumps:
                text += (
                    "; the machine code has no branch at this line: if it has predicates instead, "
                    "both ways are issued each time"
                )
            yield Slowdown("divergent branch", row.file, row.line, row.divergent / every, text)


def _local(taken: Resources) -> Iterator[Slowdown]:
    every = sum(one.count for one in taken.lines)
    of_line: dict[tuple[str, int], int] = {}
    for one in taken.lines:
        if one.kind in ("LDL", "STL"):
            of_line[one.file, one.line] = of_line.get((one.file, one.line), 0) + one.count
    spills = bool(taken.spilled_bytes)
    why = "an array is indexed by what is not known when compiling"
    if spills:
        why = f"{taken.registers} registers do not hold all, or {why}"
    for (file, line), count in of_line.items():
        yield Slowdown(
            "spills" if spills else "local memory",
            file,
            line,
            count / every,
            f"{PurePath(file).name}:{line} goes to local memory {counted(count, 'time')} in the "
            f"code of {taken.gpu.architecture}: {why}",
        )


def _shape(counts: Counts, predicted: PredictedTime) -> Iterator[Slowdown]:
    """Yield what of a launch's time is lost by the shape of its grid and blocks."""
    if predicted.seconds < LEAST_SECONDS:
        return
    blocks, multiprocessors = counts.blocks, predicted.gpu.multiprocessors
    latency = predicted.binding == "latency"
    waves = predicted.waves if latency else blocks / multiprocessors
    turns, busiest = math.ceil(waves), counts.busiest_block
    # what all of the GPU shares does not wait for a multiprocessor
    waits = predicted.binding not in ("memory", "L2")
    unequal = turns < (1 - IDLE) * busiest
    if waits and unequal:
        yield _of_launch(
            "unequal blocks",
            1 - turns / busiest,
            f"one block has {busiest:,.1f} times the work of the mean of {blocks:,}, and the "
            "launch lasts as long: divide its work among blocks",
        )
    if blocks < multiprocessors:
        yield _of_launch(
            "small grid",
            1 - blocks / multiprocessors,
            f"{counted(blocks, 'block')} for {multiprocessors} multiprocessors, "
            f"{multiprocessors - blocks} of which have no work: make more and smaller blocks",
        )
    elif waits and waves < (1 - IDLE) * turns and not unequal:
        yield _tail(blocks, waves, turns)
    yield from _partial_warps(counts)


def _tail(blocks: int, waves: float, turns: int) -> Slowdown:
    """Return that the last of several turns, or the only one, is mostly empty."""
    at_a_time = round(blocks / waves)
    if turns == 1:
        return _of_launch(
            "small grid",
            1 - waves,
            f"{blocks:,} blocks are {waves:.2g} of a wave of {at_a_time:,}: latency binds, and "
            "more and smaller blocks would hide it",
        )
    left = blocks - (turns - 1) * at_a_time
    return _of_launch(
        "tail effect",
        1 - waves / turns,
        f"{blocks:,} blocks are {turns - 1} times {at_a_time:,} and {left:,} more, for which the "
        f"launch lasts as long as for {turns * at_a_time:,}: choose blocks that leave no rest",
    )


def _partial_warps(counts: Counts) -> Iterator[Slowdown]:
    threads = math.prod(counts.block)
    lanes = math.ceil(threads / WARP_THREADS) * WARP_THREADS
    if threads < lanes:
        yield _of_launch(
            "partial warps",
            1 - threads / lanes,
            f"a block of {counted(threads, 'thread')} takes {lanes} lanes of "
            f"{counted(lanes // WARP_THREADS, 'warp')}: make it a multiple of {WARP_THREADS}",
        )


def _of_launch(kind: str, share: float, sentence: str) -> Slowdown:
    return Slowdown(kind, "", 0, share, sentence)


def _access(row: MemoryCounts) -> str:
    verb = {"read": "reading", "write": "writing", "atomic": "changing"}[row.access]
    return f"{PurePath(row.file).name}:{row.line} {verb} {row.array}"
