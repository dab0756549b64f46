"""What each instruction of PTX is in C++, with the functions of ``emu/ptx.h``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minialex.cuda.emulator.memory_instructions import MEMORY
from minialex.cuda.emulator.ptx_operands import (
    CTYPES,
    FLOATS,
    PLAIN,
    PtxOperand,
    Twin,
    UnknownError,
    type_of,
)

_WIDE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
_INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^", "rem": "%"}
_COMPARISONS = {
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"lo": "<", "ls": "<=", "hi": ">", "hs": ">="},
}
_FUNCTIONS = {
    **{"ex2": "exp2", "lg2": "log2", "sqrt": "sqrt", "rsqrt": "rsqrt"},
    **{"tanh": "tanh", "sin": "sin", "cos": "cos"},
}
_TO_WHOLE = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}


def statement(opcode: str, operands: Sequence[PtxOperand], whole: str) -> str:
    """Return the C++ of one instruction.

    Raises
    ------
    UnknownError
        If it has no twin; the message is `whole`.
    """
    name, *rest = re.split(r"\.", opcode)
    try:
        code = (_TWINS)[name](rest, operands)
    except (KeyError, IndexError, ValueError):
        code = None
    if code is None:
        raise UnknownError(whole)
    return code


def _infix(name: str) -> Twin:
    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, a, b = operands
        if rest == ["pred"]:
            return d.assigned(f"bool({a.text} {_INFIX[name]} {b.text})")
        t = type_of(rest)
        return d.assigned(f"{a.seen_as(t)} {_INFIX[name]} {b.seen_as(t)}")

    return twin


def _mul(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    return operands[0].assigned(_product(rest, *operands[1:]))


def _mad(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a, b, c = operands
    t = _WIDE[rest[-1]] if "wide" in rest else rest[-1]
    return d.assigned(f"{CTYPES[t]}({_product(rest, a, b)} + {c.seen_as(t)})")


def _product(rest: list[str], a: PtxOperand, b: PtxOperand) -> str:
    t = type_of(rest, PLAIN | {"lo", "hi", "wide"})
    if "hi" in rest:
        return f"emu::ptx::mul_hi({a.seen_as(t)}, {b.seen_as(t)})"
    to = _WIDE[t] if "wide" in rest else t
    if t not in FLOATS:
        return f"{CTYPES[to]}({CTYPES[to]}({a.seen_as(t)}) * {b.seen_as(t)})"
    return f"{a.seen_as(t)} * {b.seen_as(t)}"


def _fma(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, *factors = operands
    t = type_of(rest)
    name = "fma" if t in ("f32", "f64") else "__hfma2" if t.endswith("x2") else "__hfma"
    return d.assigned(f"{name}({', '.join(f.seen_as(t) for f in factors)})")


def _extreme(name: str) -> Twin:
    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, a, b = operands
        t = type_of(rest)
        halves = f"__h{name}2" if t.endswith("x2") else f"__h{name}"
        function = halves if "16" in t and t in FLOATS else name
        return d.assigned(f"{function}({a.seen_as(t)}, {b.seen_as(t)})")

    return twin


def _division(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a, b = operands
    t = type_of(rest)
    return d.assigned(f"{a.seen_as(t)} / {b.seen_as(t)}")


def _unary(make: str) -> Twin:
    """Return a function of one operand: `make` with the operand in the place of ``{}``."""

    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, a = operands
        return d.assigned(make.format(a.seen_as(type_of(rest))))

    return twin


def _not(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a = operands
    return d.assigned(f"!{a.text}" if rest == ["pred"] else f"~{a.seen_as(type_of(rest))}")


def _function(name: str) -> Twin:
    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, a = operands
        t = type_of(rest)
        if t in ("f32", "f64"):
            return d.assigned(f"{_FUNCTIONS[name]}({a.seen_as(t)})")
        prefix = "h2" if t.endswith("x2") else "h"
        return d.assigned(f"{prefix}{_FUNCTIONS[name]}({a.seen_as(t)})")

    return twin


def _shift(name: str) -> Twin:
    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, a, b = operands
        return d.assigned(f"emu::ptx::{name}({a.seen_as(type_of(rest))}, {b.seen_as('u32')})")

    return twin


def _funnel_shift(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    way, wrap, _ = rest
    d, a, b, by = operands
    function = f"__funnelshift_{way}{'c' if wrap == 'clamp' else ''}"
    return d.assigned(f"{function}({', '.join(o.seen_as('u32') for o in (a, b, by))})")


def _call(function: str, kinds: str) -> Twin:
    """Return a call of `function`, its operands of these types; ``.`` is the instruction's own."""

    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str:
        d, *others = operands
        t = rest[-1]
        every = zip(others, kinds.split(), strict=True)
        return d.assigned(
            f"{function}({', '.join(o.seen_as(t if k == '.' else k) for o, k in every)})"
        )

    return twin


def _select(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a, b, p = operands
    t = type_of(rest)
    return d.assigned(f"{p.text} ? {a.seen_as(t)} : {b.seen_as(t)}")


def _set_predicate(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    comparison, t = rest[0], type_of(rest[1:])
    p, a, b = operands
    test = f"{a.seen_as(t)} {_COMPARISONS[comparison]} {b.seen_as(t)}"
    if not p.parts:
        return p.assigned(test)
    return f"{p.parts[0].assigned(test)} {p.parts[1].assigned(f'!{p.parts[0].text}')}"


def _move(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a = operands
    t = type_of(rest)
    if t == "pred":
        return d.assigned(a.text)
    if not (d.parts or a.parts):
        return d.assigned(a.seen_as(t))
    if d.parts and a.parts:
        raise KeyError(t)
    parts = d.parts or a.parts
    bits = int(t[1:]) // len(parts)
    if d.parts:
        pieces = (
            p.assigned(f"{CTYPES[f'u{bits}']}({a.seen_as(t)} >> {bits * i})")
            for i, p in enumerate(parts)
        )
        return " ".join(pieces)
    pieces = (f"{CTYPES[t]}({p.seen_as(f'u{bits}')}) << {bits * i}" for i, p in enumerate(parts))
    return d.assigned(" | ".join(f"({p})" for p in pieces))


def _convert(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    *how, to, t = rest
    if to == "tf32":
        return operands[0].assigned(f"emu::to_tf32({operands[1].seen_as(t)})")
    if to in ("f16x2", "bf16x2"):
        d, high, low = operands
        return d.assigned(f"{CTYPES[to]}{{{low.seen_as(t)}, {high.seen_as(t)}}}")
    d, a = operands
    value = a.seen_as(t)
    rounding = [h for h in how if h in _TO_WHOLE]
    if not set(how) <= PLAIN | set(_TO_WHOLE):
        raise KeyError(how)
    if rounding and to not in FLOATS:
        whole = f"{_TO_WHOLE[rounding[0]]}(double({value}))"
        return d.assigned(f"emu::to_whole<{CTYPES[to]}>({whole})")
    if rounding:
        return d.assigned(f"{CTYPES[to]}({_TO_WHOLE[rounding[0]]}({value}))")
    if t in FLOATS and t not in ("f32", "f64"):
        value = f"float({value})"
    return d.assigned(f"{CTYPES[to]}({value})")


def _nothing(_rest: list[str], _operands: Sequence[PtxOperand]) -> str:
    return ";"


def _trap(_rest: list[str], _operands: Sequence[PtxOperand]) -> str:
    return "__trap();"


_TWINS: dict[str, Twin] = {
    **{name: _infix(name) for name in _INFIX},
    **{name: _extreme(name) for name in ("min", "max")},
    **{name: _function(name) for name in _FUNCTIONS},
    **{name: _shift(name) for name in ("shl", "shr")},
    **dict.fromkeys(("nanosleep", "prefetch", "prefetchu"), _nothing),
    **{"mul": _mul, "mad": _mad, "fma": _fma, "div": _division, "not": _not, "shf": _funnel_shift},
    "neg": _unary("-{}"),
    "abs": _unary("abs({})"),
    "rcp": _unary("1 / {}"),
    "popc": _unary("__builtin_popcountll({})"),
    "clz": _call("__clz", "s32"),
    "brev": _call("__brev", "u32"),
    "prmt": _call("__byte_perm", "u32 u32 u32"),
    "lop3": _call("emu::ptx::lop3", "u32 u32 u32 u32"),
    "bfe": _call("emu::ptx::bfe", ". u32 u32"),
    "bfi": _call("emu::ptx::bfi", ". . u32 u32"),
    **{"selp": _select, "setp": _set_predicate, "mov": _move, "cvt": _convert},
    **{"trap": _trap},
    **MEMORY,
}
