"""Accesses that follow each other in a thread, and were not made one by the compiler.

What follows each other was counted in the kernel's text. The compiler may have joined it, at some
of the places that a function was inlined at and not at others; then the machine code of the line
has wide instructions, and beside them narrow ones. Which of a line's arrays an instruction is for
the machine code does not say. So a line is taken as a whole: of the bytes that its narrow
instructions move, those of accesses that do not follow each other are taken off first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.study.profile.executed import Executed, Key, accesses, key_of

WIDEST = 16
"""Bytes that one lane can ask for at once."""

LEAST_NARROW = 0.25
"""Less of such accesses in narrow instructions is what stands before and behind unrolled loops."""


@dataclass(frozen=True)
class Unvectorised:
    """The accesses of one line and width that could be wider.

    Attributes
    ----------
    rows : tuple of MemoryCounts
        One for each array.
    saved : float
        Requests that would be saved at twice the width.
    narrow : float
        The share of their bytes that narrow instructions move; 1 where the code is not known.
    kinds : tuple of str
        The narrow instructions: ``"LDG"``. Empty where the code is not known.
    """

    rows: tuple[MemoryCounts, ...]
    saved: float
    narrow: float
    kinds: tuple[str, ...]


def unvectorised(counts: Counts, done: Executed | None) -> Iterator[Unvectorised]:
    """Yield what could be wider; as it is written, where there is no machine code.

    Parameters
    ----------
    done : Executed, optional
        What the launch executes of its machine code.
    """
    lines: defaultdict[Key, list[MemoryCounts]] = defaultdict(list)
    for row in counts.memory:
        lines[key_of(row)].append(row)
    moved = {} if done is None else _moved(done)
    for key, rows in lines.items():
        for width in sorted({row.width for row in rows if _follows(row)}):
            mine = tuple(row for row in rows if row.width == width and _follows(row))
            saved = sum(row.successive for row in mine)
            if done is None:
                yield Unvectorised(mine, saved, 1, ())
                continue
            narrow = _narrow(mine, rows, moved.get(key, []))
            if narrow > LEAST_NARROW:
                there = [(times, one) for times, one in moved[key] if one.bytes <= width]
                kinds = tuple(sorted({one.kind for _, one in there}))
                # the compiler may have done without some of them
                most = sum(times for times, _ in there) / 2
                yield Unvectorised(mine, min(saved * narrow, most), narrow, kinds)


def _follows(row: MemoryCounts) -> bool:
    """Return whether every second access goes on where the one before it ended."""
    return row.width < WIDEST and 2.1 * row.successive > row.requests


def _moved(done: Executed) -> dict[Key, list[tuple[float, Instruction]]]:
    """Return the instructions of each line that access memory, and how often each runs."""
    found: defaultdict[Key, list[tuple[float, Instruction]]] = defaultdict(list)
    for region in done.regions:
        for key, instructions in accesses(region.instructions).items():
            found[key] += ((region.executions, one) for one in instructions)
    return found


def _narrow(
    mine: tuple[MemoryCounts, ...],
    rows: list[MemoryCounts],
    moved: list[tuple[float, Instruction]],
) -> float:
    """Return the share of the bytes of `mine` that narrow instructions move, at least."""
    width = mine[0].width
    every = sum(times * one.bytes for times, one in moved)
    if not every:
        return 0
    narrow = sum(times * one.bytes for times, one in moved if one.bytes <= width) / every
    others = [row for row in rows if row.width <= width and row not in mine]
    total = sum(map(_bytes, rows))
    left = narrow * total - sum(map(_bytes, others))
    return min(1, left / sum(map(_bytes, mine)))


def _bytes(row: MemoryCounts) -> float:
    return row.requests * row.width
