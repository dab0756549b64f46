"""Where one token of a kernel file can be changed so that it may mean something else.

No grammar is asked: what does not compile is drawn anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from minialex.cuda.tokens import Token, partners, tokens_of
from tests.campaigns.mutant import Mutant

OPERATORS = {
    "+": ("-",), "-": ("+",), "*": ("/", "+"), "/": ("*",), "%": ("/",), "&": ("|",), "|": ("&",),
    "^": ("&",), "<<": (">>",), ">>": ("<<",), "&&": ("||",), "||": ("&&",),
    "<": ("<=", ">"), ">": (">=", "<"), "<=": ("<", ">="), ">=": (">", "<="),
    "==": ("!=",), "!=": ("==",), "+=": ("-=", "="), "-=": ("+=", "="), "*=": ("/=", "="),
    "/=": ("*=", "="), "^=": ("=",), "++": ("--",),
}  # fmt: skip
WORDS = {
    "x": ("y",), "y": ("x",), "true": ("false",), "false": ("true",), "max": ("min",),
    "min": ("max",), "fmax": ("fmin",), "exp": ("log",), "log": ("exp",),
}  # fmt: skip
NO_TYPES = "return", "else", "case", "goto", "delete", "new", "throw", "operator", "typename"
BEFORE_STATEMENTS = ";", "{", "}"
_NUMBER = re.compile(r"(\d+|0[xX][\da-fA-F]+)([uUlL]*)|(\d*\.\d*(?:[eE][+-]?\d+)?)([fF]?)")
_DECLARED_BEFORE = "=", ",", ";", ")", "[", ":", "{"


def mutants_of(name: str, text: str) -> list[Mutant]:
    """Return every mutant of a kernel file, in order of places."""
    tokens = joined(tokens_of(text))
    found = [
        (tokens[i].start, tokens[i].end, new)
        for i in range(len(tokens))
        for new in dict.fromkeys(_others(tokens, i))
    ]
    found += [(first, last, other) for first, last, other in _names(tokens)]
    found += [(first, last, ";") for first, last in _statements(tokens)]
    return [
        Mutant(name, text.count("\n", 0, first) + 1, _bytes(text, first), _bytes(text, last), new)
        for first, last, new in sorted(set(found))
    ]


def joined(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with signs that make one operator in one."""
    found: list[Token] = []
    for token in tokens:
        both = (found[-1].text if found else "") + token.text
        if both in OPERATORS and len(both) == 2 and found[-1].end == token.start:
            found[-1] = Token(both, "sign", found[-1].start, token.end)
        else:
            found.append(token)
    return found


def _bytes(text: str, place: int) -> int:
    return len(text[:place].encode())


def _others(tokens: Sequence[Token], i: int) -> Iterator[str]:
    token = tokens[i]
    if token.kind == "number":
        yield from _numbers(token.text)
    elif token.kind == "name":
        # x and y of threads and blocks, functions and truths
        if len(token.text) > 1 or (i and tokens[i - 1].text == "."):
            yield from WORDS.get(token.text, ())
    elif _is_between_blanks(tokens, i) or token.text == "++":
        yield from OPERATORS.get(token.text, ())
    elif token.text in ("-", "!") and tokens[i + 1].start == token.end:
        yield ""


def _is_between_blanks(tokens: Sequence[Token], i: int) -> bool:
    """Return whether a sign is written as an operator of two is, and no pointer or template."""
    return 0 < i < len(tokens) - 1 and (
        tokens[i - 1].end < tokens[i].start and tokens[i].end < tokens[i + 1].start
    )


def _numbers(text: str) -> Iterator[str]:
    found = _NUMBER.fullmatch(text)
    if found and found[1]:
        n = int(found[1], 0 if found[1][:2] in ("0x", "0X") else 10)
        yield from (f"{m}{found[2]}" for m in (n + 1, n - 1, 0, 2 * n) if m >= 0 and m != n)
    elif found:
        n = float(found[3])
        yield from (f"{m}{found[4]}" for m in (n + 1, 0.0, 2 * n) if m != n)


def _names(tokens: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    """Yield where a name of a function stands, and another that is declared with the same type."""
    for first, last in _functions(tokens):
        kinds: dict[str, str] = {}
        for i in range(first + 1, last):
            kind = _declared_kind(tokens, i)
            if kind:
                kinds.setdefault(tokens[i].text, kind)
        for i in range(first + 1, last):
            token = tokens[i]
            if token.text in kinds and not _declared_kind(tokens, i):
                for other, kind in kinds.items():
                    if other != token.text and kind == kinds[token.text]:
                        yield token.start, token.end, other


def _functions(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Yield where each function, or other piece outside all braces, begins and ends."""
    ends, first, i = partners(tokens), 0, 0
    while i < len(tokens):
        if tokens[i].text == "{" and tokens[i].kind == "sign":
            last = ends.get(i, len(tokens) - 1)
            yield first, last
            i = first = last
        elif tokens[i].text == ";":
            first = i
        i += 1


def _declared_kind(tokens: Sequence[Token], i: int) -> str:
    """Return the type that the name at `i` is declared with there; "" where it is not declared."""
    if tokens[i].kind != "name" or i + 1 >= len(tokens) or i < 1:
        return ""
    before, after = tokens[i - 1], tokens[i + 1]
    if after.text not in _DECLARED_BEFORE or before.end == tokens[i].start:
        return ""
    if before.kind == "name" and before.text not in NO_TYPES:
        return before.text
    is_pointer = before.text in ("*", "&") and before.start == tokens[i - 2].end
    return tokens[i - 2].text + before.text if is_pointer else ""


def _statements(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Yield where statements are that may be left out: calls, and what is stored or added."""
    for i in range(1, len(tokens) - 1):
        before, token, after = tokens[i - 1 : i + 2]
        if before.text not in BEFORE_STATEMENTS or token.kind != "name" or after.kind == "name":
            continue
        texts = [t.text for t in tokens[i : i + 60]]
        if ";" not in texts or "{" in texts[: texts.index(";")]:
            continue
        end = i + texts.index(";")
        is_change = {"=", "+=", "-=", "*=", "/=", "^="} & set(texts[: texts.index(";")])
        if (after.text == "(" or is_change) and token.text not in ("if", "for", "while", "return"):
            yield token.start, tokens[end].end
