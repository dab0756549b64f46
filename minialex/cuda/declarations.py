"""Reads which declarations a C++ text consists of.

This is no compiler: it knows brackets, keywords and names. Preprocessor's directives are taken for
blanks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from minialex.cuda.tokens import OPENING, Token, closing, closing_angle, partners, tokens_of

_CLASSES = frozenset(("struct", "class", "union", "enum"))
_ACCESS = frozenset(("public", "private", "protected"))
# What stands before a parenthesis in the head of a function without being its name.
_ATTRIBUTES = frozenset(
    (
        *("__launch_bounds__", "__align__", "__attribute__", "__declspec", "alignas", "decltype"),
        *("noexcept", "__cluster_dims__", "__maxnreg__", "explicit"),
    )
)


@dataclass(frozen=True)
class CppDeclaration:
    """One declaration outside of functions and classes, with its body.

    Attributes
    ----------
    kind : str
        ``"function"``, ``"class"`` (or struct, union, enum), ``"type"`` (typedef, using),
        ``"variable"``, ``"using"`` (a whole namespace) or ``"other"``.
    names : tuple of str
        What it declares, without the namespaces; of a member's definition, its class.
    namespace : tuple of str
        The namespaces that it stands in; an empty one is without a name.
    tokens : sequence of Token
    body : int
        Where among the tokens the brace of a body stands; their number where there is none.
    """

    kind: str
    names: tuple[str, ...]
    namespace: tuple[str, ...]
    tokens: Sequence[Token] = field(repr=False)
    body: int

    @property
    def start(self) -> int:
        """Where its text begins."""
        return self.tokens[0].start

    @functools.cached_property
    def head(self) -> frozenset[str]:
        """The words before the body, or before the value of a variable."""
        end = next((i for i, t in enumerate(self.tokens) if t.text == "="), self.body)
        stop = self.body if self.kind == "function" else min(end, self.body)
        return frozenset(t.text for t in self.tokens[:stop] if t.kind == "name")

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """All words that it mentions."""
        return frozenset(t.text for t in self.tokens if t.kind == "name")

    @functools.cached_property
    def calls(self) -> frozenset[str]:
        """The words that stand before a parenthesis or template arguments."""
        pairs = zip(self.tokens, self.tokens[1:], strict=False)
        return frozenset(t.text for t, after in pairs if t.kind == "name" and after.text in "(<")

    @functools.cached_property
    def mentions(self) -> dict[str, set[str]]:
        """The words that it mentions, each with what stands before its ``::``, perhaps nothing.

        A function's own name is among them if its body has it.
        """
        found: dict[str, set[str]] = {}
        for i, token in enumerate(self.tokens):
            is_own = self.kind == "function" and i < self.body and token.text in self.names
            if token.kind == "name" and not is_own:
                is_qualified = i > 1 and self.tokens[i - 1].text == "::"
                found.setdefault(token.text, set()).add(
                    self.tokens[i - 2].text if is_qualified else ""
                )
        return found

    @property
    def is_kernel(self) -> bool:
        """Whether it is a kernel, or declares one."""
        return self.kind == "function" and "__global__" in self.head

    @property
    def is_specialisation(self) -> bool:
        """Whether it begins with ``template <>``."""
        return [t.text for t in self.tokens[:3]] == ["template", "<", ">"]

    @property
    def is_defined(self) -> bool:
        """Whether it has a body."""
        return self.body < len(self.tokens)

    @property
    def is_for_devices(self) -> bool:
        """Whether its text says that a device has it."""
        marks = self.head & {"__device__", "__global__", "__constant__", "__managed__", "constexpr"}
        return bool(marks)

    @functools.cached_property
    def members(self) -> list[CppDeclaration]:
        """What a class, also one within a typedef, declares between its braces; no enumerators."""
        brace = next((i for i, t in enumerate(self.tokens) if t.text == "{"), len(self.tokens))
        if self.kind not in ("class", "type") or brace == len(self.tokens):
            return []
        inner = list(self.tokens[brace + 1 : closing(self.tokens, brace)])
        for i in reversed(range(len(inner) - 1)):
            if inner[i].text in _ACCESS and inner[i + 1].text == ":":
                del inner[i : i + 2]
        return _Reader(inner).scope(())

    @property
    def qualified(self) -> str:
        """Its first name with the namespaces that have one."""
        return "::".join([*filter(None, self.namespace), self.names[0]])


def declarations(text: str) -> list[CppDeclaration]:
    """Return the declarations of `text`, those within namespaces among them, in its order."""
    return _Reader(tokens_of(text)).scope(())


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._partner = partners(tokens)

    def scope(self, namespace: tuple[str, ...]) -> list[CppDeclaration]:
        """Read declarations up to the brace that ends a namespace, or to the end."""
        found: list[CppDeclaration] = []
        while self._at < len(self._tokens):
            word = self._tokens[self._at].text
            if word == "}":
                break
            if word == ";":
                self._at += 1
            elif (inner := self._opened()) is not None:
                found += self.scope((*namespace, *inner))
                self._at += 1  # its closing brace
            else:
                found.append(self._declaration(namespace))
        return found

    def _opened(self) -> tuple[str, ...] | None:
        """Go into a namespace, or into ``extern "C" {``; return its names, None if it is none."""
        words = [t.text for t in self._tokens[self._at : self._at + 16]]
        if words[:1] == ["extern"] and words[1:3] == ['"C"', "{"]:
            self._at += 3
            return ()
        first = 1 if words[:1] == ["inline"] else 0
        if words[first : first + 1] != ["namespace"] or "{" not in words:
            return None
        brace = words.index("{")
        if {"=", ";"} & set(words[:brace]):
            return None
        self._at += brace + 1
        names = [w for w in words[first + 1 : brace] if w[0].isalpha() or w[0] == "_"]
        return tuple(names) or ("",)

    def _declaration(self, namespace: tuple[str, ...]) -> CppDeclaration:
        """Read one declaration: up to its semicolon, or to the end of a function's body."""
        first = self._at
        i = self._after_template(first)
        start, called, equals, body = i, -1, False, -1
        is_class = False
        while i < len(self._tokens):
            token = self._tokens[i]
            if token.text == ";" or token.text == "}":
                break
            if token.text == "=" and not self._is_operator(i):
                # not of Name() = default
                equals = called < 0
            elif token.text in _CLASSES and called < 0:
                is_class = True
            elif token.text == "(":
                if called < 0 and not equals and self._names_function(i):
                    called = i
                i = self._partner.get(i, i)
            elif token.text == "[":
                i = self._partner.get(i, i)
            elif token.text == "{":
                body = i if body < 0 else body
                i = self._partner.get(i, len(self._tokens) - 1)
                if called >= 0 and not equals:
                    break
            i += 1
        last = min(i, len(self._tokens) - 1)
        # a brace that is not the body's own ends the namespace around
        foreign_brace = self._tokens[last].text == "}" and last != self._partner.get(body)
        self._at = max(last if foreign_brace else last + 1, first + 1)
        tokens = self._tokens[first : self._at]
        within = [t.text for t in self._tokens[start : last + 1]]
        kind = _kind(within, called >= 0 and not equals, is_class and (body >= 0 or called < 0))
        names = _names(
            kind, self._tokens[start:last], called - start, body - start if body >= 0 else -1
        )
        has_body = kind in ("function", "class") and body >= 0
        after = body - first if has_body else len(tokens)
        return CppDeclaration(kind, names, namespace, tokens, after)

    def _after_template(self, i: int) -> int:
        """Return where what follows ``template <...>``, once or more often, begins."""
        while i + 1 < len(self._tokens) and self._tokens[i].text == "template":
            if self._tokens[i + 1].text != "<":
                return i + 1
            i = closing_angle(self._tokens, i + 1) + 1
        return i

    def _is_operator(self, i: int) -> bool:
        """Whether the sign at `i` is a part of an operator's name, or of a comparison."""
        before = [t.text for t in self._tokens[max(i - 3, 0) : i]]
        return "operator" in before or before[-1:] in (["="], ["!"], ["<"], [">"])

    def _names_function(self, i: int) -> bool:
        """Whether the parenthesis at `i` follows the name of what is declared."""
        before = self._tokens[i - 1] if i else None
        if before is None:
            return False
        operator = any(t.text == "operator" for t in self._tokens[max(i - 4, 0) : i])
        # a specialisation's name ends with its arguments: f<float>(
        named = before.kind == "name" or before.text == ">"
        return operator or (named and before.text not in _ATTRIBUTES)


def _kind(words: Sequence[str], is_function: bool, is_class: bool) -> str:
    if words[:2] == ["using", "namespace"]:
        return "using"
    if words[:1] in (["typedef"], ["using"], ["namespace"]):
        return "type"
    if words[:1] in (["static_assert"], ["asm"], ["friend"]):
        return "other"
    if is_function:
        return "function"
    return "class" if is_class and not _mentions_class(words) else "variable"


def _mentions_class(words: Sequence[str]) -> bool:
    """Whether it is a variable of a class that is declared elsewhere: ``struct Pair p[2];``."""
    at = next(i for i, word in enumerate(words) if word in _CLASSES)
    rest = list(itertools.takewhile(lambda word: word not in (*"{[=,;:<",), words[at + 1 :]))
    names = [w for w in rest if (w[0].isalpha() or w[0] == "_") and w not in _CLASSES]
    attributes = _ATTRIBUTES | {"final"}
    return len([w for w in names if w not in attributes]) - rest.count("::") > 1


def _names(kind: str, tokens: Sequence[Token], called: int, body: int) -> tuple[str, ...]:
    """Return what a declaration of that kind declares."""
    if kind == "using":
        return ("::".join(t.text for t in tokens[2:] if t.kind == "name"),)
    if kind == "function":
        return (_function_name(tokens, called),)
    if kind == "class":
        return _class_names(tokens, body)
    if kind == "type":
        return _type_names(tokens, body)
    return tuple(_declared(tokens)) or ("",)


def _function_name(tokens: Sequence[Token], called: int) -> str:
    words = [t.text for t in tokens[:called]]
    if "operator" in words:
        words = words[: words.index("operator") + 1]
    words = _without_arguments(words)
    # a member, defined outside, belongs to its class
    if len(words) > 2 and words[-2] == "::":
        words = _without_arguments(words[:-2])
    return words[-1] if words else ""


def _without_arguments(words: list[str]) -> list[str]:
    """Return a name without the template arguments at its end."""
    end, depth = len(words), 0
    while end and (depth or words[end - 1] == ">"):
        depth += (words[end - 1] == ">") - (words[end - 1] == "<")
        end -= 1
    return words[:end]


def _class_names(tokens: Sequence[Token], body: int) -> tuple[str, ...]:
    words = [t.text for t in tokens]
    at = next(i for i, w in enumerate(words) if w in _CLASSES)
    names = []
    i = at + 1
    while i < len(words) and (words[i] in ("class", "struct") or words[i] in _ATTRIBUTES):
        if words[i] in _ATTRIBUTES and words[i + 1] == "(":
            i = closing(tokens, i + 1)
        i += 1
    if i < len(words) and tokens[i].kind == "name":
        names.append(words[i])
    if words[at] == "enum" and body >= 0:
        end = closing(tokens, body)
        names += _declared([*tokens[body + 1 : end]])
    if body >= 0:
        # struct { ... } a, b;
        names += _declared(tokens[closing(tokens, body) + 1 :])
    return tuple(names) or ("",)


def _type_names(tokens: Sequence[Token], body: int) -> tuple[str, ...]:
    words = [t.text for t in tokens]
    if words[0] in ("using", "namespace"):
        return (words[1] if "=" in words else words[-1],)
    names = []
    if body >= 0:
        # typedef enum { A, B } Name;   typedef struct tag { ... } Name;
        names += [n for n in _class_names(tokens[: closing(tokens, body) + 1], body) if n]
        tokens = tokens[closing(tokens, body) + 1 :]
    elif "(" in words:
        # typedef float (*Function)(float);
        inner = tokens[words.index("(") + 1 : closing(tokens, words.index("("))]
        pointed = [t.text for t in inner if t.kind == "name"]
        if pointed and any(t.text == "*" for t in inner):
            return (pointed[0],)
    return tuple(names + _declared(tokens)) or ("",)


def _declared(tokens: Sequence[Token]) -> list[str]:
    """Return the names of declarators, or of enumerators: ``T a[4], *b = c`` has a and b."""
    names, i, last, waiting = [], 0, "", True
    while i < len(tokens):
        token = tokens[i]
        if token.text == "<" and waiting:
            i = closing_angle(tokens, i)
        elif token.text in _ATTRIBUTES and waiting:
            i = closing(tokens, i + 1)
        elif token.text in OPENING or token.text == "=":
            if waiting and last:
                names.append(last)
                waiting = False
            if token.text in OPENING:
                i = closing(tokens, i)
        elif token.text == ",":
            if waiting and last:
                names.append(last)
            last, waiting = "", True
        elif token.kind == "name" and waiting:
            last = token.text
        i += 1
    if waiting and last:
        names.append(last)
    return names
