"""What is wrong with a run: ``minialex doctor``.

    report = examine("runs/digits")
    for finding in report.findings:
        print(finding.kind, finding.where, finding.evidence)

It reads what the run left behind (``reading``), puts its last network on three batches of its
images in memory (``network``, ``images``), and compares what was measured (``measured``,
``scores``) with limits (``rules``). Nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from minialex.study.doctor.measured import measure
from minialex.study.doctor.reading import open_run
from minialex.study.doctor.report import KINDS, RunFinding, RunReport
from minialex.study.doctor.rules import LIMITS, Limits, findings, sorted_out
from minialex.study.doctor.scores import blind, too_little

__all__ = ["KINDS", "LIMITS", "Limits", "RunFinding", "RunReport", "examine"]


def examine(run: str | Path, *, device: str = "auto", limits: Limits = LIMITS) -> RunReport:
    """Return what is wrong with a run.

    Parameters
    ----------
    run : str or Path
        Its folder.
    device : str
        Where its network is run.
    limits : Limits
        From where on something is a finding.

    Raises
    ------
    MinialexError
        If there is no run, its settings are damaged, or there is no such device.
    """
    m = measure(open_run(run), device)
    found, follows = sorted_out(m, findings(m, limits))
    return RunReport(
        run=str(run),
        steps=m.steps,
        images=len(m.sample.names) if m.sample else 0,
        findings=found,
        unseen=(*m.unseen, *too_little(m)),
        blind=blind(m),
        follows=follows,
    )
