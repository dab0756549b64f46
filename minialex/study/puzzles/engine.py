"""Puzzles about the backward pass over a graph: in which order, and how gradients add up.

A solution sees the recorded graph through `OpInGraph` and `LeafInGraph`, and takes the place of
autograd's own backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minialex.arrays import Array
from minialex.autograd import graph, tensor
from minialex.check import CaseFindings, CheckRun
from minialex.check import engine as checks
from minialex.check.kinds import Kind
from minialex.study.puzzles.puzzle import BACKWARD, TYPES, Puzzle, SolutionError
from minialex.study.puzzles.python_puzzles import Functions, PythonPuzzle
from minialex.study.puzzles.solution_file import SolutionRaisedError, described

CASES = (
    "one leaf in two ops",
    "one leaf twice in one op",
    "one result twice in one op, and in two",
    "branches of unequal length",
    "sixty diamonds, one after another",
    "a cotangent that two branches share",
    "graphs drawn at random",
    "a second backward adds",
    "a graph that is kept",
    "what needs no gradient gets none",
    "gradients are arrays of their own",
)
"""What is asked of a backward pass, of all that is asked of the engine: no buffers, no hooks."""


class LeafInGraph:
    """A Tensor that was made by no op: its gradient is to be left in `grad`."""

    def __init__(self, leaf: graph.Leaf) -> None:
        self._leaf = leaf

    @property
    def grad(self) -> Array | None:
        """None, or the gradient that an earlier pass or an earlier op left."""
        return self._leaf.grad

    @grad.setter
    def grad(self, g: Array) -> None:
        self._leaf.grad = g


class OpInGraph:
    """One op that ran forward.

    Attributes
    ----------
    inputs : list of OpInGraph, LeafInGraph or None
        What made its inputs; None for those that need no gradient.
    """

    def __init__(self, node: graph.Node) -> None:
        self._node = node
        self._ran = False
        self.inputs: list[OpInGraph | LeafInGraph | None] = []

    def __repr__(self) -> str:
        return f"the op {self._node.name}"

    def backward(self, gy: Array) -> tuple[Any, ...]:
        """Return a gradient, or None, for each input; to be called once in a pass."""
        if self._ran:
            raise SolutionError(
                f"the backward of an op, {self._node.name}, was called a second time in one pass: "
                "wait until all that its result went into has run, then call it once"
            )
        self._ran = True
        return self._node.vjp(gy)


def mirrored(root: graph.Node) -> list[OpInGraph]:
    """Return the ops that `root` depends on, oldest first, and itself as the last."""
    nodes = graph.ancestry([root])
    ops = {node: OpInGraph(node) for node in nodes}
    leaves: dict[Any, LeafInGraph] = {}
    for node in nodes:
        for edge in node.edges:
            if edge is None:
                ops[node].inputs.append(None)
            elif isinstance(edge, graph.Node):
                ops[node].inputs.append(ops[edge])
            else:
                ops[node].inputs.append(leaves.setdefault(edge, LeafInGraph(edge)))
    return list(ops.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class EnginePuzzle(PythonPuzzle):
    """A part of the backward pass over a graph."""

    @property
    def checked_by(self) -> str:
        """Which checks of the engine."""
        return (
            f"{len(CASES)} checks of the engine between ops, graphs drawn at random among them, in "
            "float64 and float32; each op may run once"
        )

    @property
    def check_count(self) -> int:
        """Each in each type."""
        return len(CASES) * len(TYPES)

    def _checks_of(self, functions: Functions, seeds: Sequence[int]) -> Iterator[CaseFindings]:
        with _in_place_of_backward(functions):
            for case in (one for one in checks.CASES if one.name in CASES):
                for dtype in TYPES:
                    yield CheckRun(checks.Engine(dtype), case, Kind.ENGINE).run()


@contextlib.contextmanager
def _in_place_of_backward(functions: Functions) -> Iterator[None]:
    """Have a solution's `run` go back over graphs, for as long as it is tried."""

    def run_backward(root: graph.Node, gy: Array, *, retain_graph: bool) -> None:
        try:
            functions.run(mirrored(root)[-1], gy)
        except SolutionError:
            raise
        except Exception as error:
            raise SolutionRaisedError(described(error)) from error

    own = vars(tensor)["run_backward"]
    vars(tensor)["run_backward"] = run_backward
    try:
        yield
    finally:
        vars(tensor)["run_backward"] = own


_LEAVES = """
        An op has inputs, a list of what made its inputs: an op, a leaf, or None where no gradient
        is needed; and backward(gy), which returns a gradient for each of them. A leaf has grad:
        None, or a gradient to which more is to be added. Arrays that backward returns may be
        shared: make new ones rather than change them.
"""

PUZZLES: list[Puzzle] = [
    EnginePuzzle(
        name="add-up",
        title="What is used twice",
        kind=BACKWARD,
        topic="the graph",
        functions=("run",),
        task=f"""
        run(root, gy) sends gy, the gradient of what the op root gave, back to all leaves. The
        order is right already: each op runs when its gradient is complete. Write what becomes of a
        gradient g on its way to target.{_LEAVES.rstrip()}
        """,
        hint="x * x gives x two gradients, and a second backward comes on top of the first.",
        why="The chain rule adds over all ways from a value to the loss; grad + g makes a new "
        "array, where += would change one that another op holds as well.",
        template="""
        def newest_first(root):
            order, seen = [], set()

            def visit(op):
                if id(op) not in seen and hasattr(op, "inputs"):
                    seen.add(id(op))
                    for below in op.inputs:
                        visit(below)
                    order.append(op)

            visit(root)
            return order[::-1]


        def run(root, gy):
            waiting = {root: gy}
            for op in newest_first(root):
                for target, g in zip(op.inputs, op.backward(waiting.pop(op))):
                    if target is None or g is None:
                        continue
                    @@
        """,
        begun="""
        if hasattr(target, "inputs"):
            waiting[target] = g
        else:
            target.grad = g
        """,
        solved="""
        if hasattr(target, "inputs"):
            waiting[target] = waiting[target] + g if target in waiting else g
        else:
            target.grad = g if target.grad is None else target.grad + g
        """,
    ),
    EnginePuzzle(
        name="order",
        title="An order in which gradients are complete",
        kind=BACKWARD,
        topic="the graph",
        functions=("run",),
        task=f"""
        Write order(root): every op that root depends on, and root itself, each once, so that an op
        comes after all those that its result went into. run then goes through them and adds up.
        {_LEAVES.strip()}
        """,
        hint="Going depth first, write an op down when all below it is done; then turn the list "
        "around.",
        why="Written down after all that it depends on, an op stands before those in the reversed "
        "list: a topological order. In any order by distance, a short branch runs an op whose "
        "gradient the long one has not completed.",
        template="""
        def order(root):
            @@


        def run(root, gy):
            waiting = {root: gy}
            for op in order(root):
                for target, g in zip(op.inputs, op.backward(waiting.pop(op))):
                    if target is None or g is None:
                        continue
                    if hasattr(target, "inputs"):
                        waiting[target] = waiting[target] + g if target in waiting else g
                    else:
                        target.grad = g if target.grad is None else target.grad + g
        """,
        begun="""
        found = [root]
        for op in found:
            found += [one for one in op.inputs if hasattr(one, "inputs") and one not in found]
        return found
        """,
        solved="""
        found, seen = [], set()

        def visit(op):
            if op in seen or not hasattr(op, "inputs"):
                return
            seen.add(op)
            for below in op.inputs:
                visit(below)
            found.append(op)

        visit(root)
        return found[::-1]
        """,
    ),
]
