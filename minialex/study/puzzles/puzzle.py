"""A puzzle: a file with something missing or wrong in it, and the checks that a solution passes."""

from __future__ import annotations

import abc
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.check import Case, CaseFindings, Finding, Verdict
from minialex.check.selection import DTYPES
from minialex.wording import counted

SEEDS = 0, 1, 2
"""Of the numbers that the cases draw and, with kernels, of the orders in which threads run."""

BACKWARD, REPAIR, BARRIERS, SPEED = (
    "complete a backward",
    "repair a kernel",
    "find what may go",
    "make it faster",
)

MAX_LINES = 12
"""So many lines are told of what went wrong: the first findings."""

TYPES = tuple(np.dtype(name) for name in DTYPES)


class SolutionError(Exception):
    """A solution that cannot be checked at all; its arguments are the lines that say why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Puzzle(abc.ABC):
    """A task, a file to begin with, its checks, and the answer.

    Attributes
    ----------
    name : str
        Short and unique: ``"conv2d-weights"``.
    title : str
        A few words for the list.
    kind : str
        What is to be done, one of ``"complete a backward"``, ``"repair a kernel"``, ``"find what
        may go"`` and ``"make it faster"``.
    topic : str
        What it is about: ``"convolution"``.
    task : str
        What is given, what is to be done and what counts, in sentences.
    hint : str
        Where to look, without the answer.
    why : str
        Why the answer is right, in a sentence or two.
    """

    name: str
    title: str
    kind: str
    topic: str
    task: str
    hint: str
    why: str

    @property
    @abc.abstractmethod
    def start(self) -> str:
        """The text of the file to begin with."""

    @property
    @abc.abstractmethod
    def answer(self) -> str:
        """The text of a file that solves it."""

    @property
    @abc.abstractmethod
    def suffix(self) -> str:
        """How the names of its files end: ``".py"``."""

    @abc.abstractmethod
    def checks(self, text: str, seeds: Sequence[int] = SEEDS) -> Iterator[CaseFindings]:
        """Yield what each check finds in a solution, one after another.

        Parameters
        ----------
        text : str
            The whole file.
        seeds : sequence of int
            Which of `SEEDS`.

        Raises
        ------
        SolutionError
            If it cannot be checked at all.
        MinialexError
            If there is no C++ compiler, and it is a kernel.
        """

    @property
    @abc.abstractmethod
    def check_count(self) -> int:
        """How many checks a solution has to pass."""

    @property
    @abc.abstractmethod
    def checked_by(self) -> str:
        """What a solution has to pass, in a sentence."""

    def record(self) -> dict[str, object]:
        """Return what the list shows, as JSON has it."""
        return {"name": self.name, "title": self.title, "kind": self.kind, "topic": self.topic}


@dataclass(frozen=True)
class PuzzleResult:
    """What came of a solution.

    Attributes
    ----------
    verdict : Verdict
        PASS or FAIL.
    checks, compared : int
        How many checks ran, to the first that failed, and how many numbers they compared.
    lines : tuple of str
        What went wrong; empty for PASS.
    printed : str
        The beginning of what the solution printed meanwhile.
    """

    verdict: Verdict
    checks: int = 0
    compared: int = 0
    lines: tuple[str, ...] = ()
    printed: str = ""

    def record(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return dataclasses.asdict(self) | {"verdict": str(self.verdict), "lines": list(self.lines)}


def result_of(
    puzzle: Puzzle, text: str, after_check: Callable[[int], object] = lambda number: None
) -> PuzzleResult:
    """Check a solution in this process, to the first check that fails.

    Parameters
    ----------
    after_check : ``after_check(number)``
        Is called after each check, with how many there were.

    Raises
    ------
    MinialexError
        If there is no C++ compiler, and it is a kernel.
    """
    checks = compared = 0
    try:
        for row in puzzle.checks(text):
            checks, compared = checks + 1, compared + row.compared
            after_check(checks)
            if row.verdict is Verdict.FAIL:
                return PuzzleResult(Verdict.FAIL, checks, compared, _told(row))
    except SolutionError as error:
        return PuzzleResult(Verdict.FAIL, checks, compared, tuple(map(str, error.args)))
    if not compared:
        # what compares nothing has shown nothing
        return PuzzleResult(Verdict.FAIL, checks, compared, ("no number was compared",))
    return PuzzleResult(Verdict.PASS, checks, compared)


def _told(row: CaseFindings) -> tuple[str, ...]:
    """Return where a check failed, and its findings in the checker's own words."""
    asked = "" if row.kind == "values" else f", {row.kind}"
    lines = [f"case {row.case!r}, {row.pair.dtype}{asked}"]
    for finding in row.findings:
        if finding.verdict is Verdict.FAIL:
            lines += [f"  {line}" for line in _plainly(finding).splitlines()]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"  ... and {counted(len(lines) - MAX_LINES, 'line')} more"]
    return tuple(lines)


def _plainly(finding: Finding) -> str:
    """Return a finding without the verdict, which the first line has."""
    text = str(finding).removeprefix(f"{finding.verdict} ")
    # what a check says of an exception begins with its type
    own = r"((\w+ raised )?Solution\w*Error|EmulationError): "
    return re.sub(own, "", re.sub(rf"^running at all\n\s*{own}", "", text))


@functools.lru_cache(maxsize=4096)
def redrawn(case: Case, seed: int) -> Case:
    """Return a case with other numbers for each seed, and its own for 0."""
    # cases draw from a generator that is seeded by their name
    return dataclasses.replace(case, name=f"{case.name} (drawn anew, {seed})") if seed else case
