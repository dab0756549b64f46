"""How messages word what many of them say: counts, lists, unknown names, names from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def counted(n: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: ``1 class``, ``1,200 classes``."""
    # an epoch ends in the sound of a k
    sibilant = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    ending = "es" if sibilant else "s"
    return f"{n:,} {noun}{ending * (n != 1)}"


def enumerated(names: Sequence[str], limit: int = 8) -> str:
    """Return `names` separated by commas; beyond `limit` only how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return that no `what` is called `name`, and what was meant: the nearest name, or all."""
    # here, and not above: it is slow to import, and only mistakes need it
    import difflib

    # it may come from a file
    name = name if len(name) <= 80 else f"{name[:77]}..."
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if near:
        return f"unknown {what} {name!r}: did you mean {near[0]!r}?"
    return f"unknown {what} {name!r}; known: {', '.join(names)}"


def one_line(text: str) -> str:
    r"""Return `text` with line breaks and other control characters written as ``\n``, ``\x1b``.

    They come from names of files and classes. A line break before two blanks stays: it begins a
    line of a message that has several.
    """
    control = r"\n(?!  )|[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    return re.sub(control, lambda found: repr(found[0])[1:-1], text)
