"""What one kernel takes of a GPU: registers, shared memory, occupancy, and its machine code.

All of it comes from NVIDIA's compiler and disassembler, which need no GPU. Where one of them is
missing, `Resources.missing` says so and what depends on it is None or empty.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from minialex.cuda import disassembly, nvrtc, source
from minialex.cuda.disassembly import Instruction, Loop
from minialex.cuda.known_gpus import KnownGPU, Occupancy, occupancy
from minialex.cuda.nvrtc import Usage
from minialex.errors import MinialexError


@dataclass(frozen=True)
class LineInstructions:
    """Instructions that a source line became, in one kernel's machine code.

    Attributes
    ----------
    file, line : str, int
        Of what was inlined, the inlined text's.
    kind : str
        As `minialex.cuda.disassembly.Instruction.kind` names it: ``"LDG.128"``.
    count : int
        As they stand in the code: a loop that was unrolled four times has four.
    main_loop : bool
        Whether they are in the kernel's main loop.
    """

    file: str
    line: int
    kind: str
    count: int
    main_loop: bool


@dataclass(frozen=True)
class Code:
    """A kernel's machine code for one architecture.

    Attributes
    ----------
    usage : Usage, optional
        Registers, spills and static shared memory.
    instructions : tuple of Instruction
        With the names of files as kernels have them.
    reachable : frozenset of int
        Which of them can be reached, without padding and called subroutines.
    loops : tuple of Loop
        All loops, in the order of the code.
    main : tuple of Loop
        The main loop and those around it, from inside out.
    missing : str
        Why one of these is not there; empty if all are.
    """

    usage: Usage | None = None
    instructions: tuple[Instruction, ...] = ()
    reachable: frozenset[int] = frozenset()
    loops: tuple[Loop, ...] = ()
    main: tuple[Loop, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes of one GPU.

    Attributes
    ----------
    kernel : str
        With its template arguments.
    gpu : KnownGPU
    code : Code
    dynamic_shared : int
        Bytes of dynamic shared memory per block.
    occupancy : Occupancy, optional
        None where the registers are not known.
    """

    kernel: str
    gpu: KnownGPU
    code: Code
    dynamic_shared: int
    occupancy: Occupancy | None

    @property
    def missing(self) -> str:
        """Why something is not there; empty if all is."""
        return self.code.missing

    @property
    def registers(self) -> int | None:
        """Registers per thread."""
        usage = self.code.usage
        return None if usage is None else usage.registers

    @property
    def spilled_bytes(self) -> int | None:
        """Bytes of spill stores and loads in the code of a thread."""
        usage = self.code.usage
        return None if usage is None else usage.spill_stores + usage.spill_loads

    @property
    def local_bytes(self) -> int | None:
        """Bytes of local memory per thread: spills, and arrays that no register can hold."""
        usage = self.code.usage
        return None if usage is None else usage.stack

    @property
    def static_shared(self) -> int | None:
        """Bytes of static shared memory per block."""
        usage = self.code.usage
        return None if usage is None else usage.shared

    @property
    def main_loop(self) -> Counter[str]:
        """The instructions of the main loop, of all the code where there is no loop, by kind."""
        if self.code.main:
            return self.code.main[0].kinds
        return disassembly.count(self.code.instructions[i] for i in self.code.reachable)

    @property
    def lines(self) -> tuple[LineInstructions, ...]:
        """What became of each source line, in the order of the text."""
        inside = set(self.code.main[0].instructions) if self.code.main else set()
        found = Counter(
            (one.file, one.line, one.kind, index in inside)
            for index, one in enumerate(self.code.instructions)
            if one.line and index in self.code.reachable
        )
        return tuple(
            LineInstructions(file, line, kind, count, main)
            for (file, line, kind, main), count in sorted(found.items())
        )


def resources(
    file: str | Path, expression: str, gpu: KnownGPU, threads: int, dynamic_shared: int = 0
) -> Resources:
    """Return what a kernel takes of a GPU.

    It is compiled and disassembled once per process, text and architecture.

    Parameters
    ----------
    file : str or Path
        As `minialex.cuda.source.read` takes it.
    expression : str
        The instantiation: ``"relu_forward<float>"``.
    threads : int
        Of a block.
    dynamic_shared : int
        Bytes per block.
    """
    digest = source.read(file).digest
    code = _code(str(file), digest, expression, gpu.architecture)
    taken = None
    if code.usage:
        shared = code.usage.shared + dynamic_shared
        taken = occupancy(gpu, threads, code.usage.registers, shared)
    return Resources(expression, gpu, code, dynamic_shared, taken)


@functools.cache
def _code(file: str, digest: str, expression: str, architecture: str) -> Code:
    if why := nvrtc.why_missing():
        return Code(missing=why)
    try:
        compiled = nvrtc.compiled(file, architecture, [expression])
    except MinialexError as error:
        # an error of the compiler's has its lines below it
        return Code(missing=" ".join(str(error).split()))
    (usage,) = compiled.usage
    if why := disassembly.why_missing():
        return Code(usage, missing=why)
    if not disassembly.is_readable(architecture):
        return Code(usage, missing=f"nvdisasm does not read {architecture}")
    try:
        code = disassembly.disassemble(compiled.cubin)[compiled.symbols[expression]]
    except MinialexError as error:
        return Code(usage, missing=str(error))
    name = source.read(file).name
    return Code(
        usage,
        tuple(dataclasses.replace(one, file=name(one.file)) for one in code),
        frozenset(disassembly.reachable(code)),
        tuple(disassembly.loops(code)),
        tuple(disassembly.main_loop(code)),
    )
