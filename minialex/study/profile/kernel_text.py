"""The functions of a kernel's text that given lines belong to, each whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*',
    re.DOTALL | re.MULTILINE,
)
_TRANSPARENT = re.compile(r"(?:namespace[\w\s:]*|extern\s*)$")


@dataclass(frozen=True)
class TextPart:
    """Consecutive lines of a file: a function, a struct, with the comment above it.

    Attributes
    ----------
    first : int
        The number of the first line.
    """

    file: str
    first: int
    lines: tuple[str, ...]


def parts_of(
    files: Mapping[str, str], lines: Iterable[tuple[str, int]], kernel: str
) -> list[TextPart]:
    """Return the definition of `kernel`, and then those that hold `lines`, file by file.

    Parameters
    ----------
    files : dict of str to str
        The text of each file by its name.
    lines : iterable of (str, int)
        Files and line numbers, from 1; those of other files are left out.
    kernel : str
        The name of a ``__global__`` function.
    """
    wanted = sorted({(file, line) for file, line in lines if file in files})
    head = re.compile(rf"__global__[^;{{}}]*\b{re.escape(kernel)}\s*\(")
    main: list[TextPart] = []
    others: list[TextPart] = []
    for file, text in files.items():
        numbers = [line for name, line in wanted if name == file]
        plain = _BLANKED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
        for first, last in definitions(text):
            body = "\n".join(plain.splitlines()[first - 1 : last])
            part = TextPart(file, first, tuple(text.splitlines()[first - 1 : last]))
            if head.search(body):
                main.append(part)
            elif any(first <= line <= last for line in numbers):
                others.append(part)
    return main + others


def definitions(text: str) -> list[tuple[int, int]]:
    """Return the first and last line of each definition at the top level of a file.

    A function, struct or variable with the ``//`` comment directly above it. What stands in a
    namespace counts as if it stood outside.
    """
    plain = _BLANKED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    found, depth, begin, transparent = [], 0, 0, 0
    for mark in re.finditer(r"[{};]", plain):
        at, character = mark.start(), mark[0]
        if character == "{":
            if depth == 0 and _TRANSPARENT.search(plain[begin:at]):
                transparent, begin = transparent + 1, at + 1
                continue
            depth += 1
        elif character == "}" and depth == 0 and transparent:
            transparent, begin = transparent - 1, at + 1
        elif character == "}":
            depth -= 1
        if depth == 0 and character in "};":
            # the semicolon after a struct is no definition of its own
            if plain[begin : at + 1].strip("}; \n\t"):
                found.append((begin, at))
            begin = at + 1
    return _with_comments(text, plain, found)


def _with_comments(
    text: str, plain: str, spans: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    lines = text.splitlines()
    out = []
    for begin, end in spans:
        start = begin + len(plain[begin:]) - len(plain[begin:].lstrip())
        first, last = text.count("\n", 0, start) + 1, text.count("\n", 0, end) + 1
        while first > 1 and lines[first - 2].lstrip().startswith("//"):
            first -= 1
        out.append((first, last))
    return out
