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
class Schedules:
    """All schedules: functions of a step's number, in Python's floating-point numbers."""

    dtype: Any = FLOAT64
    device: Device = CPU
    title: str = "schedule"
    name: str = "plain"

    def why_not(self) -> str:
        """Return an empty text: they can run."""
        return ""

    def launches_kernels(self) -> bool:
        """Return False."""
        return False

    def record(self) -> dict[str, str]:
        """Return what names them, as JSON has it."""
        return {"schedule": self.name, "dtype": str(self.dtype), "device": str(self.device)}

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True, eq=False)
class ScheduleCase:
    """A schedule by its name, and the numbers of a run, as `make_schedule` takes them."""

    schedule: str
    numbers: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The schedule and the numbers."""
        n = self.numbers
        decay = f"times {n['gamma']} after each {n['step_size']}"
        return f"{self.schedule}, {counted(n['total'], 'step')}, {n['warmup']} of warm-up, {decay}"


def _numbers(total: int, warmup: int, step_size: int = 7, gamma: float = 0.5) -> dict[str, Any]:
    return {"total": total, "warmup": warmup, "step_size": step_size, "gamma": gamma}


RUNS = [
    *(_numbers(1, 0), _numbers(1, 1), _numbers(2, 1), _numbers(100, 0)),
    *(_numbers(100, 10, 9, 0.1), _numbers(100, 100), _numbers(600, 1), _numbers(600, 31, 1, 0.99)),
]
CASES = [ScheduleCase(name, numbers) for name in NAMES for numbers in RUNS]


def check(schedules: Schedules, case: ScheduleCase) -> CaseFindings:
    """Compare the factors of all steps with those of the definition."""
    steps = range(case.numbers["total"] + STEPS_BEYOND)
    factor = make_schedule(case.schedule, **case.numbers)
    got = np.array([factor(step) for step in steps])
    want = np.array([reference.schedule(case.schedule, step, **case.numbers) for step in steps])
    found = comparison.values("factors", got, want, np.ones(len(steps)), ALLOWED)
    return CaseFindings(schedules, case.name, (found,))


def cases_of(kind: Kind, schedules: Schedules) -> list[ScheduleCase]:
    """Return all cases where values are asked for, and none for another kind of check."""
    return CASES if kind is Kind.VALUES else []


CHECKS = {Kind.VALUES: check}
