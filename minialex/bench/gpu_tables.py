"""What was run and measured on which GPU, as tables for the documents, or that nothing was yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minialex.bench.record import BenchRecord
from minialex.bench.tables import Table, clocks
from minialex.errors import MinialexError
from minialex.plain_json import read_json
from minialex.study import proofs
from minialex.study.launch_times import BATCH, LaunchTimes, grouped, read_launch_times, total

NOT_RUN = "Not run on a GPU yet, and not measured."
EMULATED = (
    "On an architecture without tests in this list, what is said of accuracy, that of `tf32x3` "
    "above all, rests on the emulator."
)
NOT_MEASURED = "On a GPU: not measured."


def gpus(root: Path, records: list[tuple[Path, BenchRecord]]) -> str:
    """Return which GPUs the records are of: when, at which revision, driver and clocks, and where.

    Parameters
    ----------
    root : Path
        Of the source tree.
    records : list of (path, BenchRecord)
        Of the benchmark; those of a CPU are ignored.

    Raises
    ------
    MinialexError
        If a file that should be a record of tests or launches is not one.
    """
    rows = []
    for path in sorted((root / proofs.FOLDER).glob("*.json")):
        try:
            record = read_json(path)
            if not record["emulated"]:
                counts = ", ".join(f"{n} {what}" for what, n in record["tests"].items())
                rows.append(_row("tests", counts, path.relative_to(root), **record))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MinialexError(
                f"{path.name} is no record of tests/device.sh ({error!r})"
            ) from error
    for times in read_launch_times(root):
        facts = {"machine": times.machine, "date": times.date, "commit": times.commit}
        rows.append(_row("launches", _steps(times), times.path, **facts))
    for path, one in records:
        if "gpu" in one.machine:
            timed = sum(t.timed for row in one.rows for t in row.timings.values())
            outcome = f"{timed} times in {len(one.rows)} cases, {len(one.failed)} failed"
            facts = {"machine": one.machine, "date": one.date, "commit": one.commit}
            rows.append(_row("benchmark", outcome, path.relative_to(root), **facts))
    headings = ["GPU", "what", "date", "revision", "driver", "clocks", "outcome", "record"]
    table = Table(headings, rows, names=len(headings)).markdown() if rows else NOT_RUN
    return f"{table}\n\n{EMULATED}"


def _row(what: str, outcome: str, where: Path, **record: Any) -> list[str]:
    gpu = record["machine"]["gpu"]
    driver = gpu["state"].get("driver_version", "unknown")
    revision = record["commit"] or "unknown"
    about = [gpu["name"], what, record["date"][:10], revision, driver, clocks(gpu)]
    return [*about, outcome, f"`{where.as_posix()}`"]


def _steps(record: LaunchTimes) -> str:
    """Return the sums of a step's launches in each mode."""
    sums = []
    for mode in record.modes:
        if rows := record.of(mode):
            step = total(rows, "")
            sums.append(f"{mode}: {step.us / 1e3:.2f} ms in {step.launches} launches")
    return f"alexnet, batch {BATCH}, on the GPU alone: {', '.join(sums)}"


def launches(root: Path) -> str:
    """Return each launch of a training step beside its model and its floor, for each GPU."""
    tables = []
    for record in read_launch_times(root):
        for mode in record.modes:
            rows = record.of(mode)
            if not rows:
                # interrupted before that batch
                continue
            cells = [
                [
                    group.kernel,
                    group.what or f"{group.launches} launches",
                    f"{group.us:.1f}",
                    "none" if group.model_us is None else f"{group.model_us:.1f}",
                    f"{group.floor_us:.1f}",
                    f"{group.floor_us / group.us:.0%} {group.bound}",
                ]
                for group in [*grouped(rows), total(rows, "all")]
            ]
            headings = ["kernel", "what", "us", "model", "floor", "of floor"]
            head = f"{record.gpu['name']}, {mode}, batch {BATCH}, {record.date[:10]}:"
            tables.append(f"{head}\n\n{Table(headings, cells, names=2).markdown()}")
    return "\n\n".join(tables) or NOT_MEASURED


GPU_TABLES: dict[str, Callable[[Path, list[tuple[Path, BenchRecord]]], str]] = {
    "gpus": gpus,
    "launches": lambda root, records: launches(root),
}
"""The tables that say so where nothing was measured, by name."""
