"""How many instructions a launch executes, from its machine code and what was counted of memory.

The emulator counts accesses, not instructions: it runs the kernel's text, not a GPU's code. But
every load and store of the machine code has its source line, and how many bytes that line moved was
counted. So a loop's iterations are the bytes that its lines moved over the bytes that one iteration
moves; those of one that moves none follow from its branch (loop_runs.py); what is in no loop runs
once per warp. What cannot be reached without an access that was not counted does not run.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minialex.cuda import disassembly
from minialex.cuda.architectures import WARP_THREADS
from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.cuda.pipelines import pipeline, tensor_products
from minialex.study.profile.loop_runs import around, runs_by_branches
from minialex.study.profile.resources import Code

_ACCESSES = {
    "LDG": ("read", "global"),
    "STG": ("write", "global"),
    "LDS": ("read", "shared"),
    "LDSM": ("read", "shared"),
    "STS": ("write", "shared"),
    "LDGSTS": ("read", "global"),
    "ATOMG": ("atomic", "global"),
    "ATOM": ("atomic", "global"),
    "RED": ("atomic", "global"),
    "ATOMS": ("atomic", "shared"),
}
NOT_IN_A_LOOP = -1

Key = tuple[str, int, str, str]
"""File, line, access and memory."""


@dataclass(frozen=True)
class CodeRegion:
    """The instructions of one loop without the loops within it, or those that are in no loop.

    Attributes
    ----------
    executions : float
        How often warps run through it, all warps of the launch together.
    instructions : tuple of Instruction
    known : bool
        Whether that was counted: a loop without accesses to memory and without a branch that was
        counted has the executions of what is around it.
    """

    executions: float
    instructions: tuple[Instruction, ...]
    known: bool

    def count(self, *kinds: str) -> int:
        """Return how many of its instructions are of one of these opcodes."""
        return sum(one.kind.partition(".")[0] in kinds for one in self.instructions)


@dataclass(frozen=True)
class Executed:
    """The instructions of warps that a launch executes.

    Attributes
    ----------
    regions : tuple of CodeRegion
        What is in no loop first.
    """

    regions: tuple[CodeRegion, ...]

    @property
    def once(self) -> Executed:
        """Those that are in no loop."""
        return Executed(self.regions[:1])

    @property
    def instructions(self) -> float:
        """All of them."""
        return sum(region.executions * len(region.instructions) for region in self.regions)

    @property
    def by_line(self) -> list[tuple[str, int, float]]:
        """File, line and instructions of each line of the kernel's text, most first."""
        found: defaultdict[tuple[str, int], float] = defaultdict(float)
        for region in self.regions:
            for one in region.instructions:
                found[one.file, one.line] += region.executions
        # sums that differ by their order alone are equal
        return sorted(
            ((file, line, number) for (file, line), number in found.items()),
            key=lambda row: (-round(row[2], 6), row[:2]),
        )

    @property
    def pipelines(self) -> Counter[str]:
        """How many each pipeline executes, rounded up."""
        found: defaultdict[str, float] = defaultdict(float)
        for region in self.regions:
            for one in region.instructions:
                found[pipeline(one.kind)] += region.executions
        return Counter({name: math.ceil(number) for name, number in found.items()})

    def tensor_products(self, tf32: bool) -> float:
        """Return the multiply-adds of tensor cores, with operands of TF32 or of 16 bits."""
        return sum(
            region.executions * products
            for region in self.regions
            for products, is_tf32 in map(tensor_products, region.instructions)
            if is_tf32 == tf32
        )


def warps_of(counts: Counts) -> int:
    """Return how many warps the launch has."""
    return counts.blocks * -(-math.prod(counts.block) // WARP_THREADS)


def key_of(row: MemoryCounts) -> Key:
    """Return what a row shares with the instructions of its line."""
    return row.file, row.line, row.access, row.memory


def accesses(instructions: Iterable[Instruction]) -> dict[Key, list[Instruction]]:
    """Return the instructions that access memory, by their line and what they do."""
    found: defaultdict[Key, list[Instruction]] = defaultdict(list)
    for one in instructions:
        for key in _keys(one):
            found[key].append(one)
    return dict(found)


def _keys(one: Instruction) -> list[Key]:
    """Return what an instruction does at its line; nothing unless it accesses memory."""
    name = one.kind.partition(".")[0]
    found = [_ACCESSES[name]] if name in _ACCESSES else []
    if name == "LDGSTS":
        found.append(("write", "shared"))
    return [(one.file, one.line, *access) for access in found]


def executed(code: Code, counts: Counts) -> Executed:
    """Return what a launch executes of `code`."""
    moved: defaultdict[Key, float] = defaultdict(float)
    for row in counts.memory:
        # of warps whose lanes all take part: what is switched off is issued all the same
        moved[key_of(row)] += row.requests * row.width
    passed = _passed(code, moved)
    regions = {i: [n for n in own if n in passed] for i, own in _regions(code).items()}
    chosen = _chosen(code, regions)
    once = float(warps_of(counts))
    runs = _runs(chosen, moved)
    free = [
        i
        for i, own in regions.items()
        if i != NOT_IN_A_LOOP and own and not accesses(code.instructions[n] for n in own)
    ]
    runs |= runs_by_branches(code, free, counts, runs, once)
    runs[NOT_IN_A_LOOP] = once
    return Executed(
        tuple(
            CodeRegion(
                runs[i] if i in runs else around(code, i, runs, once),
                tuple(code.instructions[n] for n in own),
                i in runs,
            )
            for i, own in regions.items()
        )
    )


def _passed(code: Code, moved: Mapping[Key, float]) -> frozenset[int]:
    """Return the instructions that run: those on ways without an access that was not counted.

    Where nothing else leads to what was counted, lanes passed it with a predicate that was false,
    or the compiler gave the access of another line its line. Where lines of the code are none of
    those that were counted, all run.
    """
    keys = {n: _keys(code.instructions[n]) for n in sorted(code.reachable)}
    instructions: defaultdict[Key, set[int]] = defaultdict(set)
    for n, of_access in keys.items():
        for key in of_access:
            instructions[key].add(n)
    counted = moved.keys() & instructions.keys()
    if moved and not counted:
        return code.reachable
    passed, avoided = code.reachable, set[int]()
    for key in [key for key in instructions if key not in counted]:
        fewer = disassembly.passed(code.instructions, avoided | instructions[key])
        if fewer and counted <= {one for n in fewer for one in keys.get(n, ())}:
            passed = fewer
            avoided |= instructions[key]
    return passed


def _regions(code: Code) -> dict[int, list[int]]:
    """Return the instructions of each loop, and those of none, by the loop's number."""
    regions: dict[int, list[int]] = {NOT_IN_A_LOOP: []}
    regions |= {i: list(loop.instructions) for i, loop in enumerate(code.loops)}
    looped = {n for own in regions.values() for n in own}
    regions[NOT_IN_A_LOOP] = [n for n in sorted(code.reachable) if n not in looped]
    return regions


def main_accesses(code: Code) -> dict[Key, list[Instruction]]:
    """Return the instructions that make most of each line's accesses, by what the line does.

    A line may stand in the code more than once. Its accesses are taken to be those of the
    innermost loop that it stands in, of equal ones of that which moves most in an iteration: what
    stands before or behind an unrolled loop is its remainder.
    """
    return {key: found for key, (_, found) in _chosen(code, _regions(code)).items()}


def _chosen(
    code: Code, regions: Mapping[int, list[int]]
) -> dict[Key, tuple[int, list[Instruction]]]:
    """Return the region of `main_accesses` and the instructions there."""
    depths = {NOT_IN_A_LOOP: 0} | {i: loop.depth for i, loop in enumerate(code.loops)}
    ranked: dict[Key, tuple[int, int]] = {}
    chosen: dict[Key, tuple[int, list[Instruction]]] = {}
    for region, own in regions.items():
        for key, found in accesses(code.instructions[n] for n in own).items():
            rank = depths[region], sum(one.bytes for one in found)
            if rank > ranked.get(key, (-1, 0)):
                ranked[key], chosen[key] = rank, (region, found)
    return chosen


def _runs(
    chosen: Mapping[Key, tuple[int, list[Instruction]]], moved: Mapping[Key, float]
) -> dict[int, float]:
    """Return how often each loop that accesses memory runs: bytes over those of an iteration."""
    total: defaultdict[int, float] = defaultdict(float)
    each: defaultdict[int, float] = defaultdict(float)
    for key, (region, found) in chosen.items():
        if key in moved:
            total[region] += moved[key]
            each[region] += sum(one.bytes for one in found)
    return {region: total[region] / each[region] for region in each if region != NOT_IN_A_LOOP}
