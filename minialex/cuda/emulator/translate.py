"""Turns CUDA text into C++ text: what a header of macros cannot do.

Only three things need it. Shared memory belongs to a block, which C++ knows nothing of, so its
declarations become references into memory that the emulator keeps for the block that runs;
variables at file scope are listed (`variables`); and each instantiation gets a function that can be
called from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from minialex.cuda.declarations import CppDeclaration, declarations
from minialex.cuda.emulator.assembly import translate_assembly
from minialex.cuda.emulator.variables import list_variables
from minialex.cuda.tokens import split, without_comments

_SHARED = re.compile(r"\b(?:static\s+)?(extern\s+)?(?:static\s+)?__shared__\s+([^;{}=]+);")
# CUDA's pragma without a number.
_UNROLL = re.compile(r"^([ \t]*#[ \t]*pragma)[ \t]+unroll[ \t]*$", re.MULTILINE)
_ALIGNMENT = re.compile(r"\b(?:__align__|alignas)\s*\(((?:[^()]|\([^()]*\))*)\)")
_DECLARATION = re.compile(r"(?P<type>\S.*?)\s*\b(?P<name>\w+)\s*(?P<sizes>(?:\[.*\])?)", re.DOTALL)
_DECLARATOR = re.compile(r"(?P<name>\w+)\s*(?P<sizes>(?:\[.*\])?)", re.DOTALL)


def translate(text: str, expressions: Sequence[str], *, unroll: bool = False) -> str:
    """Return the C++ of the CUDA `text`, with an entry for each of the instantiations.

    Entry number i, for ``expressions[i]``, is the function ``emu_entry_i``. Every line stays
    where it was. With `unroll`, short loops are unrolled where the text says so, as nvcc does: of
    longer ones there would be more code than g++ gets through.
    """
    body = _shared_in_functions(list_variables(without_comments(text)))
    body = translate_assembly(_SHARED.sub(_shared, body))
    if unroll:
        body = _UNROLL.sub(r"\1 GCC unroll 8", body)
    entries = [f"EMU_ENTRY({entry(i)}, {e})\n" for i, e in enumerate(expressions)]
    return body + '#line 1 "entries"\n' + "".join(entries)


def entry(number: int) -> str:
    """Return the name of entry `number` of a module."""
    return f"emu_entry_{number}"


def _shared_in_functions(text: str) -> str:
    """Declare dynamic shared memory that is declared at file scope in the functions that use it."""
    every = declarations(text)
    outside = [d for d in every if d.kind == "variable" and {"extern", "__shared__"} <= d.head]
    edits: dict[int, tuple[int, str]] = {}
    for one in outside:
        old = text[one.start : one.tokens[-1].end]
        edits[one.start] = (one.tokens[-1].end, "\n" * old.count("\n"))
        for function in _functions(every):
            if function.words & {*one.names}:
                at = function.tokens[function.body].end
                _, before = edits.get(at, (at, ""))
                edits[at] = (at, before + " " + " ".join(old.split()))
    parts, done = [], 0
    for start, (end, new) in sorted(edits.items()):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def _functions(every: Sequence[CppDeclaration]) -> Iterator[CppDeclaration]:
    """Yield the functions with a body, those of classes too."""
    for one in every:
        if one.kind == "function" and one.is_defined:
            yield one
        yield from _functions(one.members)


def _shared(found: re.Match[str]) -> str:
    """``__shared__ T a[4], b;`` becomes one reference a name; see ``emu/block.h``."""
    alignments = [a.strip() for a in _ALIGNMENT.findall(found[2])]
    first, *others = split(_ALIGNMENT.sub(" ", found[2]).strip())
    declaration = _DECLARATION.fullmatch(first)
    declarators = [_DECLARATOR.fullmatch(other) for other in others]
    if declaration is None or None in declarators:
        # Left as it is, the compiler points at the line.
        return found[0]
    ctype = declaration["type"]
    make = _dynamic if found[1] else _static
    parts = [make(ctype, d, alignments) for d in (declaration, *declarators) if d is not None]
    # A declaration may run over several lines; those after it must not move.
    return " ".join(parts) + "\n" * (found[0].count("\n") - sum(p.count("\n") for p in parts))


def _static(ctype: str, declarator: re.Match[str], alignments: Sequence[str]) -> str:
    name, kind = declarator["name"], ctype + declarator["sizes"]
    align = f"size_t({alignments[0]})" if alignments else f"alignof({ctype})"
    return f'auto& {name} = emu::shared<{kind}>("{name}", {align}, [] {{}});'


def _dynamic(ctype: str, declarator: re.Match[str], _alignments: Sequence[str]) -> str:
    name = declarator["name"]
    return f'{ctype}* const {name} = emu::dynamic_shared<{ctype}>("{name}");'
