"""The signature of each kernel, read from the ``.cu`` text, which alone declares it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from minialex.cuda import scalars
from minialex.cuda.source import Source
from minialex.errors import MinialexError

_BOUNDS = r"(?:__launch_bounds__\s*\((?P<{}>(?:[^()]|\([^()]*\))*)\)\s*)?"
_KERNEL = re.compile(
    r"(?:template\s*<(?P<template>[^{};]*?)>\s*)?"
    r'(?:extern\s*"C"\s*)?(?:static\s+|inline\s+)*__global__\s+(?:static\s+|inline\s+)*'
    + _BOUNDS.format("before")
    + r"void\s+"
    + _BOUNDS.format("after")
    + r"(?P<name>\w+)\s*\((?P<parameters>(?:[^()]|\([^()]*\))*)\)\s*(?P<end>[{;])"
)
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_QUALIFIERS = re.compile(r"\b(?:const|volatile|__restrict__|__restrict)\b")
_PARAMETER = re.compile(r"(?P<type>[\w:<>, ]*?[\w>])\s*(?P<stars>[\s*]*)\b(?P<name>\w+)")
_INSTANCES = re.compile(r"^instances:[ \t]*(.*?)$", re.MULTILINE)
# A struct, its member functions' bodies up to two braces deep.
_STRUCT = re.compile(r"\bstruct\s+(?P<name>\w+)\s*{(?P<body>(?:[^{}]|{(?:[^{}]|{[^{}]*})*})*)}\s*;")
_MEMBERS = re.compile(r"(?P<type>[\w ]*?\w)\s+(?P<names>\w+(?:\s*,\s*\w+)*)")
FLOATING = ("float", "double")
Structs = dict[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class KernelParameter:
    """One parameter of a kernel: ``const T* __restrict__ x``, ``const int n`` or ``const Shape s``.

    Attributes
    ----------
    fields : tuple of (str, str)
        Of a struct that is passed by value, each member and its C type, in the order of the text.
    """

    name: str
    ctype: str
    pointer: bool = False
    const: bool = False
    restrict: bool = False
    fields: tuple[tuple[str, str], ...] = ()

    def rules_out(self, other: KernelParameter) -> bool:
        """Return whether ``__restrict__`` says that this array and another do not overlap."""
        return (self.restrict or other.restrict) and not (self.const and other.const)


@dataclass(frozen=True)
class TemplateParameter:
    """One template parameter: ``typename T`` or ``int TILE = 16``."""

    name: str
    kind: str
    default: str | None = None

    @property
    def is_type(self) -> bool:
        """Whether it stands for a type, not for a number."""
        return self.kind in ("typename", "class")


@dataclass(frozen=True)
class Signature:
    """One ``__global__`` function, as its text declares it.

    Attributes
    ----------
    instances : tuple of (str, tuple of str)
        The values that template parameters are declared to take, from the comment
        ``// instances: TILE = 16, 32`` above the kernel; float and double for types without one.
    launch_bound : str
        The most threads a block may have, as ``__launch_bounds__`` says it; empty without one.
    line : int
        Where it stands in its file.
    comment : str
        The comment lines directly above it, without their slashes.
    """

    file: str
    name: str
    parameters: tuple[KernelParameter, ...]
    template: tuple[TemplateParameter, ...]
    instances: tuple[tuple[str, tuple[str, ...]], ...]
    launch_bound: str
    line: int
    comment: str

    def expression(self, binding: Mapping[str, str]) -> str:
        """Return the kernel with its template arguments: ``relu_forward<float>``."""
        if not self.template:
            return self.name
        return f"{self.name}<{', '.join(binding[p.name] for p in self.template)}>"

    def allows(self, binding: Mapping[str, str]) -> bool:
        """Return whether every value in `binding` is among the declared instances."""
        declared = dict(self.instances)
        return all(binding.get(name) in values for name, values in declared.items())

    def declared_bindings(self) -> list[dict[str, str]]:
        """Return every combination of template arguments that the text declares.

        Raises
        ------
        MinialexError
            If a numeric parameter has neither a default nor an ``// instances:`` line.
        """
        bindings: list[dict[str, str]] = [{}]
        declared = dict(self.instances)
        for p in self.template:
            values = declared.get(p.name) or ((p.default,) if p.default is not None else ())
            if not values:
                raise MinialexError(
                    f"{self.file}:{self.line}: {self.name} does not say which values "
                    f"{p.name} takes: add a line '// instances: {p.name} = ...' above it"
                )
            bindings = [{**b, p.name: value} for b in bindings for value in values]
        return bindings


@functools.cache
def signatures(source: Source) -> dict[str, Signature]:
    """Return every kernel that `source` itself defines, by name, in the order of the text.

    Raises
    ------
    MinialexError
        If a parameter has a type that cannot be passed, or is written in a way not understood.
    """
    text = without_comments(source.own)
    structs = _structs(without_comments(source.text))
    found: dict[str, Signature] = {}
    for match in _KERNEL.finditer(text):
        if match["end"] == "{":
            signature = _signature(source, match, structs)
            found[signature.name] = signature
    return found


def without_comments(text: str) -> str:
    """Return `text` with comments blanked out, every line where it was."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] == '"' else re.sub(r"[^\n]", " ", found[0])

    return _COMMENT.sub(blank, text)


def split(text: str) -> list[str]:
    """Split `text` at the commas that stand outside all brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "(<[{") - (letter in ")>]}")
        if letter == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _structs(text: str) -> Structs:
    """Return the structs of `text` that hold nothing but numbers, with their members."""
    found: Structs = {}
    for match in _STRUCT.finditer(text):
        # what stands outside the bodies of member functions
        flat = re.sub(r"{[^{}]*}", ";", re.sub(r"{[^{}]*}", ";", match["body"]))
        pieces = (p.strip() for p in flat.split(";") if "(" not in p)
        members = [_MEMBERS.fullmatch(p) for p in pieces if p and not p.startswith("static ")]
        fields = tuple(
            (name, scalars.canonical(m["type"])) for m in members if m for name in split(m["names"])
        )
        if None not in members and all(scalars.is_known(ctype) for _, ctype in fields):
            found[match["name"]] = fields
    return found


def _signature(source: Source, match: re.Match[str], structs: Structs) -> Signature:
    line = source.own.count("\n", 0, match.start("name")) + 1
    where = f"{source.file}:{line}: {match['name']}"
    template = tuple(_template_parameter(p, where) for p in split(match["template"] or ""))
    types = {p.name for p in template if p.is_type}
    bounds = split(match["before"] or match["after"] or "")
    comment = _comment_above(source.own, match.start())
    return Signature(
        source.file,
        match["name"],
        tuple(_parameter(p, types, structs, where) for p in split(match["parameters"])),
        template,
        _instances(comment, template, where),
        bounds[0] if bounds else "",
        line,
        comment,
    )


def _template_parameter(text: str, where: str) -> TemplateParameter:
    found = re.fullmatch(r"(?P<kind>[\w ]+?)\s+(?P<name>\w+)\s*(?:=\s*(?P<default>.+))?", text)
    if found is None:
        raise MinialexError(f"{where}: template parameter {text!r} is not of the form 'int NAME'")
    return TemplateParameter(found["name"], found["kind"], found["default"])


def _parameter(text: str, types: set[str], structs: Structs, where: str) -> KernelParameter:
    found = _PARAMETER.fullmatch(_QUALIFIERS.sub(" ", text).strip())
    if found is None or found["stars"].count("*") > 1:
        raise MinialexError(
            f"{where}: parameter {text!r} is not of the form 'const T* x' or 'int n'"
        )
    ctype, pointer = scalars.canonical(found["type"]), "*" in found["stars"]
    fields = () if pointer else structs.get(ctype, ())
    known = ctype in types or scalars.is_known(ctype) or (pointer and ctype == "void")
    if not (known or fields):
        raise MinialexError(
            f"{where}: parameter {found['name']} has type {ctype!r}, which cannot be passed: "
            "use a template type, int, long long, size_t, float, double, bool, or a struct of these"
        )
    # In `const float* x` the elements are constant, in `float* const x` only the pointer is.
    const = "const" in (text.split("*")[0] if pointer else text).split()
    return KernelParameter(found["name"], ctype, pointer, const, "__restrict" in text, fields)


def _comment_above(text: str, start: int) -> str:
    """Return the comment that ends at `start`."""
    found = re.search(r"(?:^[ \t]*//[^\n]*\n)*\s*\Z", text[:start], re.MULTILINE)
    return "\n".join(
        re.findall(r"^[ \t]*// ?(.*?)[ \t]*$", found[0] if found else "", re.MULTILINE)
    )


def _instances(
    comment: str, template: tuple[TemplateParameter, ...], where: str
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read the ``instances:`` lines of a comment."""
    types = (p.name for p in template if p.is_type and p.default is None)
    declared: dict[str, tuple[str, ...]] = dict.fromkeys(types, FLOATING)
    for line in _INSTANCES.findall(comment):
        for entry in line.split(";"):
            name, _, values = (part.strip() for part in entry.partition("="))
            if name not in {p.name for p in template} or not values:
                raise MinialexError(f"{where}: '// instances: {entry.strip()}' names no parameter")
            declared[name] = tuple(scalars.canonical(v) for v in split(values))
    return tuple(declared.items())
