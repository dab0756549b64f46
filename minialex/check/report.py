"""What came of a check as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from minialex.check.verdict import Finding, Verdict, worst


class GradientError(AssertionError):
    """A gradient that is wrong, or that could not be shown to be right."""


def check_numbers(who: str, *, seed: int, **tolerances: float) -> None:
    """Refuse a seed that is no whole number from 0, and a tolerance that is negative or NaN."""
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"{who}: seed is {seed!r}; give a whole number that is 0 or more")
    for name, value in tolerances.items():
        if not isinstance(value, Real) or not value >= 0:
            raise ValueError(f"{who}: {name} is {value!r}; give a number that is 0 or more")


@dataclass(frozen=True)
class Report:
    """What `gradcheck` found; true where every gradient passed.

    Attributes
    ----------
    findings : tuple of Finding
        One for each gradient, by name, and one for each other thing that is asked.
    remarks : tuple of str
        What was not checked, though one might think it was.
    """

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts."""
        return worst([f.verdict for f in self.findings])

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def record(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "verdict": str(self.verdict),
            "findings": [finding.record() for finding in self.findings],
            "remarks": list(self.remarks),
        }

    def __str__(self) -> str:
        return "\n".join((*map(str, self.findings), *self.remarks))

    __repr__ = __str__
