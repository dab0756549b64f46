"""How often loops run of which no access was counted: by the branches at their line.

The emulator counts how often warps come to a branch. A loop's jump backwards has the line of its
condition, and there the loop of the text was tested once more than it was run each time. The
compiler may have unrolled it, often several times over: sixteen iterations at once, then four, then
one by one. How many a loop of the machine code does at once is what it adds to its counter.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import Counts
from minialex.study.profile.resources import Code

ALIKE = 0.75
"""The share of a loop's instructions of which there must be a multiple of what is taken for the
iterations that it does at once."""
_CONTROL = (
    *("IADD3", "UIADD3", "VIADD", "ISETP", "UISETP", "PLOP3", "MOV", "UMOV"),
    *("BRA", "BSSY", "BSYNC", "NOP"),
)
_TESTED_LAST = re.compile(r"\}\s*while\b")

Place = tuple[str, int]


def runs_by_branches(
    code: Code, loops: Sequence[int], counts: Counts, runs: Mapping[int, float], once: float
) -> dict[int, float]:
    """Return the executions of loops, all warps of the launch together.

    Parameters
    ----------
    loops : sequence of int
        Those that are not known by their accesses, as numbers in ``code.loops``.
    runs : dict of int to float
        The executions of those that are.
    once : float
        The executions of what is in no loop.
    """
    tests: defaultdict[Place, float] = defaultdict(float)
    for row in counts.branches:
        tests[row.file, row.line] += row.requests
    alike: defaultdict[Place, list[int]] = defaultdict(list)
    # what they leave over is done in smaller ones
    known = {_place(code, number) for number in runs}
    for number in loops:
        if (place := _place(code, number)) in tests and place not in known:
            alike[place].append(number)
    found: dict[int, float] = {}
    # what is around a loop comes first
    for place, same in sorted(alike.items(), key=lambda item: _depth(code, item[1])):
        entries = around(code, same[0], {**runs, **found}, once)
        found |= _shared_out(code, same, tests[place], entries, _is_tested_last(counts, place))
    return found


def around(code: Code, number: int, runs: Mapping[int, float], once: float) -> float:
    """Return the executions of the innermost loop around one that are known, or once per warp."""
    head = code.loops[number].instructions[0]
    outer = [
        (loop.depth, runs[i])
        for i, loop in enumerate(code.loops)
        if i in runs
        and loop.depth < code.loops[number].depth
        and loop.instructions[0] <= head <= loop.instructions[-1]
    ]
    return max(outer, default=(0, once))[1]


def _shared_out(
    code: Code, loops: Sequence[int], tests: float, entries: float, tested_last: bool
) -> dict[int, float]:
    """Return the executions of the loops that one loop of the text became."""
    at_once = {number: _iterations_at_once(code, number) for number in loops}
    # one that stands there twice was copied, with what is around it
    copies = max(Counter(at_once.values()).values())
    entries = max(entries, 1.0)
    tests /= entries * copies
    # fewer warps may have come to it than to what is around it: those that did ran it
    left = tests if tested_last else max(tests - 1, tests / 2)
    found: dict[int, float] = {}
    sizes = sorted(set(at_once.values()), reverse=True)
    for each in sizes:
        # what is left of loops that run unequally often is a fraction
        times = left / each if each == 1 or len(sizes) == 1 else left // each
        left -= times * each
        found |= {number: times * entries for number, n in at_once.items() if n == each}
    return found


def _place(code: Code, number: int) -> Place:
    """Return file and line of the last jump back to where a loop begins."""
    loop = code.loops[number].instructions
    jumps = [code.instructions[i] for i in loop if loop[0] in code.instructions[i].targets]
    return (jumps[-1].file, jumps[-1].line) if jumps else ("", 0)


def _depth(code: Code, loops: Sequence[int]) -> int:
    return min(code.loops[number].depth for number in loops)


def _is_tested_last(counts: Counts, place: Place) -> bool:
    return bool(_TESTED_LAST.search(counts.source.text(place)))


def _iterations_at_once(code: Code, number: int) -> int:
    """Return how many iterations of the text a loop of the machine code does.

    That divides what it adds to a counter; and of what it computes there is as much in each. A loop
    around others is not unrolled: it may have what they leave over, and their counters.
    """
    if _is_around_others(code, number):
        return 1
    own = [code.instructions[i] for i in code.loops[number].instructions]
    steps = {abs(one.added) for one in own if one.added}
    alike = Counter((one.line, one.opcode) for one in own if _computes(one))
    divisors = {n for step in steps for n in range(1, min(step, len(own)) + 1) if step % n == 0}
    return max((n for n in divisors if _is_made_of(alike, n)), default=1)


def _is_around_others(code: Code, number: int) -> bool:
    loop = code.loops[number]
    first, last = loop.instructions[0], loop.instructions[-1]
    return any(
        other.depth > loop.depth and first <= other.instructions[0] <= last for other in code.loops
    )


def _computes(one: Instruction) -> bool:
    return one.kind not in _CONTROL and not one.opcode.startswith("IMAD.MOV")


def _is_made_of(alike: Mapping[Any, int], n: int) -> bool:
    """Return whether of most instructions there are about a multiple of `n`."""
    near = (count for count in alike.values() if abs(count - n * round(count / n)) <= n / 4)
    return sum(count for count in near if count >= n) >= ALIKE * sum(alike.values())
