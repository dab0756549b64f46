"""The operands of PTX's instructions, and their types, in C++."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

CTYPES = {
    "u8": "uint8_t",
    "b8": "uint8_t",
    "s8": "int8_t",
    "u16": "uint16_t",
    "b16": "uint16_t",
    "s16": "short",
    "u32": "unsigned",
    "b32": "unsigned",
    "s32": "int",
    "u64": "uint64_t",
    "b64": "uint64_t",
    "s64": "int64_t",
    "f16": "__half",
    "f16x2": "__half2",
    "bf16": "__nv_bfloat16",
    "bf16x2": "__nv_bfloat162",
    "f32": "float",
    "f64": "double",
}
FLOATS = ("f16", "f16x2", "bf16", "bf16x2", "f32", "f64")
# Ways of rounding to the nearest, and what makes no difference here.
PLAIN = {"rn", "ftz", "approx", "full", "wrap"}
SPECIAL = {
    "%laneid": "emu_lane()",
    "%warpid": "(cooperative_groups::rank_in_block() / 32)",
    "%smid": "0u",
    "%nsmid": "1u",
    "%lanemask_eq": "(1u << emu_lane())",
    "%lanemask_lt": "((1u << emu_lane()) - 1)",
    "%lanemask_le": "((2u << emu_lane()) - 1)",
    "%lanemask_gt": "~((2u << emu_lane()) - 1)",
    "%lanemask_ge": "~((1u << emu_lane()) - 1)",
    "%clock": "unsigned(emu_clock())",
    "%clock64": "emu_clock()",
    "%globaltimer": "emu_clock()",
    **{
        f"%{name}.{axis}": f"{variable}.{axis}"
        for name, variable in (
            ("tid", "threadIdx"),
            ("ntid", "blockDim"),
            ("ctaid", "blockIdx"),
            ("nctaid", "gridDim"),
        )
        for axis in "xyz"
    },
}


class UnknownError(Exception):
    """An instruction that has no twin."""


@dataclass(frozen=True)
class PtxOperand:
    """An operand of an instruction: a register, a number, an address, or several in braces."""

    text: str
    parts: tuple[PtxOperand, ...] = ()
    is_address: bool = False
    is_special: bool = False

    def seen_as(self, kind: str) -> str:
        """Return the C++ of its value as a PTX type."""
        if self.is_special:
            return f"{CTYPES[kind]}({SPECIAL[self.text]})"
        return f"emu::ptx::as<{CTYPES[kind]}>({self.text})"

    def assigned(self, value: str) -> str:
        """Return the C++ that gives it a value."""
        return f"(void)({value});" if self.text == "_" else f"emu::ptx::set({self.text}, {value});"


Twin = Callable[[list[str], Sequence[PtxOperand]], str | None]


def type_of(rest: list[str], allowed: set[str] = PLAIN) -> str:
    """Return the type that an instruction ends with, if all before it is known."""
    if not set(rest[:-1]) <= allowed:
        raise KeyError(rest)
    return rest[-1]
