"""The words, numbers, strings and signs of a C++ text, and which brackets belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n\\]|\\.)*)
    |(?P<text>(?:u8|[uUL])?R"(?P<raw>[^()\s]*)\(.*?\)(?P=raw)"|(?:u8|[uUL])?"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+')
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|'(?=\w)|[\w.])*)
    |(?P<sign>::|->|<<<|>>>|\#\#|.)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
OPENING, CLOSING = "([{", ")]}"
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


@dataclass(frozen=True)
class Token:
    """One word, number, string or sign of a text, and where it begins and ends."""

    text: str
    kind: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of `text`, without blanks, comments and preprocessor's directives."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "raw" else "text"
        if match["blank"] is None:
            found.append(Token(match[0], kind or "sign", match.start(), match.end()))
    return found


def closing_angle(tokens: Sequence[Token], i: int) -> int:
    """Return where the bracket ``<`` at `i` is closed."""
    depth = 0
    while i < len(tokens):
        text = tokens[i].text
        if text in ("(", "[", "{"):
            i = closing(tokens, i)
        elif text == "<":
            depth += 1
        elif text in (">", ">>>"):
            depth -= len(text)
            if depth <= 0:
                return i
        i += 1
    return len(tokens) - 1


def closing(tokens: Sequence[Token], i: int) -> int:
    """Return where the bracket at `i` is closed, whichever kind it is."""
    depth = 0
    for j in range(i, len(tokens)):
        depth += (tokens[j].text in OPENING) - (tokens[j].text in CLOSING)
        if depth == 0:
            return j
    return len(tokens) - 1


def partners(tokens: Sequence[Token]) -> dict[int, int]:
    """Return where each bracket is closed."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for i, token in enumerate(tokens):
        if token.text in OPENING and token.kind == "sign":
            opened.append(i)
        elif token.text in CLOSING and token.kind == "sign" and opened:
            found[opened.pop()] = i
    return found


def parted(tokens: Sequence[Token], sign: str = ",") -> list[Sequence[Token]]:
    """Split tokens at the signs that stand outside all brackets; empty parts are left out."""
    parts, first, i = [], 0, 0
    while i < len(tokens):
        text = tokens[i].text
        if text == sign:
            parts.append(tokens[first:i])
            first = i + 1
        elif text in OPENING:
            i = closing(tokens, i)
        elif text == "<" and tokens[end := closing_angle(tokens, i)].text[0] == ">":
            # and no comparison
            i = end
        i += 1
    return [part for part in (*parts, tokens[first:]) if part]


def spelled(tokens: Sequence[Token]) -> str:
    """Return the text of tokens, with blanks between words only."""
    parts: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        are_words = before is not None and before.kind == token.kind == "name"
        parts += [" ", token.text] if are_words else [token.text]
    return "".join(parts)


def split(text: str) -> list[str]:
    """Split `text` at the commas that stand outside all brackets."""
    return [text[part[0].start : part[-1].end] for part in parted(tokens_of(text))]


def without_comments(text: str) -> str:
    """Return `text` with comments blanked out, every line where it was."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] == '"' else blanked(found[0])

    return _COMMENT.sub(blank, text)


def blanked(text: str) -> str:
    """Return blanks in the place of `text`, on as many lines."""
    return re.sub(r"[^\n]", " ", text)
