"""How often loops run that access no memory: by the branches that were counted at their line.

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
    code: Code, free: Sequence[int], counts: Counts, runs: Mapping[int, float], once: float
) -> dict[int, float]:
    """Return the executions of loops, all warps of the launch together.

    Parameters
    ----------
    free : sequence of int
        The loops that access no memory, as numbers in ``code.loops``.
    runs : dict of int to float
        The executions of those that do.
    once : float
        The executions of what is in no loop.
    """
    tests: defaultdict[Place, float] = defaultdict(float)
    for row in counts.branches:
        tests[row.file, row.line] += row.requests
    alike: defaultdict[Place, list[int]] = defaultdict(list)
    for number in free:
        if (place := _place(code, number)) in tests:
            alike[place].append(number)
    found: dict[int, float] = {}
    # what is around a loop comes first
    for place, loops in sorted(alike.items(), key=lambda item: _depth(code, item[1])):
        entries = around(code, loops[0], {**runs, **found}, once)
        found |= _shared_out(code, loops, tests[place], entries, _is_tested_last(counts, place))
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
    left = max(0.0, tests / (entries * copies) - (not tested_last)) if entries else 0.0
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

    That divides what it adds to a counter; and of what it computes there is as much in each.
    """
    own = [code.instructions[i] for i in code.loops[number].instructions]
    steps = {abs(one.added) for one in own if one.added}
    alike = Counter((one.line, one.opcode) for one in own if _computes(one))
    divisors = {n for step in steps for n in range(1, min(step, len(own)) + 1) if step % n == 0}
    return max((n for n in divisors if _is_made_of(alike, n)), default=1)


def _computes(one: Instruction) -> bool:
    return one.kind not in _CONTROL and not one.opcode.startswith("IMAD.MOV")


def _is_made_of(alike: Mapping[Any, int], n: int) -> bool:
    """Return whether of most instructions there are about a multiple of `n`."""
    near = (count for count in alike.values() if abs(count - n * round(count / n)) <= n / 4)
    return sum(count for count in near if count >= n) >= ALIKE * sum(alike.values())
