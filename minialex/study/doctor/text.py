"""A report as lines of text."""

from __future__ import annotations

from minialex.study.doctor.report import KINDS, RunReport
from minialex.wording import counted, one_line


def lines(report: RunReport) -> list[str]:
    """Return a report as lines: what was found, each with its evidence, and what was not seen."""
    steps = "" if report.steps is None else f" after {counted(report.steps, 'step')}"
    images = f", by {counted(report.images, 'training image')}" if report.images else ""
    text = [f"{report.run}{steps}: {_found(report)}{images}"]
    for n, one in enumerate(report.findings, 1):
        where = f": {one.where}" if one.where else ""
        text += [
            "",
            f"{n}. {KINDS[one.kind]}{where}",
            f"   evidence  {one.evidence}",
            f"   cause     {one.cause}",
            f"   try       {one.advice}",
        ]
    if report.follows:
        text += ["", "follows from the above"]
        text += [f"   {KINDS[one.kind]}: {one.evidence}" for one in report.follows]
    if report.unseen:
        text += ["", "not looked at", *(f"   {what}" for what in report.unseen)]
    return [one_line(line) for line in text]


def _found(report: RunReport) -> str:
    found = counted(len(report.findings), "finding") if report.findings else ""
    if report.blind:
        what = " and ".join(report.blind)
        return f"could not look at {what}: {found or 'nothing else found'}"
    return found or f"nothing found{' in what was looked at' if report.unseen else ''}"
