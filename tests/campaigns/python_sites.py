"""Where one token of a Python file can be changed so that it means something else."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator

from tests.campaigns.mutant import Mutant

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
ARITHMETIC = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//",
    ast.BitAnd: "|", ast.BitOr: "&", ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip

Node = ast.expr | ast.stmt | ast.Slice


class Sites(ast.NodeVisitor):
    """Collects (node, text that replaces it) where a change would be one of meaning."""

    def __init__(self, text: str) -> None:
        self.text, self.found = text.encode(), list[tuple[Node, str]]()
        lines = self.text.splitlines(keepends=True)
        self.starts = [0, *itertools.accumulate(map(len, lines))]

    def span(self, node: Node) -> slice:
        """Return which bytes of the text a node is."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first, last = self.starts[node.lineno - 1], self.starts[node.end_lineno - 1]
        return slice(first + node.col_offset, last + node.end_col_offset)

    def source(self, node: Node) -> str:
        return self.text[self.span(node)].decode()

    def add(self, node: Node, *texts: str) -> None:
        """Let `texts` stand in the place of a node, but for those that it has already."""
        self.found += [(node, text) for text in texts if text != self.source(node)]

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            left, right = self.source(node.left), self.source(node.comparators[0])
            self.add(node, f"{left} {COMPARISONS[type(node.ops[0])]} {right}")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = ARITHMETIC.get(type(node.op))
        if other and not isinstance(node.left, ast.JoinedStr):
            left, right = self.source(node.left), self.source(node.right)
            self.add(node, f"({left}) {other} ({right})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = " or " if isinstance(node.op, ast.And) else " and "
        self.add(node, other.join(f"({self.source(v)})" for v in node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self.add(node, f"({self.source(node.operand)})")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if any(_is_text(branch) for branch in (node.body, node.orelse)):
            return
        then, test, other = map(self.source, (node.body, node.test, node.orelse))
        self.add(node, f"({other}) if ({test}) else ({then})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.add(node, str(not node.value))
        elif isinstance(node.value, int):
            self.add(node, str(node.value + 1))
        elif isinstance(node.value, float):
            self.add(node, repr(node.value * 2 or 1.0))

    # what only words a message, or only types

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_Raise(self, node: ast.Raise) -> None:
        pass

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not (isinstance(node.value, ast.Name) and node.value.id in ("Callable", "Literal")):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in ("__repr__", "describe"):
            for one in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
                self.visit(one)


OPPOSITE = {ast.Lt: ">", ast.LtE: ">=", ast.Gt: "<", ast.GtE: "<="}
FUNCTIONS = {
    "max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum", "argmax": "argmin",
    "zeros": "ones", "zeros_like": "ones_like", "ones": "zeros", "any": "all", "all": "any",
    "sum": "max", "prod": "sum", "ceil": "floor", "floor": "ceil",
}  # fmt: skip


class MathSites(Sites):
    """Collects more, as there is to change where arrays are computed with."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.kinds: dict[str, str] = {}
        """The names that there are where the visitor is, and of what kind, "" for any."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.kinds
        self.kinds = outer | dict(_names(node))
        super().visit_FunctionDef(node)
        self.kinds = outer

    def visit_Name(self, node: ast.Name) -> None:
        kind = self.kinds.get(node.id)
        if kind is not None and isinstance(node.ctx, ast.Load):
            self.add(node, *(n for n, k in self.kinds.items() if _alike((node.id, kind), (n, k))))

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) in (int, float):
            n = node.value
            self.add(node, *(repr(m) for m in dict.fromkeys((n + 1, n - 1, type(n)(0), 2 * n))))
        else:
            super().visit_Constant(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1 and type(node.ops[0]) in OPPOSITE:
            left, right = self.source(node.left), self.source(node.comparators[0])
            self.add(node, f"{left} {OPPOSITE[type(node.ops[0])]} {right}")
        super().visit_Compare(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        left, right = f"({self.source(node.left)})", f"({self.source(node.right)})"
        if not isinstance(node.left, ast.JoinedStr):
            self.add(node, left, right)
            if isinstance(node.op, ast.Mult | ast.Div | ast.MatMult):
                self.add(node, f"-({self.source(node)})")
        super().visit_BinOp(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func
        word = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
        if word in FUNCTIONS:
            self.add(name, self.source(name).removesuffix(word) + FUNCTIONS[word])
        self.generic_visit(node)

    def visit_Slice(self, node: ast.Slice) -> None:
        low, high, step = (self.source(n) if n else "" for n in (node.lower, node.upper, node.step))
        last = f":{step}" if step else ""
        for bound in filter(None, (node.lower, node.upper)):
            changes = [""]
            if not isinstance(bound, ast.Constant):
                changes += [f"{self.source(bound)} + 1", f"{self.source(bound)} - 1"]
            for text in changes:
                parts = (text, high) if bound is node.lower else (low, text)
                self.add(node, ":".join(parts) + last)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self.add(node.test, f"not ({self.source(node.test)})")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target, value = self.source(node.target), self.source(node.value)
        other = ARITHMETIC.get(type(node.op))
        self.add(node, "pass", f"{target} = {value}")
        if other:
            self.add(node, f"{target} {other}= {value}")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Subscript | ast.Attribute):
            self.add(node, "pass")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.add(node, "pass")
        self.generic_visit(node)


def _names(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Yield the names that a function has of its own, each with its type if that is written."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, ""
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield argument.arg, ast.unparse(argument.annotation) if argument.annotation else ""


def _alike(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether two names may be taken for each other: sizes, in capitals, or both not."""
    (name, kind), (another, its) = one, other
    return name.isupper() == another.isupper() and (kind == its or not (kind and its))


def _is_text(node: ast.expr) -> bool:
    """Return whether this is a text, which a message is made of."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def mutants_of(name: str, text: str, visitor: type[Sites] = Sites) -> list[Mutant]:
    """Return every mutant of a file, in order of places."""
    sites = visitor(text)
    sites.visit(ast.parse(text))
    spans = [(node.lineno, sites.span(node), new) for node, new in sites.found]
    return [Mutant(name, line, span.start, span.stop, new) for line, span, new in spans]


def by_place(mutants: Iterable[Mutant]) -> list[list[Mutant]]:
    """Return mutants with those of one place together."""
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for one in mutants:
        places.setdefault((one.path, one.start, one.end), []).append(one)
    return list(places.values())
