"""What came of one check: all findings about one case of whatever is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from minialex.arrays import Device
from minialex.check.verdict import Finding, Verdict, worst


class Checked(Protocol):
    """What is checked: implementations of an op, one of a routine, the engine, or a schedule."""

    @property
    def title(self) -> str:
        """The name of the op or routine."""

    @property
    def name(self) -> str:
        """Which implementation, in short."""

    @property
    def dtype(self) -> Any:
        """The type that it is checked in."""

    @property
    def device(self) -> Device:
        """Where the arrays live."""

    def why_not(self) -> str:
        """Return why it cannot run; empty where it can."""

    def record(self) -> dict[str, str]:
        """Return what names it, as JSON has it."""

    def launches_kernels(self) -> bool:
        """Return whether it launches CUDA kernels."""


@dataclass(frozen=True)
class CaseFindings:
    """All findings about one case, in one kind of check.

    Attributes
    ----------
    pair : Checked
        What was checked: a `Pair`, where it is an op's.
    case : str
        The name of the case.
    findings : tuple of Finding
    kind : str
        What was asked; see `Kind`.
    """

    pair: Checked
    case: str
    findings: tuple[Finding, ...]
    kind: str = "values"

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return worst([f.verdict for f in self.findings])

    @property
    def worst(self) -> Finding:
        """Of the findings with the worst verdict, the one whose error takes most of its bound."""
        chosen = [f for f in self.findings if f.verdict is self.verdict]
        return max(chosen, key=lambda f: f.ratio)

    def record(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            **self.pair.record(),
            "kind": self.kind,
            "case": self.case,
            **self.worst.record(),
            "compared": self.compared,
            "excluded": sum(f.excluded for f in self.findings),
        }

    @property
    def compared(self) -> int:
        """How many numbers were compared."""
        return sum(f.compared for f in self.findings)

    def __str__(self) -> str:
        shown = [f for f in self.findings if f.verdict is self.verdict]
        kind = "" if self.kind == "values" else f", {self.kind}"
        head = f"{self.verdict} {self.pair}{kind}, case {self.case!r}"
        return "\n  ".join((head, *map(str, shown)))

    __repr__ = __str__
