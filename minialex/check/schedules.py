"""What is checked of learning-rate schedules: their factors at every step of some runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import reference
from minialex.arrays import CPU, Device
from minialex.check import comparison
from minialex.check.case_findings import CaseFindings
from minialex.check.kinds import Kind
from minialex.optim.schedules import NAMES, make_schedule
from minialex.wording import counted

STEPS_BEYOND = 3
"""So many steps after the last of a run are asked for too."""

ALLOWED = 16 * np.finfo(np.float64).eps
"""How far off a factor may be: what is multiplied over and over, as in the definition, rounds."""


FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True)
class ScheduleInUse:
    """A schedule, by its name; its factors are Python's floating-point numbers."""

    name: str
    dtype: Any = FLOAT64
    device: Device = CPU
    title: str = "schedule"

    def why_not(self) -> str:
        """Return an empty text: it can run."""
        return ""

    def launches_kernels(self) -> bool:
        """Return False."""
        return False

    def record(self) -> dict[str, str]:
        """Return what names it, as JSON has it."""
        return {"schedule": self.name, "dtype": str(self.dtype), "device": str(self.device)}

    def __str__(self) -> str:
        return f"{self.title} {self.name}"


@dataclass(frozen=True, eq=False)
class ScheduleCase:
    """The numbers of a run, as `make_schedule` takes them."""

    name: str
    numbers: Mapping[str, Any]


def _case(total: int, warmup: int, step_size: int = 7, gamma: float = 0.5) -> ScheduleCase:
    numbers = {"total": total, "warmup": warmup, "step_size": step_size, "gamma": gamma}
    name = f"{counted(total, 'step')}, {warmup} of warm-up, times {gamma} after each {step_size}"
    return ScheduleCase(name, numbers)


CASES = [
    *(_case(1, 0), _case(1, 1), _case(2, 1), _case(100, 0), _case(100, 10, 9, 0.1)),
    *(_case(100, 100), _case(600, 1), _case(600, 31, 1, 0.99)),
]


def check(one: ScheduleInUse, case: ScheduleCase) -> CaseFindings:
    """Compare the factors of all steps with those of the definition."""
    numbers = dict(case.numbers)
    steps = range(numbers["total"] + STEPS_BEYOND)
    factor = make_schedule(one.name, **numbers)
    got = np.array([factor(step) for step in steps])
    want = np.array([reference.schedule(one.name, step, **numbers) for step in steps])
    found = comparison.values("factors", got, want, np.ones(len(steps)), ALLOWED)
    return CaseFindings(one, case.name, (found,))


def schedules() -> list[ScheduleInUse]:
    """Return every schedule."""
    return [ScheduleInUse(name) for name in NAMES]


def cases_of(kind: Kind, one: ScheduleInUse) -> list[ScheduleCase]:
    """Return all cases where values are asked for, and none for another kind of check."""
    return CASES if kind is Kind.VALUES else []


CHECKS = {Kind.VALUES: check}
