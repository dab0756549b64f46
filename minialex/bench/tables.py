"""Records as tables: what is shown, in which column, in how many digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from minialex.bench.case import PEER, PLAIN
from minialex.bench.layers import FORWARD
from minialex.bench.networks import INFERENCE, STEP
from minialex.bench.record import BenchRecord, BenchRow, Timing, flat, quartiles, ratio
from minialex.bench.roofline import COPY, floor_of, share
from minialex.errors import MinialexError
from minialex.wording import counted, unknown

WHOLE_NETWORKS = STEP, INFERENCE
LAYER_BATCH = 32
SUMMARY_BATCHES = (1, 32, 128)


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; the first `names` columns are words, the others numbers."""

    headings: list[str]
    cells: list[list[str]]
    names: int = 1

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---" if i < self.names else "---:" for i in range(len(self.headings))]
        return "\n".join(
            "| " + " | ".join(row) + " |" for row in (self.headings, rule, *self.cells)
        )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it, with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds / 1e-6)} us"


def three_digits(value: float) -> str:
    """Return a number with three significant digits, or all that it has before the point."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def with_spread(timing: Timing) -> str:
    """Return the median time, and half the interquartile range as a share of it."""
    low, middle, high = quartiles(flat(timing.times))
    return f"{duration(middle)} ±{(high - low) / 2 / middle:.0%}"


def ratio_cell(other: Timing | None, this: Timing) -> str:
    """Return how many times as long `other` took, median of pairs; "" where it was not timed."""
    if other is None or not other.timed:
        return ""
    return f"{ratio(other, this)[1]:.2f}"


def peers(rows: Iterable[BenchRow]) -> list[str]:
    """Return the peers that were timed in any of the rows, in order of appearance."""
    found: dict[str, None] = {}
    for row in rows:
        found |= {name: None for name, t in row.timings.items() if t.kind == PEER and t.timed}
    return list(found)


def implementations(row: BenchRow) -> dict[str, Timing]:
    """Return the implementations that were timed."""
    return {n: t for n, t in row.timings.items() if t.kind != PEER and t.timed}


def default_timing(row: BenchRow) -> Timing | None:
    """Return the timing of the default implementation, or of plain; None where neither is there."""
    return implementations(row).get(row.default) or implementations(row).get(PLAIN)


def table_of(record: BenchRecord, rows: list[BenchRow]) -> Table:
    """Return everything about some rows, one line per implementation.

    Columns that would hold the same in every line are omitted.
    """
    others, several = peers(rows), any(len(implementations(row)) > 1 for row in rows)
    if any(PLAIN in own and len(own) > 1 for own in map(implementations, rows)):
        others = [PLAIN, *others]
    cold = any(t.cold for row in rows for t in row.timings.values())
    batches = len({row.batch for row in rows if row.batch}) > 1
    headings = ["what", *["implementation"] * several, *["batch"] * batches, "time"]
    headings += [
        *["cold L2"] * cold,
        "GFLOP/s",
        "GB/s",
        "of ceiling",
        *(f"{name}/this" for name in others),
    ]
    cells = []
    for row in rows:
        for name, timing in implementations(row).items():
            words = [row.title, *[name] * several, *[str(row.batch or "")] * batches]
            shown = [with_spread(timing), *[_cold(timing)] * cold, *_rates(record, row, timing)]
            ratios = [ratio_cell(row.timings.get(name), timing) for name in others]
            cells.append([*words, *shown, *ratios])
    return Table(headings, cells, names=1 + several)


def _cold(timing: Timing) -> str:
    return duration(quartiles(flat(timing.cold))[1]) if timing.cold else ""


def _rates(record: BenchRecord, row: BenchRow, timing: Timing) -> list[str]:
    """Return GFLOP/s, GB/s, and the share of the ceiling and which."""
    if not row.work:
        return ["", "", ""]
    seconds, binding = timing.seconds, floor_of(row, record.ceilings).ceiling
    reached = share(row, seconds, record.ceilings) or 0.0
    rates = (three_digits(n / seconds / 1e9) for n in (row.flops, row.bytes))
    return [*rates, f"{reached:.0%} {binding}"]


def not_timed(record: BenchRecord) -> list[str]:
    """Return a line for each contender that was to be timed, and was not."""
    lines = [f"{name}: {why}" for name, why in record.unavailable.items()]
    seen: dict[tuple[str, str], list[BenchRow]] = {}
    for row in record.rows:
        for name, timing in row.timings.items():
            if timing.reason:
                seen.setdefault((name, timing.reason), []).append(row)
    for (name, why), rows in seen.items():
        where = rows[0].title + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
        lines.append(f"{name} in {where}: {why}")
    return lines


# The tables of the README and the docs


def machine_name(record: BenchRecord) -> str:
    """Return what to call the machine: its GPU, or its CPU and how much of it was used."""
    gpu = record.machine.get("gpu")
    threads = counted(record.threads["used"], "thread")
    return gpu["name"] if gpu else f"{record.machine['cpu']}, {threads}"


def machine_table(record: BenchRecord) -> Table:
    """Return where and when the record was made, and with what."""
    gpu = record.machine.get("gpu")
    facts = {
        "measured": record.date,
        "revision": record.commit or "unknown",
        "large matrix product": f"{three_digits(_median(record.ceilings.gemm) / 1e9)} GFLOP/s",
        "large copy": f"{three_digits(_median(record.ceilings.copy) / 1e9)} GB/s",
        "kept busy by other programs": f"{record.busy_cores:.1f} cores",
        **({"driver": gpu["state"].get("driver_version", "unknown")} if gpu else {}),
        **({"clocks": clocks(gpu)} if gpu else {}),
        "versions": ", ".join(f"{k} {v}" for k, v in record.versions.items()),
        "peers": "; ".join(f"{name} {how}" for name, how in record.peers.items()),
    }
    return Table([*facts], [[*facts.values()]], names=len(facts))


def clocks(gpu: dict[str, Any]) -> str:
    """Return a GPU's clocks under load, their maximum, and what limited them."""
    state = gpu.get("state under load") or {}
    if not state:
        return "not known"
    shown = (f"{state[f'clocks.{c}']} of {state[f'clocks.max.{c}']}" for c in ("sm", "mem"))
    multiprocessors, memory = shown
    limited_by = state.get("limited_by", "not known")
    return f"SM {multiprocessors}, memory {memory}; limited by: {limited_by}"


def _median(values: list[float]) -> float:
    return quartiles(values)[1]


def summary_table(record: BenchRecord) -> Table:
    """Return whole networks at a few batches, with default implementations."""
    rows = [row for row in record.rows if row.batch in SUMMARY_BATCHES]
    return whole_table(replace(record, rows=[_only_default(row) for row in rows]))


def _only_default(row: BenchRow) -> BenchRow:
    """Return the row without implementations that are not the default, if that was timed."""
    own = implementations(row)
    hidden = own.keys() - {row.default} if row.default in own else set()
    return replace(row, timings={n: t for n, t in row.timings.items() if n not in hidden})


def whole_table(record: BenchRecord) -> Table:
    """Return training steps and inference of whole networks, one line per implementation."""
    rows = [row for row in record.rows if row.op in WHOLE_NETWORKS and implementations(row)]
    networks = list(dict.fromkeys(row.labels[0] for row in rows))
    rows.sort(
        key=lambda row: (networks.index(row.labels[0]), WHOLE_NETWORKS.index(row.op), row.batch)
    )
    peer_names, several = peers(rows), any(len(implementations(row)) > 1 for row in rows)
    headings = ["network", "what", *["implementation"] * several]
    headings += ["batch", "time", "images/s", "of floor"]
    cells = []
    for row in rows:
        for name, timing in implementations(row).items():
            reached = f"{share(row, timing.seconds, record.ceilings) or 0:.0%}"
            rate = three_digits(row.images / timing.seconds)
            words = [row.labels[0], row.op, *[name] * several]
            shown = [str(row.batch), with_spread(timing), rate, reached]
            ratios = [ratio_cell(row.timings.get(name), timing) for name in peer_names]
            cells.append([*words, *shown, *ratios])
    headings += [f"{name}/this" for name in peer_names]
    return Table(headings, cells, names=2 + several)


def layer_rows(record: BenchRecord, batch: int = LAYER_BATCH) -> list[BenchRow]:
    """Return the rows of single ops of the networks at one batch."""
    return [r for r in record.rows if r.batch == batch and r.what.endswith(("gradient", FORWARD))]


def part_table(record: BenchRecord) -> Table:
    """Return where the time of one training step of the first network goes, op by op."""
    rows = [row for row in layer_rows(record) if row.per_step and default_timing(row)]
    network = rows[0].network if rows else ""
    rows = [row for row in rows if row.network == network]
    rows += [
        row for row in record.rows if row.op == "optimizer" and row.per_step and default_timing(row)
    ]
    peer_names = peers(rows)
    groups: dict[str, list[BenchRow]] = {}
    for row in rows:
        groups.setdefault(_group(row), []).append(row)
    cells = [[name, *_sums(record, group, peer_names)] for name, group in groups.items()]
    if rows:
        cells.append(["all", *_sums(record, rows, peer_names)])
    return Table(["part", "ceiling", "floor", "ours", *peer_names], cells, names=2)


def _group(row: BenchRow) -> str:
    return row.what if row.op == "optimizer" else f"{row.op} {row.what}"


def _sums(record: BenchRecord, rows: list[BenchRow], peer_names: list[str]) -> list[str]:
    floors = [floor_of(row, record.ceilings) for row in rows]
    moving = sum(
        f.seconds * r.per_step for f, r in zip(floors, rows, strict=True) if f.ceiling == COPY
    )
    least = sum(f.seconds * r.per_step for f, r in zip(floors, rows, strict=True))
    own = sum(t.seconds * row.per_step for row in rows if (t := default_timing(row)))
    others = [_sum_of(rows, name) for name in peer_names]
    ceiling = "copy" if moving > least / 2 else "gemm"
    return [ceiling, duration(least), duration(own), *others]


def _sum_of(rows: list[BenchRow], name: str) -> str:
    """Return a peer's time for some rows, nothing where it did not run all of them."""
    timings = [(row.timings.get(name), row.per_step) for row in rows]
    if any(t is None or not t.timed for t, _ in timings):
        return ""
    return duration(sum(t.seconds * count for t, count in timings if t is not None))


def loader_table(record: BenchRecord) -> Table:
    """Return images per second of the loader and of image preparation."""
    rows = [row for row in record.rows if row.op in ("loader", "images") and implementations(row)]
    cells = [
        [
            f"{row.labels[0]}, {row.what}",
            str(row.batch),
            duration(t.seconds),
            three_digits(row.images / t.seconds),
        ]
        for row in rows
        for t in implementations(row).values()
    ]
    return Table(["what", "batch", "time", "images/s"], cells)


def optimizer_table(record: BenchRecord) -> Table:
    """Return the optimizers."""
    return table_of(record, [row for row in record.rows if row.op == "optimizer"])


def memory_table(record: BenchRecord) -> Table:
    """Return the peak memory of a training step, and how much of it came after the imports."""
    found = {(m["network"], m["batch"], m["library"]): m for m in record.memory if "peak" in m}
    cells = []
    for (network, batch, library), m in found.items():
        mine = found.get((network, batch, "minialex"))
        shares = (
            [f"{a / b:.2f}" for a, b in zip(_held(mine), _held(m), strict=True)]
            if mine
            else ["", ""]
        )
        sizes = [f"{n / 2**20:,.0f} MiB" for n in _held(m)]
        both = zip(sizes, shares, strict=True)
        cells.append([network, library, str(batch), *(text for pair in both for text in pair)])
    headings = [
        "network",
        "library",
        "batch",
        "peak",
        "ours/this",
        "peak less imports",
        "ours/this",
    ]
    return Table(headings, cells, names=2)


def _held(measured: dict[str, Any]) -> tuple[int, int]:
    """Return the most that a process held, and how much of it came after its imports."""
    return measured["peak"], measured["peak"] - measured["base"]


def import_table(record: BenchRecord) -> Table:
    """Return import times."""
    return Table(["what", "time"], [[i["what"], duration(i["seconds"])] for i in record.imports])


def kernel_table(record: BenchRecord) -> Table:
    """Return what each kernel takes of the GPU."""
    kernels = {k["name"]: k for row in record.rows for t in row.timings.values() for k in t.kernels}
    cells = [
        [
            name,
            str(k["registers"]),
            str(k["spilled_bytes"]),
            f"{k['shared_bytes']:,}",
            f"{k['occupancy']:.0%}",
        ]
        for name, k in sorted(kernels.items())
    ]
    return Table(["kernel", "registers", "spilled bytes", "shared bytes", "occupancy"], cells)


TABLES: dict[str, Callable[[BenchRecord], Table]] = {
    "machine": machine_table,
    "summary": summary_table,
    "networks": whole_table,
    "parts": part_table,
    "layers": lambda record: table_of(record, layer_rows(record)),
    "optimizers": optimizer_table,
    "loader": loader_table,
    "memory": memory_table,
    "imports": import_table,
    "kernels": kernel_table,
}
"""The tables that a document can ask for, by name."""


def document_table(name: str, records: list[BenchRecord]) -> str:
    """Return a table of the rows of all records, as Markdown, one per machine.

    Raises
    ------
    MinialexError
        If there is no such table, or no record has rows for it.
    """
    if name not in TABLES:
        raise MinialexError(unknown("table", name, TABLES))
    tables: dict[tuple[str, ...], Table] = {}
    for record in records:
        table = TABLES[name](record)
        if table.cells:
            # several runs on one machine share a table
            key = (machine_name(record), *table.headings)
            tables.setdefault(key, replace(table, cells=[])).cells.extend(table.cells)
    if not tables:
        raise MinialexError(
            f"no record has rows for the table {name!r}: measure it with `minialex bench`"
        )
    return "\n\n".join(f"{key[0]}:\n\n{table.markdown()}" for key, table in tables.items())
