"""Turns declarations of shared memory into C++: references into memory that the emulator keeps.

``__shared__ T a[4], b;`` becomes one reference a name, ``extern __shared__ T a[];`` a pointer: see
``emu/block.h``. What is declared at file scope is declared anew in each function that mentions it,
as there is no block when a library is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minialex.cuda.declarations import CppDeclaration, declarations
from minialex.cuda.tokens import Token, closing, closing_angle, parted, partners, spelled, tokens_of

_SHARED = "__shared__"
_CLASSES = ("struct", "class", "union")
_ATTRIBUTES = ("alignas", "__align__", "__attribute__")
# What says where and for whom memory is, and nothing of its type.
_PLACES = ("extern", "static", "__device__", _SHARED)
_QUALIFIERS = (*_PLACES, "volatile", "const")
_STATEMENTS = ("else", "do", "return")
_MACRO = re.compile(r"^([ \t]*#[ \t]*define[ \t]+\w+(?:\([^)]*\))?)(.*__shared__.*)$", re.MULTILINE)


@dataclass(frozen=True)
class SharedArray:
    """One declared name.

    Attributes
    ----------
    ctype : str
        The type of all of it; of dynamic shared memory, of what its name points to.
    alignment : str
        An expression in C++.
    is_dynamic, is_array : bool
        Whether it is ``extern``, and whether it has a first extent.
    """

    name: str
    ctype: str
    alignment: str
    is_dynamic: bool
    is_array: bool

    def in_cpp(self, tag: str = "[] {}") -> str:
        """Return the declaration in a function; `tag` has a type of its own."""
        if self.is_dynamic:
            pointer = f'emu::dynamic_shared<{self.ctype}>("{self.name}");'
            if self.is_array:
                return f"auto* const {self.name} = {pointer}"
            return f"auto& {self.name} = *{pointer}"
        arguments = f'"{self.name}", {self.alignment}, {tag}'
        return f"auto& {self.name} = *emu::shared<{self.ctype}>({arguments});"


@dataclass(frozen=True)
class _SharedStatement:
    """A declaration of shared memory, and where in the text it stands."""

    start: int
    end: int
    defined: str  # the class that it defines, if any
    arrays: Sequence[SharedArray]


def translate_shared(text: str) -> str:
    """Return `text` with its declarations of shared memory in C++, every line where it was."""
    if _SHARED not in text:
        return text
    text = _MACRO.sub(lambda found: found[1] + _rewritten(found[2], ()), text)
    return _rewritten(text, declarations(text))


def _rewritten(text: str, written: Sequence[CppDeclaration]) -> str:
    """Return `text`, which consists of these declarations or is a part of a function."""
    outside = [d for d in written if d.kind != "function" and _SHARED in d.head]
    everywhere: list[tuple[int, SharedArray]] = []
    edits = []
    for one in _statements(text):
        if any(d.start <= one.start <= d.tokens[-1].end for d in outside):
            new = one.defined + " ".join(f"struct {_tag(a)} {{}};" for a in one.arrays)
            everywhere += [(one.start, array) for array in one.arrays]
        else:
            new = one.defined + " ".join(array.in_cpp() for array in one.arrays)
        lines = text.count("\n", one.start, one.end) - new.count("\n")
        edits.append((one.start, one.end, new + "\n" * lines))
    if everywhere:
        edits += [_redeclared(function, everywhere) for function in _functions(written)]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _tag(array: SharedArray) -> str:
    return f"emu_shared_{array.name}"


def _functions(written: Sequence[CppDeclaration]) -> Iterator[CppDeclaration]:
    """Yield the functions with a body, those of classes too."""
    for one in written:
        if one.kind == "function" and one.is_defined:
            yield one
        yield from _functions(one.members)


def _redeclared(
    function: CppDeclaration, everywhere: Sequence[tuple[int, SharedArray]]
) -> tuple[int, int, str]:
    """Return what is put into a function that uses what is declared at file scope, and where."""
    words = function.words - function.head
    # of two in branches of an #if, the text has one
    used = {a.name: a for start, a in everywhere if start < function.start and a.name in words}
    at = function.tokens[function.body].end
    return at, at, " ".join(a.in_cpp(f"{_tag(a)}()") for a in used.values())


def _statements(text: str) -> list[_SharedStatement]:
    tokens = tokens_of(text)
    opened = {last: first for first, last in partners(tokens).items()}
    found: list[_SharedStatement] = []
    for i, token in enumerate(tokens):
        if token.text != _SHARED or (found and token.start < found[-1].end):
            continue
        first, end = _begin(tokens, i, opened, text), _end(tokens, i)
        # left as it is where it is no declaration that there can be: the compiler points at it
        if end is not None and (one := _statement(tokens[first:end], tokens[end].end)):
            found.append(one)
    return found


def _begin(tokens: Sequence[Token], i: int, opened: Mapping[int, int], text: str) -> int:
    """Return where the declaration with the word at `i` begins."""
    while i > 0:
        before, first = tokens[i - 1], i - 1
        if before.text == ")":
            first = opened.get(i - 1, 0) - 1
            if first < 0 or tokens[first].text not in _ATTRIBUTES:
                return i
        elif before.text not in _QUALIFIERS:
            # int __shared__ n;
            same_line = "\n" not in text[before.end : tokens[i].start]
            if not same_line or before.kind != "name" or before.text in _STATEMENTS:
                return i
        i = first
    return i


def _end(tokens: Sequence[Token], i: int) -> int | None:
    """Return where the semicolon is that ends it; None where a value or a brace comes first."""
    while i < len(tokens):
        text = tokens[i].text
        if text == ";":
            return i
        if text in ("=", "}", "#", "\\"):
            return None
        i = closing(tokens, i) if text in ("(", "[", "{") else i
        i += 1
    return None


def _statement(tokens: Sequence[Token], end: int) -> _SharedStatement | None:
    start, is_dynamic = tokens[0].start, any(t.text == "extern" for t in tokens)
    tokens, alignment = _without_attributes(tokens)
    tokens = [t for t in tokens if t.text not in _PLACES]
    brace = next((i for i, t in enumerate(tokens) if t.text == "{"), None)
    defined, ctype = "", ""
    if brace is not None:
        last = closing(tokens, brace)
        head, body, tokens = tokens[:brace], tokens[brace : last + 1], tokens[last + 1 :]
        names = [t.text for t in head if t.kind == "name"]
        if not tokens or not set(names) & set(_CLASSES):
            return None
        first = next(t.text for t in tokens if t.kind == "name")
        ctype = names[-1] if names[-1] not in _CLASSES else f"emu_{first}_type"
        kind = next(name for name in names if name in _CLASSES)
        defined = f"{kind} {ctype} {' '.join(t.text for t in body)}; "
    arrays = []
    for part in parted(tokens):
        at = _declarator(part)
        if at is None:
            return None
        name, begin = at
        ctype = ctype or spelled(part[:begin])
        abstract = [*part[begin:name], *part[name + 1 :]]
        is_array = name + 1 < len(part) and part[name + 1].text == "["
        if is_dynamic and is_array:
            extent = name - begin
            abstract = [*abstract[:extent], *abstract[closing(abstract, extent) + 1 :]]
        whole = ctype + spelled(abstract)
        aligned = f"size_t({alignment})" if alignment else f"alignof({whole})"
        arrays.append(SharedArray(part[name].text, whole, aligned, is_dynamic, is_array))
    return _SharedStatement(start, end, defined, arrays) if ctype and arrays else None


def _without_attributes(tokens: Sequence[Token]) -> tuple[list[Token], str]:
    """Return the other tokens, and the alignment that attributes ask for."""
    kept, alignment, i = [], "", 0
    while i < len(tokens):
        if tokens[i].text in _ATTRIBUTES:
            last = closing(tokens, i + 1)
            inner = spelled(tokens[i + 2 : last])
            # __attribute__((aligned(16)))
            aligned = re.fullmatch(r"\((?:__)?aligned(?:__)?\((.*)\)\)", inner)
            alignment = alignment or (aligned[1] if aligned else inner)
            i = last
        else:
            kept.append(tokens[i])
        i += 1
    return kept, alignment


def _declarator(tokens: Sequence[Token]) -> tuple[int, int] | None:
    """Return where the name is that is declared, and where what is its own begins."""
    name, i = -1, 0
    while i < len(tokens) and tokens[i].text != "[":
        if tokens[i].text == "(" and name >= 0 and tokens[name].text == "decltype":
            i = closing(tokens, i)
        elif tokens[i].text == "(":
            # float (*rows)[4]
            inner = range(i, closing(tokens, i))
            return next(((j, i) for j in inner if tokens[j].kind == "name"), None)
        elif tokens[i].text == "<":
            i = closing_angle(tokens, i)
        elif tokens[i].kind == "name":
            name = i
        i += 1
    begin = name
    while begin > 0 and tokens[begin - 1].text in ("*", "&"):
        begin -= 1
    return (name, begin) if name >= 0 else None
