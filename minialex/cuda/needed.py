"""Which declarations of a C++ text a kernel needs.

Names are followed by their spelling, so that what is found to be needed may be more than is, and
never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minialex.cuda.declarations import CppDeclaration

# What in the head of an operator says nothing of its operands.
_PLAIN = frozenset(
    (
        *("operator", "__device__", "__host__", "__forceinline__"),
        *("inline", "static", "constexpr", "const"),
    )
)


def reached(
    all_of: Sequence[CppDeclaration], roots: Iterable[CppDeclaration]
) -> list[CppDeclaration]:
    """Return `roots` and the declarations that they need, in the order of the text.

    Of functions without a mark, those are meant that are called: others belong to the host,
    whatever they are named.
    """
    by_name: dict[str, list[CppDeclaration]] = {}
    for one in all_of:
        for name in one.names:
            by_name.setdefault(name, []).append(one)
    operators = [d for d in by_name.get("operator", []) if d.is_for_devices]
    found = {id(d): d for d in roots}
    waiting = list(found.values())
    seen: set[str] = set()

    def add(one: CppDeclaration) -> None:
        if id(one) not in found:
            found[id(one)] = one
            waiting.append(one)

    while waiting:
        one = waiting.pop()
        for word in one.mentions.keys() - {"operator"}:
            for other in by_name.get(word, ()):
                elsewhere = _is_elsewhere(other, by_name[word], one.mentions[word])
                if not elsewhere and _is_needed(other, by_name[word], word in one.calls):
                    add(other)
        new = one.words - seen
        seen |= new
        for operator in operators:
            if operator.head & new - _PLAIN:
                add(operator)
    return sorted(found.values(), key=lambda d: d.start)


def _is_elsewhere(
    one: CppDeclaration, alike: Sequence[CppDeclaration], qualifiers: set[str]
) -> bool:
    """Return whether a name, as it is qualified, means others in namespaces of those names."""
    named = {space for other in alike for space in other.namespace if space in qualifiers}
    return qualifiers <= named and not named & {*one.namespace}


def _is_needed(one: CppDeclaration, alike: Sequence[CppDeclaration], is_called: bool) -> bool:
    """Return whether a declaration is meant where its name is mentioned."""
    if one.is_kernel or one.kind == "other":
        return False
    if one.kind == "function":
        if one.is_for_devices:
            return True
        marked = any(d.kind == "function" and d.is_for_devices for d in alike)
        return is_called and "__host__" not in one.head and not marked
    if one.kind == "variable":
        return one.is_for_devices or bool(one.head & {"const", "__shared__", "texture", "surface"})
    return True
