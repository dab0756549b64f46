"""How well the noise model fits: how much of what is allowed right results take up.

From the root of a source tree,

    python -m tests.campaigns.noise_fit            # draws, and writes the record and the page
    python -m tests.campaigns.noise_fit --check    # status 1 where the page is not of the record

Drawn are single ops on random shapes (``tests/check/draws.py``), compared with their definitions,
and compositions of ops (``compositions.py``), compared with differences of themselves. The share of
the bound that an error takes is 1 where a right result would be accused.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from minialex.autograd import OPS
from minialex.bench.report import fill, fill_page
from minialex.bench.tables import Table
from minialex.check import Finding, Verdict, suite
from minialex.files import atomic_write
from tests.campaigns import compositions
from tests.check.draws import draw

PAGE, RECORD = Path("docs/checker.md"), Path("benchmarks/results/noise_fit.json")
QUANTILES = {"half of them": 0.5, "90 %": 0.9, "99 %": 0.99, "all": 1.0}

Group = tuple[str, str, str]
"""What was drawn, its type, and what was compared."""

Shares = dict[Group, list[float]]

Task = tuple[str, int]
"""What to draw, and the seed."""


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Only compare the page with the record.")
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="At a time.")
def main(check: bool, count: int, seed: int, jobs: int) -> None:
    """Draw, and write record and page, or only compare these."""
    if not check:
        atomic_write(RECORD, json.dumps(record(count, seed, jobs), indent=1).encode() + b"\n")
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    sys.exit(fill_page(PAGE, page(found), "tests.campaigns.noise_fit", check=check))


def record(count: int, seed: int, jobs: int) -> dict[str, Any]:
    """Return what became of so many draws of each kind, from a seed on."""
    shares: Shares = {}
    verdicts: Counter[tuple[str, str, str]] = Counter()
    accused: list[Task] = []
    tasks = [(kind, seed + i) for kind in ("op", "composition") for i in range(count)]
    with ProcessPoolExecutor(jobs) as workers:
        drawn = workers.map(_drawn, tasks, chunksize=50)
        for task, (kind, dtype, verdict, found) in zip(tasks, drawn, strict=True):
            verdicts[kind, dtype, verdict] += 1
            accused += [task] * (verdict == Verdict.FAIL)
            for group, share in found:
                shares.setdefault((kind, *group), []).append(share)
    return {
        "count": count,
        "seed": seed,
        "accused": accused,
        "verdicts": [[*key, n] for key, n in sorted(verdicts.items())],
        "shares": [[*key, len(s), *_quantiles(s)] for key, s in sorted(shares.items())],
    }


def _quantiles(shares: Sequence[float]) -> list[float]:
    return [float(f"{np.quantile(shares, q):.3g}") for q in QUANTILES.values()]


Drawn = tuple[str, str, str, list[tuple[tuple[str, str], float]]]


def _drawn(task: Task) -> Drawn:
    """Return kind, type and verdict of one draw, and what share of its bound each error takes."""
    kind, seed = task
    with np.errstate(all="ignore"):
        if kind == "composition":
            composition, report = compositions.check(seed)
            dtype = str(composition.inputs[0].dtype)
            return kind, dtype, str(report.verdict), list(_shares(report.findings, dtype))
        name, case = next(itertools.islice(draw(seed), 1))
        dtype = ("float64", "float32")[seed % 2]
        pair = suite.Pair(OPS[name], "plain", "plain", np.dtype(dtype))
        row = suite.check(pair, case)
        return kind, dtype, str(row.verdict), list(_shares(row.findings, dtype))


def _shares(findings: Sequence[Finding], dtype: str) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield what was compared and in which type, and the share, of what decided something."""
    for finding in findings:
        what = finding.what.split(" ")[0].rstrip(",")
        if what in ("output", "gradient") and finding.verdict is not Verdict.INCONCLUSIVE:
            wide = finding.what.endswith("in float64")
            yield ("float64" if wide else dtype, what), finding.ratio


def page(record: dict[str, Any]) -> Any:
    """Return what brings the text of the page up to date with a record."""
    return lambda text: fill(text, lambda name: _table(record), "noise")


def _table(record: dict[str, Any]) -> str:
    headings = ["drawn", "type", "compared", "comparisons", *QUANTILES]
    rows = [
        [f"{kind}s", dtype, what, f"{n:,}", *(f"{share:.2g}" for share in shares)]
        for kind, dtype, what, n, *shares in record["shares"]
    ]
    counts: Counter[tuple[str, str]] = Counter()
    for kind, _, verdict, n in record["verdicts"]:
        counts[kind, verdict] += n
    lines = [
        f"- {record['count']:,} {kind}s: "
        + ", ".join(f"{counts[kind, str(verdict)]:,} {verdict}" for verdict in Verdict)
        for kind in ("op", "composition")
    ]
    lines += [f"- FAIL: {kind} of seed {seed}" for kind, seed in record["accused"]]
    return "\n".join([Table(headings, rows, names=3).markdown(), "", *lines])


if __name__ == "__main__":
    main()
