"""Rewrites inline assembly into C++: each instruction of PTX becomes its twin in the emulator.

    asm volatile("cvta.to.shared.u64 p, %1;" ...)   ->   { ... emu::ptx::set(...); ... }

A statement stays on its lines. Its operands become variables of the types that their constraints
say, so that an instruction reads or writes memory only through an address. What each instruction
does stands in `instructions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minialex.cuda.emulator.instructions import statement
from minialex.cuda.emulator.ptx_operands import SPECIAL, PtxOperand, UnknownError
from minialex.cuda.source import place
from minialex.cuda.tokens import closing, tokens_of
from minialex.errors import MinialexError

_ASM = re.compile(r"\b(?:asm|__asm__|__asm)\b")
_LITERAL = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\"": '"', r"\\": "\\", r"\'": "'"}
_ESCAPE = re.compile(r"\\.")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_OPERAND = re.compile(r'\s*(?:\[\w+\]\s*)?"([=+&]*)(\w)"\s*\((.*)\)\s*', re.DOTALL)
_CTYPES = {
    "r": "unsigned",
    "f": "float",
    "l": "unsigned long long",
    "d": "double",
    "h": "unsigned short",
}
_REGISTERS = {
    "pred": "bool",
    **dict.fromkeys(("b16", "u16", "s16", "f16", "bf16"), "unsigned short"),
    **dict.fromkeys(("b32", "u32", "s32", "f16x2", "bf16x2"), "unsigned"),
    **dict.fromkeys(("b64", "u64", "s64"), "unsigned long long"),
    "f32": "float",
    "f64": "double",
}
_DECLARATION = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.DOTALL)
_REPEATED = re.compile(r"([\w$%]+)<(\d+)>")
_INSTRUCTION = re.compile(r"(?:@(!?)\s*([\w$%]+)\s+)?([a-z]\w*(?:(?:\.|::)\w+)*)\s*(.*)", re.DOTALL)


def translate_assembly(text: str) -> str:
    """Return preprocessed `text` with each ``asm`` statement rewritten.

    One whose template is not all string literals is left to the compiler to refuse.

    Raises
    ------
    MinialexError
        If an instruction has no twin.
    """
    parts, done = [], 0
    for start, inner, end in _statements(text):
        sections = list(_split(inner, ":"))
        template = _literals(sections[0])
        if template is None:
            continue
        try:
            code = _Statement(template, sections[1:3]).code()
        except UnknownError as unknown:
            file, line = place(text, start)
            raise MinialexError(
                f"{file}:{line}: inline assembly '{unknown}' has no twin in the emulator: "
                "write it in C++ under #ifdef MINIALEX_EMULATED"
            ) from None
        parts += [text[done:start], code, "\n" * text.count("\n", start, end)]
        done = end
    return "".join([*parts, text[done:]])


def _statements(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield where each statement begins, what is in its parentheses, and where it ends."""
    if not _ASM.search(text):
        return
    tokens = tokens_of(text)
    for i, token in enumerate(tokens):
        if not _ASM.fullmatch(token.text):
            continue
        while i + 2 < len(tokens) and tokens[i + 1].text in ("volatile", "__volatile__"):
            i += 1
        last = closing(tokens, i + 1) if tokens[i + 1].text == "(" else -1
        if 0 < last < len(tokens) - 1 and tokens[last + 1].text == ";":
            inner = text[tokens[i + 1].end : tokens[last].start]
            yield token.start, inner, tokens[last + 1].end


@dataclass(frozen=True)
class _Operand:
    """An operand of the statement: its type, its C++ expression, whether it is read and written."""

    ctype: str
    expression: str
    is_read: bool
    is_written: bool

    @classmethod
    def parsed(cls, text: str, *, output: bool) -> _Operand:
        found = _OPERAND.fullmatch(text)
        if found is None or (found[2] not in _CTYPES and found[2] not in "ni"):
            raise UnknownError(" ".join(text.split()))
        ctype = _CTYPES.get(found[2], "")
        return cls(ctype, found[3], not output or "+" in found[1], output)


class _Statement:
    """One ``asm`` statement."""

    def __init__(self, template: str, operands: Sequence[str]) -> None:
        self._template = _COMMENT.sub(" ", template)
        self._declared: set[str] = set()
        self._operands = [
            _Operand.parsed(part, output=number == 0)
            for number, section in enumerate(operands)
            for part in _split(section, ",")
            if part.strip()
        ]

    def code(self) -> str:
        """Return the C++ of the statement, on one line."""
        parts = [self._begin(i, o) for i, o in enumerate(self._operands)]
        parts += [self._translated(piece) for piece in _pieces(self._template)]
        parts += [
            f"emu::ptx::set({o.expression}, emu_r{i});"
            for i, o in enumerate(self._operands)
            if o.is_written
        ]
        return " ".join(["{", *" ".join(parts).split("\n"), "}"])

    def _begin(self, number: int, operand: _Operand) -> str:
        if not operand.ctype:
            return ""
        value = f"emu::ptx::as<{operand.ctype}>({operand.expression})" if operand.is_read else ""
        return f"{operand.ctype} emu_r{number}{{{value}}};"

    def _translated(self, piece: str) -> str:
        if piece in "{}":
            return piece
        if declared := _DECLARATION.fullmatch(piece):
            return self._registers(declared[1], declared[2], piece)
        found = _INSTRUCTION.fullmatch(piece)
        if found is None:
            raise UnknownError(piece)
        negated, predicate, opcode, operands = found.groups()
        code = statement(opcode, [self._operand(o, piece) for o in _split(operands, ",")], piece)
        if predicate is None:
            return code
        return f"if ({negated}{self._operand(predicate, piece).text}) {{ {code} }}"

    def _registers(self, kind: str, names: str, piece: str) -> str:
        if kind not in _REGISTERS:
            raise UnknownError(piece)
        every: list[str] = []
        for name in names.split(","):
            many = _REPEATED.fullmatch(name.strip())
            every += [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name.strip()]
        self._declared.update(every)
        return f"{_REGISTERS[kind]} {', '.join(f'{_local(name)}{{}}' for name in every)};"

    def _operand(self, text: str, piece: str) -> PtxOperand:
        text = text.strip()
        if text[:1] == "{" and text[-1:] == "}":
            return PtxOperand(text, tuple(self._operand(t, piece) for t in _split(text[1:-1], ",")))
        if text[:1] == "[" and text[-1:] == "]":
            base, plus, offset = text[1:-1].partition("+")
            address = self._operand(base, piece).text
            if plus:
                address = f"({address} + {self._operand(offset, piece).text})"
            return PtxOperand(address, is_address=True)
        if text[:1] == "!":
            return PtxOperand(f"(!{self._operand(text[1:], piece).text})")
        if re.fullmatch(r"%\d+", text):
            return self._numbered(int(text[1:]), piece)
        if number := re.fullmatch(r"0([fFdD])([0-9a-fA-F]+)", text):
            make = "__int_as_float" if number[1] in "fF" else "__longlong_as_double"
            return PtxOperand(f"{make}(0x{number[2]})")
        if re.fullmatch(r"-?(?:0x[0-9a-fA-F]+|\d+)U?|-?\d+\.\d*", text) or text in ("", "_"):
            return PtxOperand(text)
        if "|" in text:
            return PtxOperand(text, tuple(self._operand(t, piece) for t in text.split("|")))
        if text in SPECIAL:
            return PtxOperand(text, is_special=True)
        if text in self._declared:
            return PtxOperand(_local(text))
        raise UnknownError(piece)

    def _numbered(self, number: int, piece: str) -> PtxOperand:
        if number >= len(self._operands):
            raise UnknownError(piece)
        operand = self._operands[number]
        return PtxOperand(f"emu_r{number}" if operand.ctype else f"({operand.expression})")


def _local(name: str) -> str:
    return "emu_l_" + re.sub(r"\W", "_", name)


def _pieces(template: str) -> Iterator[str]:
    """Yield the instructions and declarations of a template, and the braces around them."""
    at, depth, start = 0, 0, 0
    while at < len(template):
        letter = template[at]
        if not template[start:at].strip() and letter in "{}":
            yield letter
            start = at + 1
        elif letter == ";" and not depth:
            if piece := " ".join(template[start:at].split()):
                yield piece
            start = at + 1
        else:
            depth += (letter in "{[(") - (letter in "}])")
        at += 1
    if piece := " ".join(template[start:].split()):
        yield piece


def _literals(text: str) -> str | None:
    """Return the string that adjacent literals make, None if there is anything else."""
    parts, at = [], 0
    while found := _LITERAL.match(text, at):
        parts.append(_ESCAPE.sub(lambda e: _ESCAPES.get(e[0], e[0]), found[1]))
        at = found.end()
    if not parts or text[at:].strip():
        return None
    # without operands nothing stands for a percent sign but itself
    return "".join(parts).replace("%%", "%")


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts between separators that stand outside of brackets and strings."""
    depth = start = at = 0
    while at < len(text):
        letter = text[at]
        if letter in "\"'":
            at = _end_of_quoted(text, at)
            continue
        depth += (letter in "([{") - (letter in ")]}")
        if letter == separator and not depth:
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def _end_of_quoted(text: str, at: int) -> int:
    end = at + 1
    while end < len(text) and text[end] != text[at]:
        end += 2 if text[end] == "\\" else 1
    return end + 1
