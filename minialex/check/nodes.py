"""The ops of a composition, one by one: what each owes autograd, and which gives a wrong gradient.

Where a gradient of a function is wrong, each op on the way to it is taken by itself, at the inputs
that it had and for a random cotangent, and its gradients are compared with differences of its own
forward: the op that is wrong is wrong alone too.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minialex import arrays
from minialex.arrays import Array
from minialex.autograd import Tensor
from minialex.autograd.graph import Edge, Node, ancestry
from minialex.autograd.op import Call
from minialex.check import chain, comparison
from minialex.check.contract import ContractRun
from minialex.check.op_call import EXACT, OpCall, Tolerances
from minialex.check.subject import BackwardError, Subject
from minialex.check.suite import Pair
from minialex.check.verdict import Finding, Verdict
from minialex.check.written_out import argument_names
from minialex.wording import counted

_BETWEEN = "what is left is what rounding does between them"
_MISLED = "differences of fn show less than they seem to, as beside a kink"
_ELSEWHERE = (
    "how autograd adds gradients up, .data or detach() on the way, a hook, or code between ops"
)

Alone = Callable[[Subject, int], Iterable[tuple[int, Finding]]]
"""Compares the gradients of a function that is one of so many ops; yields leaf and finding."""

_ORDINALS = (
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
)


def ordinal(n: int) -> str:
    """Return ``first`` for 1, and so on."""
    if n < len(_ORDINALS):
        return _ORDINALS[n]
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def call_names(calls: Sequence[Call]) -> list[str]:
    """Return what each call is known by: ``conv2d, third op (second conv2d)``."""
    if len(calls) == 1:
        return [f"{calls[0].op.name}, the only op"]
    total = Counter(call.op.name for call in calls)
    seen: Counter[str] = Counter()
    found = []
    for n, name in enumerate((call.op.name for call in calls), start=1):
        seen[name] += 1
        which = f" ({ordinal(seen[name])} {name})" if total[name] > 1 else ""
        found.append(f"{name}, {ordinal(n)} op{which}")
    return found


# What ops owe autograd ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Contract:
    """What came of asking every op of a function what it owes autograd.

    Attributes
    ----------
    findings : tuple of Finding
        One for each thing that is broken, or one that nothing is.
    wrecked : bool
        Whether autograd cannot go on with it, so that nothing more is to be learned.
    """

    findings: tuple[Finding, ...]
    wrecked: bool


def contract(subject: Subject, tolerances: Tolerances = EXACT) -> Contract:
    """Run each op that `fn` runs a few times more, in every type that gradients are checked in.

    See ``contract.py`` for what is asked. `fn` itself must not write to what it is given either.
    """
    found: dict[tuple[str, str], Finding] = {}
    wrecked, compared, ops = False, 0, 0
    for wide in sorted({subject.work.dtype != subject.as_given.dtype, False}, reverse=True):
        with np.errstate(all="ignore"):
            walk = _Walk(subject, wide, tolerances)
            walk.run()
        for finding in walk.findings:
            found.setdefault((finding.what, finding.detail[0]), finding)
        wrecked |= walk.wrecked
        compared, ops = compared + walk.compared, walk.ops
    if not found and ops:
        what = f"what its ops owe autograd ({counted(ops, 'op')})"
        return Contract((Finding(what, Verdict.PASS, 0.0, 0.0, compared),), False)
    return Contract(tuple(found.values()), wrecked)


class _Walk:
    """All calls of a function in one type, in order, each on the inputs that it should have had.

    These are what the calls before it give when run again: what an op has written to since would
    be taken for its input otherwise.
    """

    def __init__(self, subject: Subject, wide: bool, tolerances: Tolerances) -> None:
        self.subject, self.wide, self.tolerances = subject, wide, tolerances
        self.findings: list[Finding] = []
        self.wrecked, self.compared, self.ops = False, 0, 0
        self.pristine: dict[int, Array] = {}

    def run(self) -> None:
        xs, constants = self.subject.arrays(), {} if self.wide else self._constants()
        with self.subject.recorded(wide=self.wide) as (calls, _):
            leaves = self.subject.leaves
            given = {
                name: arrays.to_device(np.asarray(x, t.dtype), t.device)
                for x, (name, t) in zip(xs, leaves.items(), strict=True)
            }
            self.pristine = {id(t.data): given[name] for name, t in leaves.items()}
            now = {name: t.data for name, t in leaves.items()}
            self.ops = len(calls)
            for i, (place, call) in enumerate(zip(call_names(calls), calls, strict=True)):
                self.ask(place, call, np.random.default_rng(i))
            if not self.wrecked:
                self.rewritten(given, now)
                self.rewritten(constants, self._constants())

    def _constants(self) -> dict[str, Array]:
        """Return copies of what `fn` is given that requires no gradient."""
        return {
            name: _copy(v.data if isinstance(v, Tensor) else v)
            for name, v in self.subject.constants.items()
            if name.startswith("input ")
        }

    def ask(self, place: str, call: Call, rng: np.random.Generator) -> None:
        """Ask a call what it owes."""
        op, y = call.op, call.y
        name = next(n for n, one in op.implementations.items() if one is call.implementation)
        pair = Pair(op, name, name, y.dtype, arrays.device_of(y))
        inputs = tuple(
            None if a is None else _copy(self.pristine.get(id(a), a)) for a in call.inputs
        )
        edges = () if call.node is None else call.node.edges
        gy = None
        if call.node is not None:
            gy = arrays.to_device(rng.standard_normal(y.shape).astype(y.dtype), pair.device)
        wanted = tuple(i for i, edge in enumerate(edges) if edge is not None)
        how = call.params, y, gy, wanted, argument_names(op, len(inputs))
        run = ContractRun(OpCall(pair, inputs, *how, every=False, tolerances=self.tolerances))
        wrecks = run.wrecks()
        self.wrecked |= bool(wrecks)
        # what else is asked is asked in the type that is given alone
        for line in wrecks or ([] if self.wide else run.lapses()):
            broken = comparison.wrong(f"what {place}, owes autograd", line)
            self.findings.append(dataclasses.replace(broken, op=place))
        self.compared += run.compared
        if run.output is not None:
            self.pristine[id(y)] = run.output

    def rewritten(self, before: dict[str, Array], now: dict[str, Array]) -> None:
        """Note what `fn` has written to."""
        for name, a in before.items():
            if arrays.to_numpy(a).tobytes() != arrays.to_numpy(now[name]).tobytes():
                line = f"fn wrote to {name}, as with .data[...] = or += : compute into a new array"
                self.findings.append(comparison.wrong("what fn owes autograd", line))
                self.wrecked = True


def _copy(a: Array) -> Array:
    return arrays.array_module(a).array(a)  # type: ignore[no-any-return]


# Which op is wrong --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Step:
    """A call of an op in the graph of a function."""

    place: str
    call: Call
    node: Node

    def towards(self, reached: Container[Edge]) -> list[int]:
        """Return the inputs that come from one of the nodes and leaves `reached`."""
        return [i for i, e in enumerate(self.node.edges) if e is not None and e in reached]


class Culprits:
    """The ops of a function that are wrong by themselves; they are looked for when asked about.

    Parameters
    ----------
    subject : Subject
    gy : array
        The cotangent.
    alone : ``alone(subject, count)``
        What compares the gradients of a single op, one of `count`.
    contract_kept : bool
        Whether all ops give what they owe: else one that is right by itself may be wrong here.
    """

    def __init__(
        self, subject: Subject, gy: Array, alone: Alone, contract_kept: bool = True
    ) -> None:
        self.subject, self.gy, self.alone = subject, gy, alone
        self.contract_kept = contract_kept
        self._told: set[str] = set()
        self._found: dict[Node, dict[int, list[Finding]] | None] = {}
        self._strays: dict[int, str] = {}

    def named(self, k: int, finding: Finding) -> Finding:
        """Return a FAIL of leaf `k` with the op that it comes from, and other findings as is.

        What is right in float64, and made of ops that are right in the given type each by itself,
        is off in that type by what rounding does between them: that is no fault. Nor is it one
        where all are right, and `chain` finds that they are put together right.
        """
        if finding.verdict is not Verdict.FAIL:
            return finding
        on_the_way = [*self._on_the_way(list(self.subject.leaves.values())[k])]
        wrong = [
            (step.place, f)
            for step, inputs in on_the_way
            for i in inputs
            for f in (self._of(step) or {}).get(i, [])
            if f.verdict is Verdict.FAIL
        ]
        op = "; ".join(dict.fromkeys(place for place, _ in wrong))
        if len(self._steps) == 1 and wrong:
            # all that is to be said of it is said of the function
            detail = (_as_of_an_op(line) for line in finding.detail)
            return dataclasses.replace(finding, detail=tuple(detail), op=op)
        lines = [line for place, f in wrong for line in self._lines(place, f)]
        if on_the_way and not wrong:
            steps = [step for step, _ in on_the_way]
            none = self._none_wrong(steps)
            together = len(on_the_way) > 1 and math.isfinite(finding.error) and self.contract_kept
            if together and self._narrow(finding):
                kind = self.subject.work.dtype
                return finding.undecided(f"not wrong in {kind}, and {none}: {_BETWEEN}")
            if together and self._put_together_right(k, steps):
                return finding.undecided(f"{none}, and they are put together right: {_MISLED}")
            lines = [f"{none}; {self._left(k)}"] if self.contract_kept else []
        return dataclasses.replace(finding, detail=(*finding.detail, *lines), op=op)

    def _put_together_right(self, k: int, steps: list[_Step]) -> bool:
        """Return whether there is nothing left that could be wrong, were each of `steps` right."""
        alone = all(self._of(step) is not None for step in steps)
        return alone and self.subject.reference is None and not self._astray(k)

    def _astray(self, k: int) -> str:
        """Return what is wrong between ops; nothing where there is nothing."""
        if k not in self._strays:
            rng = np.random.default_rng(0)
            self._strays[k] = chain.astray(self.subject, k, self.gy, rng)
        return self._strays[k]

    def _narrow(self, finding: Finding) -> bool:
        """Return whether a finding is of a type beside float64."""
        wide, given = self.subject.work.dtype, self.subject.as_given.dtype
        return wide != given and finding.what.endswith(f" in {given}")

    def _lines(self, place: str, finding: Finding) -> Iterator[str]:
        """Yield what is wrong; why, the first time."""
        what = f"{place}: {finding.what.removesuffix(' in float64')}"
        if what in self._told:
            yield f"wrong by itself: {what}, as above"
            return
        self._told.add(what)
        yield f"wrong by itself: {what}"
        for line in finding.detail:
            yield f"    {_as_of_an_op(line)}"

    def _none_wrong(self, steps: list[_Step]) -> str:
        undecided = sum(not self._decided(step) for step in steps)
        which = f"none of the {counted(len(steps), 'op')} on the way is wrong by itself"
        if undecided:
            which += f" ({undecided} of them could not be decided)"
        return which

    def _left(self, k: int) -> str:
        """Return what may be wrong where no op is."""
        if self.subject.reference is not None:
            return f"what is left is a forward that is not what reference is, {_ELSEWHERE}"
        return self._astray(k) or f"what is left is {_ELSEWHERE}"

    def _decided(self, step: _Step) -> bool:
        found = self._of(step)
        return found is not None and all(
            f.verdict is not Verdict.INCONCLUSIVE for findings in found.values() for f in findings
        )

    @functools.cached_property
    def _steps(self) -> list[_Step]:
        """The calls that outputs depend on, in order of execution."""
        with self.subject.recorded(wide=False) as (calls, outputs):
            behind = set(ancestry(y.node for y in outputs if y.node is not None))
            return [
                _Step(place, call, call.node)
                for place, call in zip(call_names(calls), calls, strict=True)
                if call.node is not None and call.node in behind
            ]

    def _on_the_way(self, leaf: Tensor) -> Iterator[tuple[_Step, list[int]]]:
        """Yield the calls between a leaf and the outputs, and by which inputs they lead there."""
        reached: set[Edge] = {leaf}
        for step in self._steps:
            inputs = step.towards(reached)
            if inputs:
                reached.add(step.node)
                yield step, inputs

    def _of(self, step: _Step) -> dict[int, list[Finding]] | None:
        """Return what is found of each input of a call; None where it cannot be taken alone."""
        if step.node not in self._found:
            self._found[step.node] = self._ask(step)
        return self._found[step.node]

    def _ask(self, step: _Step) -> dict[int, list[Finding]] | None:
        call, edges = step.call, step.node.edges
        args = tuple(
            None if a is None else Tensor(_copy(a), requires_grad=edge is not None)
            for a, edge in zip(call.inputs, edges, strict=True)
        )
        wanted = [i for i, edge in enumerate(edges) if edge is not None]
        names = argument_names(call.op, len(args))
        found: dict[int, list[Finding]] = {i: [] for i in wanted}
        try:
            subject = Subject(lambda *xs: call.op(*xs, **call.params), args, None)
            leaves = zip(wanted, subject.leaves.values(), strict=True)
            subject.leaves = {names[i]: leaf for i, leaf in leaves}
            for k, finding in self.alone(subject, len(self._steps)):
                found[wanted[k]].append(finding)
        except (ValueError, BackwardError):
            # such as one that rounds its operands, and so has no differences
            return None
        return found


def _as_of_an_op(line: str) -> str:
    """Return what is said of a function as it is said of an op by itself."""
    none = line.startswith("no gradient reaches it")
    return "backward returned None for it" if none else line
