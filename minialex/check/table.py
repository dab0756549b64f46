"""What came of many checks, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from minialex.check.case_findings import CaseFindings
from minialex.check.verdict import Verdict
from minialex.wording import counted


def worst_of(done: Iterable[CaseFindings]) -> CaseFindings:
    """Return the row with the worst verdict; of those, the one that takes most of its bound."""
    order = list(Verdict)
    return max(done, key=lambda row: (order.index(row.verdict), row.worst.ratio))


def closing(done: Iterable[CaseFindings]) -> list[str]:
    """Return lines that count what was compared, and with which verdicts.

    They count by implementation, then by kind of check, and all together.
    """
    compared: Counter[str] = Counter()
    kinks: Counter[str] = Counter()
    by_name: dict[str, Counter[Verdict]] = {}
    by_kind: dict[str, Counter[Verdict]] = {}
    for row in done:
        name = f"{row.pair.title} {row.pair.name}"
        compared[name] += row.compared
        kinks[name] += sum(f.excluded for f in row.findings)
        by_name.setdefault(name, Counter())[row.verdict] += 1
        by_kind.setdefault(str(row.kind), Counter())[row.verdict] += 1
    lines = []
    for name in sorted(by_name):
        excluded = f", {kinks[name]} excluded at kinks (non-differentiable)" if kinks[name] else ""
        numbers = counted(compared[name], "number")
        lines.append(f"{name}: {_verdicts(by_name[name])}; {numbers} compared{excluded}")
    lines += [f"of kind {kind}: {_verdicts(found)}" for kind, found in by_kind.items()]
    total = sum(by_name.values(), Counter[Verdict]())
    every = ", ".join(f"{total[v]} {v}" for v in Verdict)
    numbers = counted(compared.total(), "number")
    return [*lines, f"{counted(len(by_name), 'implementation')}: {every}; {numbers} compared"]


def _verdicts(found: Counter[Verdict]) -> str:
    return ", ".join(f"{found[v]} {v}" for v in Verdict if found[v])
