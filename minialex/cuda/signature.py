"""The signature of each kernel, read from the ``.cu`` text, which alone declares it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minialex.cuda import scalars
from minialex.cuda.cpp_types import QUALIFIERS, Types
from minialex.cuda.declarations import CppDeclaration, declarations
from minialex.cuda.foreign import outline, refusal
from minialex.cuda.layouts import Layout
from minialex.cuda.source import Source, place
from minialex.cuda.tokens import (
    Token,
    closing,
    closing_angle,
    parted,
    spelled,
    split,
)
from minialex.errors import MinialexError

_INSTANCES = re.compile(r"^instances:[ \t]*(.*?)$", re.MULTILINE)
_OF_TYPES = ("typename", "class")
FLOATING = ("float", "double")


@dataclass(frozen=True)
class KernelParameter:
    """One parameter of a kernel: ``const T* __restrict__ x``, ``const int n`` or ``const Shape s``.

    Attributes
    ----------
    ctype : str
        The type, of a pointer that of what it points to: of a number its canonical name.
    layout : Layout or None
        How a vector or struct lies in memory; None for numbers, ``void`` and template types.
    """

    name: str
    ctype: str
    pointer: bool = False
    const: bool = False
    restrict: bool = False
    layout: Layout | None = None

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
        return self.kind in _OF_TYPES


@dataclass(frozen=True)
class Signature:
    """One ``__global__`` function, as its text declares it.

    Attributes
    ----------
    name : str
        With its namespaces: ``"relu_forward"``, ``"space::relu_forward"``.
    instances : tuple of (str, tuple of str)
        The values that template parameters are declared to take, from the comment
        ``// instances: TILE = 16, 32`` above the kernel; float and double for types without one.
    launch_bound : str
        The most threads a block may have, as ``__launch_bounds__`` says it; empty without one.
    line : int
        Where it stands in its file.
    comment : str
        The comment lines directly above it, without their slashes.
    types : Types
        What its text declares, for types that depend on template arguments.
    """

    file: str
    name: str
    parameters: tuple[KernelParameter, ...]
    template: tuple[TemplateParameter, ...]
    instances: tuple[tuple[str, tuple[str, ...]], ...]
    launch_bound: str
    line: int
    comment: str
    types: Types = field(compare=False, repr=False)

    def expression(self, binding: Mapping[str, str]) -> str:
        """Return the kernel with its template arguments: ``relu_forward<float>``."""
        if not self.template:
            return self.name
        return f"{self.name}<{', '.join(binding[p.name] for p in self.template)}>"

    def layout(self, parameter: KernelParameter, binding: Mapping[str, str]) -> Layout | None:
        """Return how values of a parameter's type lie in memory, None where that is not known."""
        return parameter.layout or self.types.layout(parameter.ctype, binding)

    def most_threads(self, binding: Mapping[str, str]) -> int | None:
        """Return the most threads a block may have, None where the text does not say."""
        return self.types.number(self.launch_bound, binding)

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


def signatures(source: Source) -> dict[str, Signature]:
    """Return the kernels that `source` itself defines, by name, in the order of the text.

    Of a foreign file, those of the files that it includes too, and none that cannot be launched;
    `signature` says why.

    Raises
    ------
    MinialexError
        If a parameter has a type that cannot be passed, or is written in a way not understood, in
        a file that is not foreign; if a foreign file cannot be preprocessed.
    """
    return _read(source)[0]


def signature(source: Source, name: str) -> Signature:
    """Return one kernel of `source`; of a name in a namespace, the last part will do.

    Raises
    ------
    MinialexError
        If there is none of that name, or several, or it cannot be launched.
    """
    found, refused = _read(source)
    every = [*found, *refused]
    alike = [name] if name in every else [one for one in every if one.endswith(f"::{name}")]
    if len(alike) == 1:
        if alike[0] in refused:
            raise refused[alike[0]]
        return found[alike[0]]
    if alike:
        raise MinialexError(f"{source.file} has several kernels {name!r}: say {' or '.join(alike)}")
    hint = ": are its braces balanced?" if not every and "__global__" in source.text else ""
    raise MinialexError(
        f"{source.file} has no kernel {name!r}: it has {', '.join(every) or 'none'}{hint}"
    )


@functools.cache
def _read(source: Source) -> tuple[dict[str, Signature], dict[str, MinialexError]]:
    """Return the kernels that can be launched, and what is wrong with the others."""
    found: dict[str, Signature] = {}
    refused: dict[str, MinialexError] = {}
    if source.is_foreign:
        whole = outline(source)
        text, every, kernels = whole.text, whole.declarations, whole.kernels
    else:
        text = source.text
        every = declarations(text)
        kernels = {
            d.qualified: d
            for d in every
            if d.is_kernel and d.is_defined and place(text, d.start)[0] == source.own_name
        }
    types: dict[tuple[str, ...], Types] = {}
    for name, kernel in kernels.items():
        there = types.setdefault(kernel.namespace, Types(every, kernel.namespace))
        try:
            found[name] = _signature(source, text, kernel, there)
        except MinialexError as error:
            if not source.is_foreign:
                raise
            refused[name] = error
    return found, refused


def _signature(source: Source, text: str, kernel: CppDeclaration, types: Types) -> Signature:
    tokens = kernel.tokens
    start, template = 0, list[Sequence[Token]]()
    if tokens[0].text == "template":
        start = closing_angle(tokens, 1) + 1
        template = parted(tokens[2 : start - 1])
    named = [
        i
        for i in range(start, kernel.body - 1)
        if tokens[i].text == kernel.names[0] and tokens[i + 1].text == "("
    ]
    file, line = place(text, tokens[named[0] if named else 0].start)
    where = f"{source.file if file == source.own_name else file}:{line}: {kernel.names[0]}"
    if not named:
        raise MinialexError(f"{where}: its head is not of the form '__global__ void k(int n)'")
    name = named[0]
    parameters = [_template_parameter(text, p, where) for p in template]
    names = {p.name for p in parameters if p.is_type}
    inner = parted(tokens[name + 2 : closing(tokens, name + 1)])
    if len(inner) == 1 and [t.text for t in inner[0]] == ["void"]:
        inner = []
    comment = _comment_above(source.files[file], place(text, kernel.start)[1])
    return Signature(
        source.file,
        kernel.qualified,
        tuple(_parameter(text, i, p, names, types, where) for i, p in enumerate(inner)),
        tuple(parameters),
        _instances(comment, parameters, where, () if source.is_foreign else FLOATING),
        _launch_bound(text, tokens[start:name]),
        line,
        comment,
        types,
    )


def _launch_bound(text: str, head: Sequence[Token]) -> str:
    for i, token in enumerate(head):
        if token.text == "__launch_bounds__":
            first = parted(head[i + 2 : closing(head, i + 1)])[0]
            return text[first[0].start : first[-1].end]
    return ""


def _template_parameter(text: str, tokens: Sequence[Token], where: str) -> TemplateParameter:
    texts = [t.text for t in tokens]
    equals = texts.index("=") if "=" in texts else len(tokens)
    default = text[tokens[equals + 1].start : tokens[-1].end] if equals < len(tokens) else None
    declarator = tokens[:equals]
    # float (*f)(float): the name stands within
    pointer = texts.index("*") + 1 if "(" in texts[:equals] and "*" in texts else equals - 1
    name = declarator[pointer]
    kind = [t.text for t in declarator if t is not name and t.text not in ("const", "volatile")]
    if name.kind != "name" or not kind or "..." in "".join(kind):
        said = text[tokens[0].start : tokens[-1].end]
        raise MinialexError(f"{where}: template parameter {said!r} is not of the form 'int NAME'")
    return TemplateParameter(name.text, " ".join(kind), default)


def _parameter(
    text: str,
    number: int,
    tokens: Sequence[Token],
    template: set[str],
    types: Types,
    where: str,
) -> KernelParameter:
    texts = [t.text for t in tokens]
    end = texts.index("=") if "=" in texts else len(tokens)
    bracket = texts.index("[") if "[" in texts else end
    plain = [t for t in tokens[: min(end, bracket)] if t.text not in QUALIFIERS]
    stars = sum(t.text == "*" for t in plain) + (bracket < end)
    name = _parameter_name(plain)
    kind = [t for t in plain if t.text != "*" and t is not name]
    said = text[tokens[0].start : tokens[-1].end]
    if not kind or stars > 1 or {"(", "&"} & set(texts[:end]):
        raise MinialexError(
            f"{where}: parameter {said!r} is not of the form 'const T* x' or 'int n'"
        )
    if found := refusal(kind):
        raise MinialexError(
            f"{where}: parameter {said!r} belongs to {found[1]}, which the emulator does not have"
        )
    called = name.text if name else f"_{number}"
    ctype = scalars.canonical(spelled(kind))
    pointer = stars == 1
    layout = None
    if ctype not in template and not (pointer and ctype == "void"):
        types.unknown = ""
        layout = types.layout(ctype)
        if layout is None and not template & {t.text for t in kind}:
            because = f", for its member '{types.unknown}'" if types.unknown else ""
            raise MinialexError(
                f"{where}: parameter {called} has type {ctype!r}, which cannot be passed{because}: "
                "use numbers, vectors such as float4, enums, structs of these, or a template type"
            )
        if layout is not None and layout.is_number:
            ctype, layout = layout.ctype, None
    # In `const float* x` the elements are constant, in `float* const x` only the pointer is.
    first_star = texts.index("*") if "*" in texts else len(texts)
    restrict = any(t.startswith(("__restrict", "restrict")) for t in texts)
    return KernelParameter(
        called, ctype, pointer, "const" in texts[:first_star], pointer and restrict, layout
    )


def _parameter_name(tokens: Sequence[Token]) -> Token | None:
    """Return the name in a parameter without its qualifiers; None where it has none."""
    if len(tokens) < 2 or tokens[-1].kind != "name" or tokens[-2].text == "::":
        return None
    is_type = tokens[-1].text in ("int", "long", "short", "char", "unsigned", "float", "double")
    return None if is_type else tokens[-1]


def _comment_above(text: str, line: int) -> str:
    """Return the comment lines directly above a line."""
    found: list[str] = []
    for above in reversed(text.splitlines()[: line - 1]):
        if above.strip() and not above.lstrip().startswith("//"):
            break
        if not above.strip() and found:
            break
        found += [above.strip()] if above.strip() else []
    return "\n".join(re.sub("^// ?", "", one) for one in reversed(found))


def _instances(
    comment: str, template: Sequence[TemplateParameter], where: str, types: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read the ``instances:`` lines of a comment; type parameters without one take `types`."""
    free = (p.name for p in template if p.is_type and p.default is None and types)
    declared: dict[str, tuple[str, ...]] = dict.fromkeys(free, types)
    for line in _INSTANCES.findall(comment):
        for entry in line.split(";"):
            name, _, values = (part.strip() for part in entry.partition("="))
            if name not in {p.name for p in template} or not values:
                raise MinialexError(f"{where}: '// instances: {entry.strip()}' names no parameter")
            declared[name] = tuple(scalars.canonical(v) for v in split(values))
    return tuple(declared.items())
