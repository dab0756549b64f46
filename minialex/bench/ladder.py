"""The ladder: what each step of tuning costs in lines of code, and gains in time.

Of each op the layers of one training step are added up, forward and backward: a data gradient is
left out where no step needs it. Optimizers, image preparation and whole networks follow. Only what
was timed beside "plain", in one run, has a place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from minialex.bench.case import DEFAULT, PLAIN
from minialex.bench.images import IMAGES
from minialex.bench.layers import FORWARD
from minialex.bench.networks import STEP
from minialex.bench.optimizers import OPTIMIZER
from minialex.bench.record import BenchRecord, BenchRow
from minialex.bench.tables import (
    LAYER_BATCH,
    WHOLE_NETWORKS,
    Table,
    duration,
    implementations,
    layer_rows,
    machine_name,
)

NOT_MEASURED = "Not measured."


@dataclass
class _Rungs:
    """What stands together in the table: the rows of one op, optimizer or network."""

    rows: list[BenchRow] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The implementations timed in every row, if "plain" is one of several."""
        found = [n for n in implementations(self.rows[0]) if all(n in r.timings for r in self.rows)]
        found = [n for n in found if all(r.timings[n].timed for r in self.rows)]
        return found if PLAIN in found and len(found) > 1 else []

    def seconds(self, name: str) -> float:
        """Return the time that a training step spends in the rows: the medians' sum."""
        return sum(row.timings[name].seconds * max(row.per_step, 1) for row in self.rows)

    def lines(self, name: str) -> str:
        lines = self.rows[0].timings[name].lines
        return "" if lines is None else str(lines)


def ladder_table(record: BenchRecord) -> Table:
    """Return a line per op and implementation: its lines of code, its time, plain's over that."""
    cells = []
    for title, rungs in _groups(record).items():
        for name in rungs.names:
            default = " (default)" * (name == rungs.rows[0].default != DEFAULT)
            seconds = rungs.seconds(name)
            times = duration(seconds), f"{rungs.seconds(PLAIN) / seconds:.2f}"
            cells.append([title, name + default, rungs.lines(name), *times])
    return Table(["what", "implementation", "lines", "time", "plain/this"], cells, names=2)


def _groups(record: BenchRecord) -> dict[str, _Rungs]:
    """Return the rows that stand together, by title."""
    batches = {row.batch for row in record.rows if row.batch}
    batch = LAYER_BATCH if LAYER_BATCH in batches else min(batches, default=0)
    groups: dict[str, _Rungs] = {}
    layers = [row for row in layer_rows(record, batch) if row.per_step]
    for row in [row for row in layers if row.network == layers[0].network]:
        groups.setdefault(_layer_title(row, layers), _Rungs()).rows.append(row)
    for row in record.rows:
        if row.op == OPTIMIZER or (row.batch == batch and row.op in (IMAGES, *WHOLE_NETWORKS)):
            groups.setdefault(_title(row), _Rungs()).rows.append(row)
    return groups


def _layer_title(row: BenchRow, rows: list[BenchRow]) -> str:
    same = [r for r in rows if (r.op, r.what, r.network) == (row.op, FORWARD, row.network)]
    count = sum(r.per_step for r in same)
    return f"{row.network} {row.op}, {count} layer{'s' * (count > 1)}, batch {row.batch}"


def _title(row: BenchRow) -> str:
    if row.op in WHOLE_NETWORKS:
        what = "training step" if row.op == STEP else row.op
        return f"{row.labels[0]} {what}, batch {row.batch}"
    return row.full_title


def ladder(root: Path, records: list[tuple[Path, BenchRecord]]) -> str:
    """Return the ladders of all records as Markdown, or that there is none."""
    tables = [(machine_name(record), ladder_table(record)) for _, record in records]
    shown = [f"{name}:\n\n{table.markdown()}" for name, table in tables if table.cells]
    return "\n\n".join(shown) or NOT_MEASURED
