"""Which pipeline of a multiprocessor executes an instruction.

Names and kinds: Nsight Compute, Kernel Profiling Guide, "Pipelines"; opcodes: CUDA Binary
Utilities, "Instruction Set Reference".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from minialex.cuda.disassembly import Instruction

PIPELINES: dict[str, tuple[str, ...]] = {
    "FMA": (*("FFMA", "FMUL", "FADD", "FFMA32I", "FADD32I", "FMUL32I", "FSWZADD", "IMAD", "IMUL"),),
    "half": ("HFMA2", "HADD2", "HMUL2", "HSET2", "HSETP2", "HMNMX2"),
    "FP64": ("DFMA", "DADD", "DMUL", "DSETP"),
    "tensor": ("HMMA", "IMMA", "BMMA", "DMMA"),
    "XU": ("MUFU", "I2F", "F2I", "F2F", "I2I", "FRND", "POPC", "FLO", "BREV"),
    "LSU": (
        *("LDG", "STG", "LDS", "STS", "LDL", "STL", "LD", "ST", "LDGSTS", "LDSM", "STSM"),
        *("ATOM", "ATOMG", "ATOMS", "RED", "SHFL", "MATCH"),
    ),
    "control": (
        *("BRA", "BRX", "JMP", "CALL", "RET", "EXIT", "BSSY", "BSYNC", "BREAK", "WARPSYNC", "BAR"),
        *("NOP", "YIELD", "NANOSLEEP", "DEPBAR", "LDGDEPBAR", "MEMBAR", "ERRBAR", "CCTL", "BMOV"),
    ),
}
"""The instructions of each, without modifiers.

Others run on ``"uniform"`` where their name begins with U or they fill a uniform register, else on
``"ALU"``: integers, logic, comparisons.
"""

_OF = {opcode: name for name, opcodes in PIPELINES.items() for opcode in opcodes}
_UNIFORM = ("R2UR", "S2UR", "LDC", "LDCU", "ULDC", "VOTEU", "S2R", "CS2R")
_SHAPE = re.compile(r"\b(?P<m>16|8)(?P<n>8)(?P<k>4|8|16|32)\b")


def pipeline(kind: str) -> str:
    """Return the pipeline of an instruction, by `Instruction.kind`."""
    name = kind.partition(".")[0]
    if name in _OF:
        return _OF[name]
    return "uniform" if name.startswith("U") or name in _UNIFORM else "ALU"


def by_pipeline(kinds: Mapping[str, int]) -> Counter[str]:
    """Return how many instructions each pipeline has, of how many there are of each kind."""
    found: Counter[str] = Counter()
    for kind, number in kinds.items():
        found[pipeline(kind)] += number
    return found


def tensor_products(instruction: Instruction) -> tuple[int, bool]:
    """Return the multiply-adds of a warp's HMMA, and whether its operands are TF32.

    Zero of any other instruction. ``HMMA.1688`` multiplies 16 by 8 with 8 by 8.
    """
    shape = _SHAPE.search(instruction.opcode) if instruction.kind == "HMMA" else None
    if shape is None:
        return 0, False
    return int(shape["m"]) * int(shape["n"]) * int(shape["k"]), "TF32" in instruction.opcode
