"""Finds which array a subscript in a kernel's text is of, from where a compiler says that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minialex.cuda.tokens import Token, partners, tokens_of

_LINKS = (".", "->", "::")


def subscripted(line: str, column: int, rank: int) -> str:
    """Return what is subscripted, ``tile[i]`` of ``tile[i][33]``; empty where that is not found.

    Parameters
    ----------
    line : str
        The line of the text that it stands in.
    column : int
        From 1: of the bracket that closes the subscript, as g++ has it, or of where the whole
        expression begins, as clang has it.
    rank : int
        How many subscripts an element of the array takes.
    """
    tokens = tokens_of(line)
    at = next((i for i, token in enumerate(tokens) if token.start == column - 1), None)
    if at is None:
        return ""
    pairs = partners(tokens)
    if tokens[at].text == "]":
        opened = {end: begin for begin, end in pairs.items()}
        end = opened.get(at, 0)
        begin = _begin(tokens, end, opened)
    else:
        begin, end = at, _end(tokens, at, pairs, rank)
    return line[tokens[begin].start : tokens[end - 1].end] if begin < end else ""


def _begin(tokens: Sequence[Token], end: int, opened: Mapping[int, int]) -> int:
    """Return where the expression begins that ends before `end`."""
    i = end
    while i > 0:
        before = tokens[i - 1]
        if before.text == "]" and i - 1 in opened:
            i = opened[i - 1]
        elif before.kind == "name" or before.text == "this":
            i -= 1
            if i == 0 or tokens[i - 1].text not in _LINKS:
                return i
        elif before.text in _LINKS:
            i -= 1
        else:
            break
    return end


def _end(tokens: Sequence[Token], begin: int, pairs: Mapping[int, int], rank: int) -> int:
    """Return where the array ends whose last `rank` subscripts end the expression at `begin`."""
    i, subscripts = begin, []
    while i < len(tokens):
        if tokens[i].text == "[" and i in pairs:
            subscripts.append(i)
            i = pairs[i] + 1
        elif tokens[i].kind == "name" or tokens[i].text in _LINKS:
            subscripts.clear()
            i += 1
        else:
            break
    return subscripts[-rank] if 0 < rank <= len(subscripts) else begin
