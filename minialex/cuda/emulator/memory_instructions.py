"""What the instructions of PTX that touch memory, or other lanes, are in C++."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minialex.cuda.emulator.ptx_operands import CTYPES, PtxOperand, Twin

_VECTORS = {
    **{("f32", n): f"float{n}" for n in (2, 4)},
    **{(t, n): f"uint{n}" for t in ("b32", "u32", "s32", "f16x2", "bf16x2") for n in (2, 4)},
    **{(t, n): f"ushort{n}" for t in ("b16", "u16", "s16", "f16", "bf16") for n in (2, 4)},
    **{(t, 2): "ulonglong2" for t in ("b64", "u64", "s64")},
    ("f64", 2): "double2",
}
# Of loads and stores: which memory an address is in is known, and caches have no twin.
_HINTS = {
    *("global", "const", "local", "param", "volatile", "weak", "relaxed", "acquire", "release"),
    *(
        "acq_rel",
        "cta",
        "gpu",
        "sys",
        "nc",
        "ca",
        "cg",
        "cs",
        "cv",
        "lu",
        "wb",
        "wt",
        "shared::cta",
    ),
    *("L1::no_allocate", "L1::evict_last", "L1::evict_first", "L1::evict_normal"),
    *("L2::64B", "L2::128B", "L2::256B"),
}
_STRONG = {"volatile", "relaxed", "acquire", "release"}
"""What says that other threads may wait for a number."""
_MMA = re.compile(
    r"mma\.sync\.aligned\.(m16n8k16|m16n8k8|m16n8k4)\.row\.col\."
    r"(f32|f16)\.(f16|bf16|tf32)\.(f16|bf16|tf32)\.(f32|f16)"
)
_LAYOUTS = {
    "f16": "emu::Packed<__half>",
    "bf16": "emu::Packed<__nv_bfloat16>",
    "tf32": "emu::Tf32",
}


def _memory(address: PtxOperand, rest: list[str]) -> str:
    """Return the C++ of the pointer that an address is, in the memory that `rest` names."""
    if not address.is_address:
        raise KeyError(address.text)
    space = "shared" if {"shared", "shared::cta"} & set(rest) else "global"
    return f"emu::ptx::{space}({address.text})"


def _accessed(rest: list[str]) -> tuple[str, int]:
    """Return the type of a load or store, and how many of them it moves."""
    t = rest[-1]
    counts = [int(part[1]) for part in rest if part in ("v2", "v4")]
    if not set(rest[:-1]) <= _HINTS | {"shared", "v2", "v4"}:
        raise KeyError(rest)
    return t, counts[0] if counts else 1


def _load(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, address = operands
    t, count = _accessed(rest)
    if count == 1 and _STRONG & set(rest):
        pointer = f"reinterpret_cast<const volatile {CTYPES[t]}*>({_memory(address, rest)})"
        return d.assigned(f"*{pointer}")
    if count == 1:
        return d.assigned(f"emu::ptx::load<{CTYPES[t]}>({_memory(address, rest)})")
    if len(d.parts) != count:
        raise KeyError(rest)
    whole = f"const auto emu_v = emu::ptx::load<{_VECTORS[t, count]}>({_memory(address, rest)});"
    parts = (p.assigned(f"emu_v.{axis}") for p, axis in zip(d.parts, "xyzw", strict=False))
    return f"{{ {whole} {' '.join(parts)} }}"


def _store(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    address, a = operands
    t, count = _accessed(rest)
    if count == 1 and _STRONG & set(rest):
        pointer = f"reinterpret_cast<volatile {CTYPES[t]}*>({_memory(address, rest)})"
        return _after_fence(rest, f"*{pointer} = {a.seen_as(t)};")
    if count == 1:
        return f"emu::ptx::store({_memory(address, rest)}, {a.seen_as(t)});"
    if len(a.parts) != count:
        raise KeyError(rest)
    vector = _VECTORS[t, count]
    values = ", ".join(p.seen_as(_word(vector)) for p in a.parts)
    return f"emu::ptx::store({_memory(address, rest)}, make_{vector}({values}));"


def _word(vector: str) -> str:
    """Return the PTX type of the members of a vector type."""
    names = {"float": "f32", "double": "f64", "uint": "u32", "ushort": "u16", "ulonglong": "u64"}
    return names[vector[:-1]]


def _asynchronous(rest: list[str], operands: Sequence[PtxOperand]) -> str | None:
    if rest == ["async", "commit_group"]:
        return "emu_close_copies();"
    if rest == ["async", "wait_all"]:
        return "emu::ptx::wait_all();"
    if rest == ["async", "wait_group"]:
        return f"emu_wait_for_copies({operands[0].text});"
    known = {
        "async",
        "ca",
        "cg",
        "shared",
        "shared::cta",
        "global",
        "L2::64B",
        "L2::128B",
        "L2::256B",
    }
    if not set(rest) <= known or rest[0] != "async":
        return None
    to, source, size, *filled = operands
    if len(filled) > 1:
        return None
    # of the source so many bytes are read, or none where a predicate says so
    bytes_read = f"emu::ptx::bytes_read({filled[0].text}, {size.text})" if filled else size.text
    where = f"{_memory(to, ['shared'])}, {_memory(source, ['global'])}"
    return f"emu::ptx::copy({where}, {size.text}, {bytes_read});"


def _rows(name: str) -> Twin:
    """Return the twin of ldmatrix or of stmatrix."""

    def twin(rest: list[str], operands: Sequence[PtxOperand]) -> str | None:
        count = next(int(part[1]) for part in rest if part in ("x1", "x2", "x4"))
        known = {"sync", "aligned", "m8n8", "trans", "shared", "shared::cta", "b16", f"x{count}"}
        registers, address = operands if name == "ldmatrix" else operands[::-1]
        parts = registers.parts or (registers,)
        if not set(rest) <= known or len(parts) != count:
            return None
        template = f"emu::ptx::{name}<{count}, {str('trans' in rest).lower()}>"
        pointer = _memory(address, ["shared"])
        if name == "stmatrix":
            given = ", ".join(p.seen_as("u32") for p in parts)
            return f"{{ unsigned emu_m[] = {{{given}}}; {template}({pointer}, emu_m); }}"
        taken = " ".join(p.assigned(f"emu_m[{i}]") for i, p in enumerate(parts))
        return f"{{ unsigned emu_m[{count}]; {template}(emu_m, {pointer}); {taken} }}"

    return twin


def _matrix(rest: list[str], operands: Sequence[PtxOperand]) -> str | None:
    opcode = ".".join(["mma", *rest])
    found = _MMA.fullmatch(opcode)
    if found is None:
        return None
    shape, to, left, right, of = found.groups()
    k, each = int(shape.partition("k")[2]), 1 if left == "tf32" else 2
    whole = 8 * each
    if left != right or to != of or k > whole or k < whole // 2 or (to == "f16" and left != "f16"):
        return None
    d, a, b, c = (o.parts for o in operands)
    # Half of K is as good as all of it with zeros.
    sides = [", ".join(o.seen_as("u32") for o in side) for side in (a, b)]
    if [len(a), len(b)] != [4 * k // whole, 2 * k // whole] or len(d) != len(c):
        return None
    ctype, count, seen = ("float", 4, "f32") if to == "f32" else ("unsigned", 2, "u32")
    if len(d) != count:
        return None
    given = ", ".join(o.seen_as(seen) for o in c)
    taken = " ".join(o.assigned(f"emu_d[{i}]") for i, o in enumerate(d))
    return (
        f"{{ {ctype} emu_d[] = {{{given}}}; const unsigned emu_a[4] = {{{sides[0]}}}, "
        f"emu_b[2] = {{{sides[1]}}}; "
        f'emu::ptx::mma<{_LAYOUTS[left]}>(emu_d, emu_a, emu_b, "{opcode}"); {taken} }}'
    )


def _atomic(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    *how, operation, t = [r for r in rest if r not in ("noftz",)]
    if not set(how) <= _HINTS | {"shared"}:
        raise KeyError(rest)
    d, address, *values = operands
    names = {"add": "Add", "min": "Min", "max": "Max", "and": "And", "or": "Or", "xor": "Xor"}
    names |= {"exch": "Exch", "cas": "CAS", "inc": "Inc", "dec": "Dec"}
    pointer = f"reinterpret_cast<{CTYPES[t]}*>({_memory(address, how)})"
    given = ", ".join(v.seen_as(t) for v in values)
    return _after_fence(how, d.assigned(f"atomic{names[operation]}({pointer}, {given})"))


def _reduction(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    return _atomic(rest, [PtxOperand("_"), *operands])


def _barrier(rest: list[str], operands: Sequence[PtxOperand]) -> str | None:
    if rest == ["warp", "sync"]:
        return f"__syncwarp({operands[0].seen_as('u32')});"
    # a part of the block, or another barrier than the first, is none that is known
    if set(rest) <= {"sync", "cta", "aligned"} and [o.text for o in operands] == ["0"]:
        return "__syncthreads();"
    return None


def _after_fence(rest: list[str], statement: str) -> str:
    """Return `statement`, after what lets it hand on the thread's work if it says so."""
    if not {"release", "acq_rel"} & set(rest):
        return statement
    return f"{{ __threadfence{'_block' if 'cta' in rest else ''}(); {statement} }}"


def _fence(rest: list[str], _operands: Sequence[PtxOperand]) -> str:
    return "__threadfence_block();" if rest[-1] == "cta" else "__threadfence();"


def _shuffle(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    _, way, _ = rest
    d, a, by, clamp, mask = operands
    to, inside = d.parts or (d, None)
    given = ", ".join(o.seen_as("u32") for o in (a, by, clamp, mask))
    code = f"unsigned emu_s = emu::ptx::shfl(emu::ptx::{way.upper()}, {given}, emu_p);"
    flag = inside.assigned("emu_p") if inside else ""
    return f"{{ bool emu_p; {code} {to.assigned('emu_s')} {flag} }}"


def _vote(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, p, mask = operands
    return d.assigned(f"__{rest[1]}_sync({mask.seen_as('u32')}, {p.text})")


def _convert_address(rest: list[str], operands: Sequence[PtxOperand]) -> str:
    d, a = operands
    if rest[:2] == ["to", "shared"]:
        return d.assigned(f"__cvta_generic_to_shared(emu::ptx::global({a.seen_as('u64')}))")
    if rest[0] == "shared":
        return d.assigned(f"__cvta_shared_to_generic({a.seen_as('u64')})")
    return d.assigned(a.seen_as("u64"))


MEMORY: dict[str, Twin] = {
    **{name: _rows(name) for name in ("ldmatrix", "stmatrix")},
    **dict.fromkeys(("membar", "fence"), _fence),
    **dict.fromkeys(("bar", "barrier"), _barrier),
    **{"ld": _load, "st": _store, "cp": _asynchronous, "cvta": _convert_address},
    **{"atom": _atomic, "red": _reduction, "shfl": _shuffle, "vote": _vote, "mma": _matrix},
}
