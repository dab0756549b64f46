"""Counts and machine code of kernels that do not exist, for models to be worked by hand."""

from __future__ import annotations

from minialex.cuda import disassembly
from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import BranchCounts, Counts, MemoryCounts
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.known_gpus import known_gpu, occupancy
from minialex.cuda.nvrtc import Usage
from minialex.study.profile.resources import Code, Resources

FILE = "made_up.cu"
MIB = 1 << 20


def row(line, access, array, memory="global", width=4, requests=1.0, **numbers):
    """Return accesses; of what is not given, a coalesced request's: 32 lanes, 4 bytes each."""
    sectors = width if memory == "global" else 0
    usual = {
        "lanes": 32,
        "wavefronts": max(1, width // 4),
        "least_wavefronts": max(1, width // 4),
        "sectors": sectors,
        "least_sectors": sectors,
        "lines": sectors / 4,
        "first": sectors,
    }
    summed = {name: each * requests for name, each in (usual | numbers).items()}
    return MemoryCounts(FILE, line, access, array, memory, width, requests, **summed)


class Source:
    """The text of a file of which a few lines are known, by their number."""

    def __init__(self, lines):
        self._lines = lines

    def text(self, place):
        return self._lines.get(place[1], "")


def branch(line, requests):
    """Return a branch that warps came to so often."""
    return BranchCounts(FILE, line, requests, 32 * requests)


def counts(*memory, blocks=1, threads=32, arrays=(), shared=0, branches=(), text=None, busiest=1.0):
    """Return counts of a launch; `arrays` are (name, bytes), `text` is lines by their number."""
    named = tuple(NamedArray(name, (size // 4,), 4, "f", shared=False) for name, size in arrays)
    return Counts(
        *("made_up", (blocks, 1, 1), (threads, 1, 1), shared, 0, blocks, blocks),
        *(0.0, busiest, False, named, memory, branches, (), None, Source(text or {})),
    )


def code(*lines, registers=32, shared=0):
    """Return machine code of lines like ``"7 again: @P0 BRA `(again)"``, 7 being the source's."""
    text = ['\t.section\t.text.made_up,"ax",@progbits']
    for number, one in enumerate(lines):
        line, rest = one.split(" ", 1)
        label, colon, rest = rest.rpartition(": ")
        if colon:
            text.append(f".L_{label}:")
        text.append(f'\t//## File "{FILE}", line {line}')
        text.append(f"        /*{16 * number:04x}*/    {rest.replace('`(', '`(.L_')} ;")
    (found,) = disassembly.parse("\n".join(text)).values()
    return Code(
        Usage("made_up", "sm_80", registers, 0, 0, 0, shared),
        tuple(found),
        frozenset(disassembly.reachable(found)),
        tuple(disassembly.loops(found)),
        tuple(disassembly.main_loop(found)),
    )


def resources(machine, gpu="A100", threads=32):
    known = known_gpu(gpu)
    usage = machine.usage
    taken = occupancy(known, threads, usage.registers, usage.shared) if usage else None
    return Resources("made_up", known, machine, 0, taken)


def opcodes(instructions: tuple[Instruction, ...]) -> list[str]:
    return [one.opcode for one in instructions]
