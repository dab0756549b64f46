"""Puzzles in Python: functions to complete, which take the place of those of an op or optimizer."""

from __future__ import annotations

import abc
import contextlib
import functools
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.autograd import OPS, Implementation
from minialex.check import CASES, CaseFindings, CheckRun, Pair
from minialex.check.cases import routines as routine_cases
from minialex.check.kinds import Kind
from minialex.check.routines import RoutineImplementation, routines
from minialex.study.puzzles.puzzle import SEEDS, TYPES, Puzzle, redrawn
from minialex.study.puzzles.solution_file import FILE, SolutionRaisedError, described, load

YOURS = "yours"
"""What the implementation is called that a solution is made into."""

GAP = "@@\n"
"""Where in a template the lines stand that are to be written."""

ASKED_ALSO = Kind.CONTRACT, Kind.LAYOUTS
"""What is asked of an op beyond its values."""

Functions = types.SimpleNamespace
"""The functions of a solution, by name."""

Forward = Callable[..., tuple[Any, tuple[Any, ...]]]
Backward = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class PythonPuzzle(Puzzle):
    """Functions in NumPy, of which some lines are to be written.

    Attributes
    ----------
    functions : tuple of str
        Those that the file must define.
    template : str
        The file, with `GAP` where lines are missing.
    begun, solved : str
        What stands there at first, and in the answer.
    """

    functions: tuple[str, ...]
    template: str
    begun: str
    solved: str

    @property
    def suffix(self) -> str:
        """The suffix of Python."""
        return ".py"

    @property
    def start(self) -> str:
        """The file with the gap as it is begun."""
        return self.filled(self.begun)

    @property
    def answer(self) -> str:
        """The file with the gap filled."""
        return self.filled(self.solved)

    def filled(self, lines: str) -> str:
        """Return the file with these lines in its gap, indented as it is."""
        template = textwrap.dedent(self.template).lstrip()
        before, after = template.split(GAP.rstrip() + "\n")
        indent = before.rpartition("\n")[2]
        body = textwrap.indent(textwrap.dedent(lines).strip("\n") + "\n", indent)
        first = f"# minialex puzzle show {self.name}\n"
        return first + before.removesuffix(indent) + body + after

    def checks(self, text: str, seeds: Sequence[int] = SEEDS) -> Iterator[CaseFindings]:
        """Yield what each check finds."""
        return self._checks_of(load(text, self.functions), seeds)

    @abc.abstractmethod
    def _checks_of(self, functions: Functions, seeds: Sequence[int]) -> Iterator[CaseFindings]:
        """Yield what each check finds in functions."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OpPuzzle(PythonPuzzle):
    """Functions of an op.

    Attributes
    ----------
    op : str
    implement : callable
        From the functions of a solution to a forward and a backward, as ops have them.
    """

    op: str
    implement: Callable[[Functions], tuple[Forward, Backward]]

    @property
    def checked_by(self) -> str:
        """Which cases, and how often."""
        return (
            f"all {len(CASES[self.op])} cases of {self.op}, each drawn {len(SEEDS)} times, in "
            "float64 and float32; then that nothing is written that is not your own, that "
            "gradients have the type of what they belong to, and arrays with gaps"
        )

    @property
    def check_count(self) -> int:
        """Each case in each type: as often as it is drawn, and for what else is asked."""
        return len(CASES[self.op]) * len(TYPES) * (len(SEEDS) + len(ASKED_ALSO))

    def _checks_of(self, functions: Functions, seeds: Sequence[int]) -> Iterator[CaseFindings]:
        op = OPS[self.op]
        pair = functools.partial(Pair, op, YOURS, YOURS)
        made = Implementation(*(_shown(f) for f in self.implement(functions)))
        with _among(op.implementations, made):
            for seed in seeds:
                for case in CASES[self.op]:
                    for dtype in TYPES:
                        yield CheckRun(pair(dtype), redrawn(case, seed)).run()
            for kind in ASKED_ALSO:
                for case in CASES[self.op]:
                    for dtype in TYPES:
                        yield CheckRun(pair(dtype), case, kind).run()


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimizerPuzzle(PythonPuzzle):
    """The update of an optimizer."""

    routine: str

    @property
    def checked_by(self) -> str:
        """Which cases, in which types."""
        return (
            f"{len(routine_cases.CASES[self.routine])} cases of {self.routine} of a few steps "
            "each, in float64 and float32"
        )

    @property
    def check_count(self) -> int:
        """Each case in each type that it has."""
        names = {dtype.name for dtype in TYPES}
        return sum(len(names & {*case.dtypes}) for case in routine_cases.CASES[self.routine])

    def _checks_of(self, functions: Functions, seeds: Sequence[int]) -> Iterator[CaseFindings]:
        routine = routines()[self.routine]
        (function,) = vars(functions).values()
        with _among(routine.implementations, _shown(function)):
            for case in routine_cases.CASES[self.routine]:
                for dtype in TYPES:
                    if dtype.name in case.dtypes:
                        yield CheckRun(RoutineImplementation(routine, YOURS, dtype), case).run()


@contextlib.contextmanager
def _among(implementations: dict[str, Any], one: Any) -> Iterator[None]:
    """Put a solution among the implementations of what it is one of, for as long as it is tried."""
    implementations[YOURS] = one
    try:
        yield
    finally:
        del implementations[YOURS]


def _shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that says of what it raises in which line of the solution it did."""

    @functools.wraps(function)
    def call(*args: Any, **params: Any) -> Any:
        try:
            found = function(*args, **params)
        except Exception as error:
            raise SolutionRaisedError(described(error)) from error
        for one in found if isinstance(found, tuple) else (found,):
            _check_plain(one)
        return found

    return call


def _check_plain(one: Any) -> None:
    """Refuse what NumPy takes for an array and no check can compare."""
    if not isinstance(one, np.ndarray):
        return
    if type(one) is not np.ndarray or one.dtype.hasobject:
        what = f"a {type(one).__name__}" if type(one) is not np.ndarray else "an array of objects"
        raise SolutionRaisedError(
            f"{FILE} returned {what}: it must be a plain NumPy array of floats"
        )


# ---- how a solution is made into an op's functions -----------------------------------------------


def own_backward(op: str, backward: Backward) -> tuple[Forward, Backward]:
    """Return the forward of ``plain`` with a backward."""
    plain: Implementation = OPS[op].implementations["plain"]
    return plain.forward, backward


def gradient_of(op: str, k: int, gradient: Callable[..., Any]) -> tuple[Forward, Backward]:
    """Return ``plain`` with another gradient of input `k`.

    Parameters
    ----------
    gradient : ``gradient(gy, *saved, **params)``
    """
    plain: Implementation = OPS[op].implementations["plain"]

    def backward(gy: Any, saved: Any, *, needs: tuple[bool, ...], **params: Any) -> Any:
        rest = tuple(need and i != k for i, need in enumerate(needs))
        found = list(plain.backward(gy, saved, needs=rest, **params))
        found[k] = gradient(gy, *saved, **params) if needs[k] else None
        return tuple(found)

    return plain.forward, backward
