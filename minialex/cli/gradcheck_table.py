"""What ``minialex gradcheck`` prints: a line for each pair, then what was covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minialex.check import CaseFindings, CheckRun, Verdict, closing
from minialex.check.kinds import Kind
from minialex.check.running import NotRun, Row
from minialex.check.table import worst_of
from minialex.cli.options import console

_STYLES = {Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


class PairLines:
    """Prints what came of each pair: one line, or one per check; in full what did not pass."""

    def __init__(self, to_do: Sequence[CheckRun], cases: bool) -> None:
        self.cases = cases
        self.op = max((len(t.pair.title) for t in to_do), default=0)
        self.name = max((len("implementation"), *(len(t.pair.name) for t in to_do)))
        self.kind = max((len(t.kind) for t in to_do), default=0)
        count = "" if cases else "checks"
        self._line(
            "op", "implementation", "type", count, "error/bound", "verdict", "kind", "worst case"
        )

    def __call__(self, rows: Sequence[Row]) -> None:
        """Print the rows of a pair."""
        done = [row for row in rows if isinstance(row, CaseFindings)]
        for row in done if self.cases or not done else [worst_of(done)]:
            self._result(row, "" if self.cases else str(len(done)))
        for row in _to_be_told(done):
            console.print(str(row), style=_STYLES[row.verdict])
        for missing in rows:
            if isinstance(missing, NotRun):
                first = missing.checks[0]
                count = "" if self.cases else str(len(missing.checks))
                head = first.pair.title, first.pair.name, str(first.pair.dtype), count, "-"
                self._line(*head, "not run", first.kind, f"{first.case.name}: see below")

    def _result(self, row: CaseFindings, count: str) -> None:
        pair, finding = row.pair, row.worst
        head = pair.title, pair.name, str(pair.dtype), count, f"{finding.ratio:.3f}"
        self._line(*head, str(row.verdict), row.kind, f"{row.case}: {finding.what}")

    def _line(self, op: str, name: str, dtype: str, count: str, *rest: str) -> None:
        ratio, verdict, kind, case = rest
        head = f"{op:<{self.op}}  {name:<{self.name}}  {dtype:<7}  {count:>6}"
        console.print(f"{head}  {ratio:>11}  {verdict:<12}  {kind:<{self.kind}}  {case}")


def _to_be_told(done: Sequence[CaseFindings]) -> Iterator[CaseFindings]:
    """Yield what did not pass, but no case again whose numbers are wrong however it is run."""
    wrong = {row.case for row in done if (row.kind, row.verdict) == (Kind.VALUES, Verdict.FAIL)}
    for row in done:
        repeats = row.kind in (Kind.LAYOUTS, Kind.SHARING) and row.case in wrong
        if row.verdict is not Verdict.PASS and not repeats:
            yield row


def closing_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what was compared, and what could not be run."""
    yield "compared:"
    yield from closing([row for row in rows if isinstance(row, CaseFindings)])
    missing = [row for row in rows if isinstance(row, NotRun)]
    if missing:
        yield "could not be run:"
        yield from map(str, missing)
