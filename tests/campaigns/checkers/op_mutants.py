"""Every one-token mutant of the backwards of ten ops, on inputs that users might try.

A mutant has one token of a backward in array operations, or of a function of the same file that it
calls, replaced: an operator, a comparison, a number, an axis, a bound of a slice, a branch, a name
or an attribute by another one of its function. The forward stays right. The inputs are those of
`USUAL`, and two more with the parameters that a seed draws, the last with small numbers.

No checker is needed for a mutant that raises, or whose gradient has another shape; none can help
where the gradients are the right ones. A mutant with which they are on `TRIED` draws more too is
equivalent.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from minialex.arrays import Array
from minialex.autograd import OPS
from minialex.check.case import Case, Inputs
from minialex.check.cases import layers, windows
from minialex.check.cases.inputs import normal
from tests.campaigns.checkers.four import NAMES, Function, ask, quietly
from tests.campaigns.mutant import Mutant
from tests.campaigns.python_sites import Sites
from tests.check.draws import DRAWS, unary

TEN = (
    "relu", "sigmoid", "softmax", "log_softmax", "matmul", "linear", "conv2d", "max_pool2d",
    "local_response_norm", "cross_entropy",
)  # fmt: skip
"""The ops of an AlexNet's layers and heads."""

USUAL = {
    "matmul": layers.product("usual", (5, 7), (7, 4)),
    "linear": layers.linear("usual", (4, 12), 6),
    "conv2d": windows.conv("usual", (2, 3, 6, 6), 4, (3, 3), padding=(1, 1)),
    "max_pool2d": windows.pool("usual", (2, 3, 7, 7), (3, 3), stride=(2, 2), draw=normal),
    "local_response_norm": layers.lrn("usual", (2, 6, 3, 3), *layers.PAPER),
    "cross_entropy": layers.cross_entropy("usual", normal((8, 10)), [3, 1, 4, 1, 5, 9, 2, 6]),
}
"""The parameters that AlexNet has; of the other ops an array of 4 x 10."""

SMALLEST_SCALE = -3
"""The power of ten that the last inputs are multiplied by at least: weights begin about there."""

TRIED = 60
"""On how many more draws a mutant is compared with the right backward."""

SMALLEST, LARGEST = 6, 300
"""How many elements the inputs together have that are asked about."""

SAME = 1e-12
"""Gradients that differ by less than that share of the largest are the same but for rounding."""

OTHER_OPERATORS = {
    ast.Add: "-*", ast.Sub: "+*", ast.Mult: "/+", ast.Div: "*-", ast.FloorDiv: "*/", ast.Mod: "*",
    ast.Pow: "*", ast.BitAnd: "|", ast.BitOr: "&", ast.MatMult: "*",
}  # fmt: skip
OTHER_COMPARISONS = {
    ast.Lt: ("<=", ">"), ast.LtE: ("<", ">"), ast.Gt: (">=", "<"), ast.GtE: (">", "<"),
    ast.Eq: ("!=", ">="), ast.NotEq: ("==",), ast.Is: ("is not",), ast.IsNot: ("is",),
}  # fmt: skip
OTHER_CALLS = {"sum": "mean", "mean": "sum", "maximum": "minimum", "exp": "log", "zeros": "ones"}


class TokenSites(Sites):
    """Collects the places of one function, with each text that may stand there instead."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inner = [n for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)]
        arguments = [*node.args.args, *node.args.kwonlyargs]
        stored = [n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self.names = dict.fromkeys([*(a.arg for a in arguments), *stored])
        self.attributes = dict.fromkeys(_of_a_name(n) for n in inner if _of_a_name(n))
        for one in node.body:
            self.visit(one)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        left, right = self.source(node.left), self.source(node.right)
        for other in OTHER_OPERATORS.get(type(node.op), ""):
            self.found.append((node, f"({left}) {other} ({right})"))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target, value = self.source(node.target), self.source(node.value)
        for other in ("", *OTHER_OPERATORS.get(type(node.op), "")):
            self.found.append((node, f"{target} {other}= {value}"))
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        left, right = self.source(node.left), self.source(node.comparators[0])
        for other in OTHER_COMPARISONS.get(type(node.ops[0]), ()):
            self.found.append((node, f"{left} {other} {right}"))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.found.append((node, str(not node.value)))
        elif isinstance(node.value, int | float):
            others = dict.fromkeys((node.value + 1, node.value - 1, 2 * node.value, 0))
            self.found += [(node, f"({v})") for v in others if v != node.value]
        elif node.value is None:
            self.found.append((node, "0"))

    def visit_Tuple(self, node: ast.Tuple) -> None:
        if isinstance(node.ctx, ast.Load) and all(isinstance(e, ast.Constant) for e in node.elts):
            for left_out in range(len(node.elts)):
                rest = [self.source(e) for i, e in enumerate(node.elts) if i != left_out]
                self.found.append((node, f"({''.join(f'{r}, ' for r in rest)})"))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in self.names:
            self.found += [(node, other) for other in self.names if other != node.id]
        elif node.id in OTHER_CALLS:
            self.found.append((node, OTHER_CALLS[node.id]))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = self.source(node.value)
        others = [a for v, a in filter(None, self.attributes) if v == base and a != node.attr]
        others += filter(None, [OTHER_CALLS.get(node.attr)])
        whole = base if isinstance(node.value, ast.Name) else f"({base})"
        self.found += [(node, f"{whole}.{other}") for other in others]
        self.visit(node.value)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.visit(node.value)


def _of_a_name(node: ast.AST) -> tuple[str, str] | None:
    """Return (name, attribute) where a node is ``name.attribute``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return None


def reached(tree: ast.Module, name: str) -> list[ast.FunctionDef]:
    """Return the function of a file and those of the same file that it comes to call."""
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    found, left = dict[str, ast.FunctionDef](), [name]
    while left:
        one = functions[left.pop()]
        found[one.name] = one
        used = {n.id for n in ast.walk(one) if isinstance(n, ast.Name)}
        left += [n for n in functions if n in used and n not in found]
    return sorted(found.values(), key=lambda f: f.lineno)


@dataclass(frozen=True)
class Backward:
    """The backward of an op as text, from which it is made again with one token replaced."""

    op: str

    @functools.cached_property
    def right(self) -> Callable[..., Any]:
        return OPS[self.op].implementations["plain"].backward

    @functools.cached_property
    def module(self) -> types.ModuleType:
        found = inspect.getmodule(self.right)
        assert found is not None
        return found

    @functools.cached_property
    def text(self) -> str:
        return inspect.getsource(self.module)

    @functools.cached_property
    def functions(self) -> list[ast.FunctionDef]:
        return reached(ast.parse(self.text), self.right.__name__)

    def mutants(self) -> list[Mutant]:
        """Return every mutant, in order of lines, none twice."""
        path = self.module.__name__.replace(".", "/")
        path += "/__init__.py" if hasattr(self.module, "__path__") else ".py"
        found = []
        for function in self.functions:
            sites = TokenSites(self.text)
            sites.visit(function)
            spans = [(n.lineno, sites.span(n), new) for n, new in sites.found]
            found += [Mutant(path, line, s.start, s.stop, new) for line, s, new in spans]
        return list(dict.fromkeys(found))

    def mutated(self, mutant: Mutant) -> Callable[..., Any]:
        """Return the backward as the mutant has it, in a copy of its module's names."""
        text = mutant.applied(self.text.encode()).decode()
        names = dict(vars(self.module))
        for function in reached(ast.parse(text), self.right.__name__):
            tree = ast.Module([function], [])
            with quietly():
                exec(compile(tree, mutant.path, "exec", dont_inherit=True), names)
        return names[self.right.__name__]  # type: ignore[no-any-return]


def vjp(op: str, case: Case, inputs: Inputs, backward: Callable[..., Any]) -> Function:
    """Return the op as a function of the inputs of `case` that have a gradient."""
    one = OPS[op].implementations["plain"]
    wanted = case.differentiable(inputs)
    needs = tuple(i in wanted for i in range(len(inputs)))
    asked = {"needs": needs} if "needs" in one.takes else {}

    def among(xs: Sequence[Array]) -> list[Array | None]:
        given = dict(zip(wanted, xs, strict=True))
        return [given.get(i, a) for i, a in enumerate(inputs)]

    def forward(*xs: Array) -> Array:
        with quietly():
            return np.asarray(one.forward(*among(xs), **case.params)[0])

    def gradients(gy: Array, *xs: Array) -> list[Array]:
        with quietly():
            saved = one.forward(*among(xs), **case.params)[1]
            grads = backward(gy, saved, **case.params, **asked)
        return [grads[k] for k in wanted]

    return Function(forward, gradients, tuple(np.asarray(inputs[k]) for k in wanted), {})


def draws(op: str, seed: int) -> Iterator[tuple[Case, Inputs]]:
    """Yield cases of an op with their inputs, over and over."""
    rng = np.random.default_rng([seed, *op.encode()])
    draw = DRAWS.get(op, unary)
    while True:
        case = draw(rng, f"draw {rng.integers(2**62)}")
        yield case, case.draw(op)


def asked_about(op: str, seed: int) -> list[tuple[Case, Inputs]]:
    """Return what the checkers are given: usual inputs, then drawn ones."""

    def fits(drawn: tuple[Case, Inputs]) -> bool:
        case, inputs = drawn
        sizes = [np.size(inputs[k]) for k in case.differentiable(inputs)]
        return SMALLEST <= sum(sizes) <= LARGEST

    dims = {"dim": 1} if "softmax" in op else {}
    usual = USUAL.get(op, Case("usual", normal((4, 10)), dims))
    first, (case, inputs) = itertools.islice(filter(fits, draws(op, seed)), 2)
    scale = 10 ** np.random.default_rng([seed, *op.encode()]).uniform(SMALLEST_SCALE, 0)
    wanted = case.differentiable(inputs)
    small = tuple(scale * a if i in wanted else a for i, a in enumerate(inputs))
    return [(usual, usual.draw(op)), first, (case, small)]


def outcome(backward: Backward, mutant: Callable[..., Any], case: Case, inputs: Inputs) -> str:
    """Return what a mutant's gradients are on some inputs, beside those of the right backward."""
    right = vjp(backward.op, case, inputs, backward.right)
    gy = np.random.default_rng(0).standard_normal(right.forward(*right.inputs).shape)
    want = right.backward(gy, *right.inputs)
    try:
        got = vjp(backward.op, case, inputs, mutant).backward(gy, *right.inputs)
        if [np.shape(g) for g in got] != [w.shape for w in want]:
            return FAILS
        return EQUAL if all(map(_close, got, want)) else DIFFERS
    except Exception:
        return FAILS


FAILS, EQUAL, DIFFERS = "it raises, or no gradient has that shape", "equal", "differs"


def _close(got: Any, want: Array) -> bool:
    return bool((np.abs(got - want) <= SAME * np.abs(want).max(initial=0)).all())


def tried(op: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what became of each mutant of an op."""
    backward, cases = Backward(op), asked_about(op, seed)
    more = list(itertools.islice(draws(op, seed + 1), TRIED))
    for mutant in backward.mutants():
        made = backward.mutated(mutant)
        row = {"op": op, "mutant": str(mutant)}
        outcomes = [outcome(backward, made, *drawn) for drawn in cases]
        if DIFFERS in outcomes:
            asked = [n for n, found in enumerate(outcomes) if found == DIFFERS]
            yield row | {"said": [_said(vjp(op, *cases[n], made)) | {"input": n} for n in asked]}
        elif FAILS in outcomes:
            yield row | {"left out": FAILED}
        else:
            equal = all(outcome(backward, made, *drawn) == EQUAL for drawn in more)
            yield row | {"left out": EQUIVALENT if equal else UNSEEN}


FAILED, EQUIVALENT, UNSEEN = "raises or another shape", "equivalent", "equal on these inputs"
"""Why no checker is asked about a mutant."""


def _said(function: Function) -> dict[str, Any]:
    return {name: ask(name, function).verdict for name in NAMES}


def right_ones(seed: int) -> Iterator[dict[str, Any]]:
    """Yield what is said of the right backwards, on the same inputs."""
    for op in TEN:
        for number, (case, inputs) in enumerate(asked_about(op, seed)):
            function = vjp(op, case, inputs, Backward(op).right)
            yield {"op": op, "input": number, "said": _said(function)}


@click.command()
@click.argument("op", type=click.Choice(["right", *TEN]))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0)
def main(op: str, out: Path, seed: int) -> None:
    """Write what is said of each mutant of an op, or of the right ones of all."""
    rows = right_ones(seed) if op == "right" else tried(op, seed)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
