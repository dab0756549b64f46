"""The types and constants that a C++ text declares, as far as launches need them.

Like `declarations` this is no compiler: a type or constant that is not understood is not known.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minialex.cuda import scalars
from minialex.cuda.declarations import CppDeclaration
from minialex.cuda.layouts import Layout, Member, number, struct, vector
from minialex.cuda.tokens import Token, closing, closing_angle, parted, spelled, tokens_of

QUALIFIERS = frozenset(
    (
        *("const", "volatile", "__restrict__", "__restrict", "restrict", "__grid_constant__"),
        *("typename", "struct", "class", "union", "enum", "register", "mutable"),
    )
)
_VECTOR = re.compile(r"(u?(?:char|short|int|long|longlong)|float|double)([1234])")
_PAIRS = {
    **dict.fromkeys(("half2", "__half2", "nv_half2"), "__half"),
    **dict.fromkeys(("__nv_bfloat162", "nv_bfloat162"), "__nv_bfloat16"),
}
_CLASSES = ("struct", "class", "union")
_EMPTY = re.compile(r"(?:std::)?(?:(?:bool_constant|integral_constant)<.*>|(?:true|false)_type)")
_SUFFIX = re.compile(r"(?<=[0-9a-fA-F])[uUlL]+$")
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
Binding = Mapping[str, str]


class Types:
    """The types and constants that a text declares, on top of those of C++ and CUDA.

    Parameters
    ----------
    every : sequence of CppDeclaration
    namespace : tuple of str, optional
        Where a name is looked for first, and then in those around it.

    Attributes
    ----------
    unknown : str
        The last member of a struct that was not understood.
    """

    def __init__(self, every: Sequence[CppDeclaration], namespace: tuple[str, ...] = ()) -> None:
        self.unknown = ""
        self._namespace = namespace
        self._by_name: dict[str, list[CppDeclaration]] = {}
        self._within: list[tuple[Any, ...]] = []
        # template <> struct Name<float> {}, by its name with arguments
        self._special: dict[str, CppDeclaration] = {}
        for one in every:
            if one.kind == "class" and one.is_specialisation:
                at = next(i for i, t in enumerate(one.tokens) if t.text == one.names[0])
                self._special[spelled(one.tokens[at : closing_angle(one.tokens, at + 1) + 1])] = one
            elif one.kind in ("class", "type", "variable"):
                for name in one.names:
                    self._by_name.setdefault(name, []).append(one)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def is_scoped_enum(self, name: str) -> bool:
        """Return whether a name is that of an ``enum class``."""
        one = self._named(name)
        texts = [t.text for t in one.tokens[:2]] if one else []
        return texts[:1] == ["enum"] and texts[1:] in (["class"], ["struct"])

    def _named(self, name: str, qualifier: str = "") -> CppDeclaration | None:
        """Return what a name means: in the namespace that qualifies it, or the one that is nearest.

        Of those that are alike, one that defines it.
        """

        def rank(one: CppDeclaration) -> tuple[bool, int, bool]:
            spaces = one.namespace
            is_around = self._namespace[: len(spaces)] == spaces
            is_meant = qualifier in spaces if qualifier else is_around
            if qualifier == "::":
                is_meant = not spaces
            depth = len(spaces) if is_around else -1
            return is_meant, depth, one.kind != "class" or one.is_defined

        return max(self._by_name.get(name, ()), key=rank, default=None)

    def layout(self, ctype: str, binding: Binding | None = None) -> Layout | None:
        """Return how a type lies in memory, None where that is not known.

        Parameters
        ----------
        ctype : str
            As in the text: ``"unsigned int"``, ``"Pair<T>"``, ``"typename Vectors<T>::four"``.
        binding : dict of str to str, optional
            What template parameters stand for.
        """
        return self._layout(tokens_of(ctype), binding or {}, ())

    def number(self, text: str, binding: Binding | None = None) -> int | None:
        """Return the value of a constant expression of integers, None where it is not known."""
        return self._number(tokens_of(text), binding or {}, ())

    def _layout(
        self, tokens: Sequence[Token], binding: Binding, around: Sequence[CppDeclaration]
    ) -> Layout | None:
        tokens = [t for t in tokens if t.text not in QUALIFIERS]
        if len(tokens) == 1 and tokens[0].text in binding:
            return self._layout(tokens_of(binding[tokens[0].text]), {}, around)
        ctype = spelled(tokens)
        if scalars.is_known(known := scalars.canonical(ctype)):
            return number(known)
        if built_in := _built_in(ctype):
            return built_in
        path = _path(tokens)
        if not path:
            return None
        name, arguments = path[-1]
        inside = list(around)
        if len(path) > 1 and (outer := self._class(*path[-2], binding)) is not None:
            inside = [outer]
            binding = self._bound(outer, path[-2][1], binding)
        for cls in inside:
            found = next((m for m in cls.members if name in m.names), None)
            if found is not None:
                return self._declared(found, ctype, binding, inside)
        one = self._class(name, arguments, binding, _qualifier(tokens, path))
        if one is None:
            return None
        return self._declared(one, ctype, self._bound(one, arguments, binding), ())

    def _class(
        self, name: str, arguments: Sequence[Token], binding: Binding, qualifier: str = ""
    ) -> CppDeclaration | None:
        """Return the declaration of a name, of a specialised template the one that is meant."""
        given = [scalars.canonical(self._text(part, binding)) for part in parted(arguments)]
        special = self._special.get(spelled(tokens_of(f"{name}<{','.join(given)}>")))
        return special or self._named(name, qualifier)

    def _bound(
        self, one: CppDeclaration, arguments: Sequence[Token], binding: Binding
    ) -> dict[str, str]:
        """Return what the template parameters of a class stand for."""
        if one.tokens[0].text != "template" or one in self._special.values():
            return {}
        given = [self._text(part, binding) for part in parted(arguments)]
        bound: dict[str, str] = {}
        for i, parameter in enumerate(parted(one.tokens[2 : closing_angle(one.tokens, 1)])):
            texts = [t.text for t in parameter]
            equals = texts.index("=") if "=" in texts else len(texts)
            value = given[i] if i < len(given) else self._text(parameter[equals + 1 :], bound)
            bound[texts[equals - 1]] = value
        return bound

    def _text(self, tokens: Sequence[Token], binding: Binding) -> str:
        return " ".join(binding.get(t.text, t.text) for t in tokens)

    def _declared(
        self,
        one: CppDeclaration,
        ctype: str,
        binding: Binding,
        around: Sequence[CppDeclaration],
    ) -> Layout | None:
        key = id(one), *binding.items()
        if key in self._within:
            # typedef struct Unknown Unknown;
            return None
        self._within.append(key)
        try:
            return self._defined(one, ctype, binding, around)
        finally:
            self._within.pop()

    def _defined(
        self,
        one: CppDeclaration,
        ctype: str,
        binding: Binding,
        around: Sequence[CppDeclaration],
    ) -> Layout | None:
        texts = [t.text for t in one.tokens]
        start = closing_angle(one.tokens, 1) + 1 if texts[0] == "template" else 0
        if texts[start] == "using" and "=" in texts:
            return self._layout(one.tokens[texts.index("=") + 1 : -1], binding, around)
        brace = texts.index("{") if "{" in texts else -1
        if brace < 0:
            if texts[start] != "typedef" or {"*", "[", "("} & set(texts):
                return None
            return self._layout(parted(one.tokens[start + 1 : -1])[0][:-1], binding, around)
        head = texts[start:brace]
        if "enum" in head:
            of = one.tokens[start + head.index(":") + 1 : brace] if ":" in head else ()
            return self._layout(of, binding, around) if of else number("int")
        if "struct" in head or "class" in head:
            return self._struct(one, ctype, one.tokens[start:brace], binding, around)
        return None

    def _struct(
        self,
        one: CppDeclaration,
        ctype: str,
        head: Sequence[Token],
        binding: Binding,
        around: Sequence[CppDeclaration],
    ) -> Layout | None:
        around = [one, *around]
        members: list[Member] = []
        texts = [t.text for t in head]
        if ":" in texts:
            for base in parted(head[texts.index(":") + 1 :]):
                named = [t for t in base if t.text not in ("public", "private", "protected")]
                below = self._layout(named, binding, around[1:])
                if below is None:
                    return None
                members += below.members
        if any(t.text.strip("_") == "packed" for t in one.tokens):
            return None
        for declaration in one.members:
            if declaration.head & {"static", "constexpr"}:
                continue
            found: list[Member] | None = [] if _takes_no_room(declaration) else None
            if declaration.kind == "variable":
                found = self._variables(declaration, binding, around)
            if found is None:
                self.unknown = spelled(declaration.tokens)
                return None
            members += found
        return struct(ctype, members, self._alignment(head, binding))

    def _variables(
        self, one: CppDeclaration, binding: Binding, around: Sequence[CppDeclaration]
    ) -> list[Member] | None:
        """Return the members that ``T a[4], b = 0;`` declares."""
        parts = [_before_value(part) for part in parted(one.tokens[:-1])]
        ends = [[*(t.text for t in part), "["].index("[") for part in parts]
        outside = {t.text for part, end in zip(parts, ends, strict=True) for t in part[:end]}
        if {"*", "&", ":", "(", "alignas", "__align__"} & outside:
            return None
        first, *others = parts
        at = ends[0] - 1
        layout = self._layout(first[:at], binding, around)
        if layout is None:
            return None
        found = []
        for declarator in (first[at:], *others):
            extents = [self._number(inner, binding, around) for inner in _brackets(declarator[1:])]
            shape = tuple(n for n in extents if n is not None)
            if len(shape) < len(extents):
                return None
            found.append(Member(declarator[0].text, layout, shape))
        return found

    def _alignment(self, head: Sequence[Token], binding: Binding) -> int:
        for i, token in enumerate(head):
            if token.text in ("__align__", "alignas", "aligned"):
                inner = head[i + 2 : closing(head, i + 1)]
                return self._number(inner, binding, ()) or 1
        return 1

    def _number(
        self, tokens: Sequence[Token], binding: Binding, around: Sequence[CppDeclaration]
    ) -> int | None:
        words: list[str] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.kind == "number":
                words.append(_SUFFIX.sub("", token.text.replace("'", "")))
            elif token.text == "sizeof" and i + 1 < len(tokens):
                end = closing(tokens, i + 1)
                layout = self._layout(tokens[i + 2 : end], binding, around)
                words.append(str(layout.dtype.itemsize) if layout else "?")
                i = end
            elif token.kind == "name":
                while i + 2 < len(tokens) and tokens[i + 1].text == "::":
                    i += 2
                words.append(str(self._constant(tokens[i].text, binding, around)))
            else:
                words.append("//" if token.text == "/" else token.text)
            i += 1
        try:
            # neighbours such as < < are one sign
            return _evaluated(ast.parse("".join(words), mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError):
            return None

    def _constant(
        self, name: str, binding: Binding, around: Sequence[CppDeclaration]
    ) -> int | None:
        if name in binding:
            return self._number(tokens_of(binding[name]), {}, ())
        if name in ("true", "false"):
            return int(name == "true")
        inner = (m for cls in around for m in cls.members if name in m.names)
        one = next(inner, self._named(name))
        if one is None:
            return None
        if any(t.text == "enum" for t in one.tokens):
            return self._enumerator(one, name, binding)
        for part in parted(one.tokens[:-1]):
            texts = [t.text for t in part]
            if "=" in texts and texts[texts.index("=") - 1] == name:
                return self._number(part[texts.index("=") + 1 :], binding, ())
        return None

    def _enumerator(self, one: CppDeclaration, name: str, binding: Binding) -> int | None:
        brace = next(i for i, t in enumerate(one.tokens) if t.text == "{")
        value: int | None = -1
        for part in parted(one.tokens[brace + 1 : closing(one.tokens, brace)]):
            if len(part) > 2:
                value = self._number(part[2:], binding, ())
            elif value is not None:
                value += 1
            if part[0].text == name:
                return value
        return None


def _takes_no_room(one: CppDeclaration) -> bool:
    """Return whether a member of a class is none of its values."""
    texts = [t.text for t in one.tokens]
    if one.kind == "function":
        # void (*f)(int);
        return "virtual" not in one.head and "( *" not in " ".join(texts)
    if one.kind != "class" or "{" not in texts:
        return one.kind in ("type", "using", "other", "class")
    # struct { int a; } b;   union { int i; float f; };
    brace = texts.index("{")
    is_named = one.tokens[brace - 1].kind == "name" and texts[brace - 1] not in _CLASSES
    declares_none = texts[closing(one.tokens, brace) + 1 :] == [";"]
    return declares_none and (is_named or "enum" in texts[:brace])


def _built_in(ctype: str) -> Layout | None:
    if found := _VECTOR.fullmatch(ctype):
        unsigned = found[1][0] == "u"
        name = found[1].removeprefix("u").replace("longlong", "long long")
        # the numbers of char4 are signed
        of = "signed char" if found[1] == "char" else f"{'unsigned ' if unsigned else ''}{name}"
        return vector(ctype, of, int(found[2]))
    if _EMPTY.fullmatch(ctype):
        return struct(ctype, [])
    if ctype == "dim3":
        return vector(ctype, "unsigned int", 3)
    return vector(ctype, _PAIRS[ctype], 2) if ctype in _PAIRS else None


def _path(tokens: Sequence[Token]) -> list[tuple[str, Sequence[Token]]]:
    """Return the parts of ``space::Class<T>::name``, each with its template arguments."""
    found: list[tuple[str, Sequence[Token]]] = []
    i = 0
    while i < len(tokens):
        if tokens[i].kind == "name":
            arguments: Sequence[Token] = ()
            name = tokens[i].text
            if i + 1 < len(tokens) and tokens[i + 1].text == "<":
                end = closing_angle(tokens, i + 1)
                arguments, i = tokens[i + 2 : end], end
            found.append((name, arguments))
        elif tokens[i].text != "::":
            return []
        i += 1
    return found


def _qualifier(tokens: Sequence[Token], path: Sequence[tuple[str, Sequence[Token]]]) -> str:
    """Return the namespace that a name is qualified with, ``::`` for the global one."""
    if len(path) > 1:
        return path[-2][0]
    return "::" if tokens[0].text == "::" else ""


def _before_value(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return a declarator without its initialiser."""
    end = next((i for i, t in enumerate(tokens) if t.text in ("=", "{")), len(tokens))
    return tokens[:end]


def _brackets(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Return what stands in each pair of ``[3][4]``."""
    found, i = [], 0
    while i < len(tokens) and tokens[i].text == "[":
        end = closing(tokens, i)
        found.append(tokens[i + 1 : end])
        i = end + 1
    return found


def _evaluated(node: ast.AST) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return int(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _evaluated(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return int(_OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right)))
    raise ValueError("no constant expression")
