"""Which variables at file scope a CUDA text declares for the device.

They are marked ``__device__``, ``__constant__`` or ``__managed__``. Constants of the compiler's
(``constexpr``) have no memory, and what is declared ``extern`` has none here: neither is among
them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from minialex.cuda.cpp_types import Types
from minialex.cuda.declarations import CppDeclaration, declarations
from minialex.cuda.layouts import Layout
from minialex.cuda.tokens import Token, closing, closing_angle, parted

_MARKS = frozenset(("__device__", "__constant__", "__managed__"))
_SPECIFIERS = _MARKS | {"static", "inline", "volatile", "const"}
_ATTRIBUTES = frozenset(("__align__", "__attribute__", "alignas"))


@dataclass(frozen=True)
class DeviceVariable:
    """One variable.

    Attributes
    ----------
    number : int
        Its place among those of the text.
    name : str
        With the namespaces that have a name.
    ctype : str
        The type of an element, as the text spells it; empty for a class without a name elsewhere.
    layout : Layout or None
        How an element lies in memory, where the text says so.
    axes : int
        How many sizes in brackets follow the name.
    is_constant : bool
        Whether it is a ``__constant__``, which kernels only read.
    is_fixed : bool
        Whether it is ``const``, so that its value is that of the text.
    is_initialised : bool
    is_extern : bool
        Whether the text declares it as ``extern`` too.
    head : sequence of Token
        What stands before the first name of the declaration.
    declarator : sequence of Token
        The name with its sizes and value.
    """

    number: int
    name: str
    ctype: str
    layout: Layout | None
    axes: int
    is_constant: bool
    is_fixed: bool
    is_initialised: bool
    is_extern: bool
    declaration: CppDeclaration = field(repr=False)
    head: Sequence[Token] = field(repr=False)
    declarator: Sequence[Token] = field(repr=False)

    @property
    def bare(self) -> str:
        """The name without namespaces."""
        return self.declarator[0].text

    @property
    def is_pointer(self) -> bool:
        """Whether it points to something, as far as its declaration says."""
        return self.ctype.endswith("*")

    @property
    def kind(self) -> str:
        """What the text calls it: ``"__constant__"`` and so on."""
        words = {token.text for token in self.head}
        return next(m for m in ("__constant__", "__managed__", "__device__") if m in words)

    @property
    def numbers(self) -> tuple[str, int] | None:
        """The C type of its numbers, and how many make a vector; None for other types."""
        names = "".join(m.name for m in self.layout.members) if self.layout else ""
        return self.layout.uniform if self.layout and "xyzw".startswith(names) else None


@functools.lru_cache(maxsize=64)
def device_variables(text: str) -> tuple[DeviceVariable, ...]:
    """Return the variables that `text` declares, in its order."""
    found: list[DeviceVariable] = []
    every = declarations(text)
    types = Types(every)
    marked = [
        one
        for one in every
        if one.kind in ("variable", "class")
        and one.head & _MARKS
        and one.tokens[0].text != "template"
    ]
    extern = {name for one in marked if "extern" in one.head for name in one.names}
    for one in marked:
        if not one.head & {"constexpr", "extern"}:
            found += _declared(one, len(found), extern, types)
    return tuple(found)


def is_attribute(token: Token) -> bool:
    """Return whether `token` begins an attribute, whose parenthesis follows."""
    return token.text in _ATTRIBUTES


def type_of(head: Sequence[Token]) -> list[str]:
    """Return the words of the type in the head of a declaration."""
    words, i = [], 0
    while i < len(head):
        if is_attribute(head[i]):
            i = closing(head, i + 1)
        elif head[i].text not in _SPECIFIERS:
            words.append(head[i].text)
        i += 1
    return words


def _declared(
    one: CppDeclaration, first: int, extern: set[str], types: Types
) -> list[DeviceVariable]:
    tokens = one.tokens[:-1]
    # struct { float x, y; } a, b;
    after = closing(tokens, one.body) + 1 if one.is_defined else 0
    parts = parted(tokens[after:])
    names = [_name(part) for part in parts]
    head = tokens[: one.body] if one.is_defined else parts[0][: names[0]]
    words = [t.text for t in head]
    marks = _MARKS.intersection(words)
    ctype = "" if one.is_defined else " ".join(type_of(head))
    layout = types.layout(ctype) if ctype and "*" not in words else None
    # `const float* p` points to what is const, and is not so itself
    behind = words[len(words) - words[::-1].index("*") :] if "*" in words else words
    return [
        DeviceVariable(
            first + i,
            "::".join([*filter(None, one.namespace), part[at].text]),
            ctype if at == 0 or i == 0 else ctype + " *",
            layout if at == 0 or i == 0 else None,
            sum(t.text == "[" for t in _sizes(part[at + 1 :])),
            "__constant__" in marks,
            "const" in behind,
            any(t.text in ("=", "{") for t in part),
            part[at].text in extern,
            one,
            head,
            part[at:],
        )
        for i, (part, at) in enumerate(zip(parts, names, strict=True))
    ]


def _name(part: Sequence[Token]) -> int:
    """Return where in a declarator its name stands: the last word before sizes and value."""
    at, i = 0, 0
    while i < len(part) and part[i].text not in ("[", "=", "{"):
        if part[i].text == "<":
            i = closing_angle(part, i)
        elif is_attribute(part[i]):
            i = closing(part, i + 1)
        elif part[i].text == "(":
            i = closing(part, i)
        elif part[i].kind == "name":
            at = i
        i += 1
    return at


def _sizes(tokens: Sequence[Token]) -> list[Token]:
    """Return the brackets that directly follow a name, without what is in them."""
    found, i = [], 0
    while i < len(tokens) and tokens[i].text == "[":
        found.append(tokens[i])
        i = closing(tokens, i) + 1
    return found
