"""A report as lines of text."""

from __future__ import annotations

from minialex.study.doctor.report import KINDS, RunReport
from minialex.wording import counted, one_line


def lines(report: RunReport) -> list[str]:
    """Return a report as lines: what was found, each with its evidence, and what was not seen."""
    found = counted(len(report.findings), "finding") if report.findings else "nothing found"
    steps = "" if report.steps is None else f" after {counted(report.steps, 'step')}"
    text = [f"{report.run}{steps}: {found}, by {counted(report.images, 'training image')}"]
    for n, one in enumerate(report.findings, 1):
        where = f": {one.where}" if one.where else ""
        text += [
            "",
            f"{n}. {KINDS[one.kind]}{where}",
            f"   evidence  {one.evidence}",
            f"   cause     {one.cause}",
            f"   try       {one.advice}",
        ]
    if report.unseen:
        text += ["", "not looked at", *(f"   {what}" for what in report.unseen)]
    return [one_line(line) for line in text]
