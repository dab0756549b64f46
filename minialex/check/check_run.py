"""One check: one case of one thing that is checked, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minialex.check import comparison, engine, full_size, kinds, routines, schedules, suite
from minialex.check.case_findings import CaseFindings, Checked
from minialex.check.contract import is_fault_of_op
from minialex.check.kinds import Kind
from minialex.check.poison import poisoned_memory

Checks = Mapping[Kind, Callable[[Any, Any], CaseFindings]]
Cases = Callable[[Kind, Any], Sequence[Any]]

_OF: dict[type, tuple[Checks, Cases]] = {
    suite.Pair: ({**kinds.CHECKS, Kind.FULL_SIZE: full_size.check}, kinds.cases_of),
    routines.RoutineImplementation: (routines.CHECKS, routines.cases_of),
    engine.Engine: (engine.CHECKS, engine.cases_of),
    schedules.Schedules: (schedules.CHECKS, schedules.cases_of),
}
"""By what is checked, how it is checked, and on which cases."""


def cases_of(kind: Kind, pair: Checked) -> Sequence[Any]:
    """Return the cases on which that is asked of a pair; none where it does not concern it."""
    return _OF[type(pair)][1](kind, pair)


@dataclass(frozen=True)
class CheckRun:
    """One case of one thing that is checked, and what is asked of it.

    Attributes
    ----------
    pair : Pair, RoutineImplementation, Engine or Schedules
    case : Case, RoutineCase, EngineCase or ScheduleCase
    kind : Kind
    """

    pair: Checked
    case: Any
    kind: Kind = Kind.VALUES

    def __repr__(self) -> str:
        return f"CheckRun({self.pair}, {self.kind}, case {self.case.name!r})"

    def run(self) -> CaseFindings:
        """Check it, with NaN in memory that is not initialised; an op that raises fails.

        Raises
        ------
        MinialexError, MemoryError
            If what fails is not the op but what it runs on; or if a kernel does not compile, which
            is the same for every case.
        """
        check = _OF[type(self.pair)][0][self.kind]
        try:
            with poisoned_memory():
                return check(self.pair, self.case)
        except Exception as failure:  # the other checks are run all the same
            if not is_fault_of_op(failure):
                raise
            return self.failed(f"{type(failure).__name__}: {failure}")

    def failed(self, reason: str) -> CaseFindings:
        """Return the row that says why it did not run to its end."""
        found = comparison.wrong("running at all", reason)
        return CaseFindings(self.pair, self.case.name, (found,), self.kind)
