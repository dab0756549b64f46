"""``minialex bench``: how fast is it, how fast could it be, and how fast are others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minialex.arrays import device as device_named
from minialex.autograd import OPS, ROUTINES, check_precision, using
from minialex.bench import Bench, Record, compare, measure, read, write
from minialex.bench.choice import KINDS, default_peers, plan
from minialex.bench.compare import LEAST, SIGMAS, Change
from minialex.bench.machine import BUSY
from minialex.bench.peers import PEERS
from minialex.bench.pictures import draw
from minialex.bench.record import FILE
from minialex.bench.runner import Progress as Report
from minialex.bench.tables import TABLES, Table, duration, refusals, table_of
from minialex.cli.emulation import precision_option
from minialex.cli.options import console, device_option, messages, table
from minialex.errors import MinialexError
from minialex.models import VARIANTS


@click.command()
@click.option(
    "--op",
    "wanted",
    multiple=True,
    metavar="NAME",
    help=f"What to measure: an op such as conv2d, or {', '.join(KINDS)}. Again for more.  [all]",
)
@click.option(
    "--implementation",
    "implementations",
    multiple=True,
    metavar="NAME",
    help="Which implementations beside array, such as tiled. Again for more.  [all that run]",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click.Choice([*VARIANTS, "all"]),
    help="Whose layers. Again for more.  [alexnet]",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.IntRange(min=1),
    help="Images at once. Again for more.  [32; 8 with --quick]",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([*PEERS, "none"]),
    help="Whom to compare with, where installed. Again for more.  [all; no P2, P3 with --quick]",
)
@precision_option()
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU cores to use.  [all]")
@click.option("--quick", is_flag=True, help="Fewer repetitions, smaller batch: for a first look.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Begin nothing new after so long.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the record and the pictures go.  [runs/bench-DATE-TIME]",
)
@click.option(
    "--compare",
    "pair",
    nargs=2,
    type=click.Path(path_type=Path, exists=True),
    metavar="OLD NEW",
    help="Measure nothing: list what got slower from one record to the next.",
)
def bench(
    wanted: tuple[str, ...],
    implementations: tuple[str, ...],
    networks: tuple[str, ...],
    batches: tuple[int, ...],
    peers: tuple[str, ...],
    precision: str,
    device: str,
    threads: int | None,
    quick: bool,
    minutes: float | None,
    out: Path | None,
    pair: tuple[Path, Path] | None,
) -> None:
    """Measure speed: layers, optimizers, image loading, whole training steps.

    Every result is compared with another way of computing it before anything is timed. Each time
    is shown beside what the machine could do (a large matrix product and a large copy are timed in
    the same run) and beside PyTorch, JAX and CuPy where they are installed.

    \b
    minialex bench --quick                      a first look
    minialex bench --op conv2d --batch 32       one op, every layer that uses it
    minialex bench --op step --op inference     whole networks
    minialex bench --compare runs/OLD runs/NEW  what got slower?  (exit status 1 if anything did)
    """
    if pair:
        _compare(*pair)
        return
    names = list(VARIANTS) if "all" in networks else list(networks) or ["alexnet"]
    to_do = plan(names, list(batches) or [8 if quick else 32], list(wanted), quick=quick)
    to_do.peers = [p for p in PEERS if p in (peers or default_peers(quick))]
    to_do.threads, to_do.minutes = threads, minutes
    _check_implementations(implementations, {case.op for case in to_do.cases})
    place = Bench(device_named(device), tuple(implementations) or None)
    out = out or Path("runs") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    if (out / FILE).exists():
        raise MinialexError(f"{out / FILE} is there already: choose another --out, or remove it")
    check_precision(precision, place.device)
    with _progress() as report, using(precision=precision):
        record = measure(to_do, place, report, keep=lambda record: write(record, out / FILE))
    write(record, out / FILE)
    _show(record, draw(record, out), out)


def _check_implementations(names: Iterable[str], ops: set[str]) -> None:
    """Refuse a name that nothing has of what is measured: whole networks have every op."""
    asked = [OPS[op] for op in ops] if ops <= OPS.keys() else [*OPS.values(), *ROUTINES.values()]
    there = sorted({name for one in asked for name in one.implementations})
    for name in names:
        if name not in there:
            raise MinialexError(
                f"no implementation {name!r} in what is measured; there is: {', '.join(there)}"
            )


@contextmanager
def _progress() -> Iterator[Report]:
    """Yield a function that shows how far the run is: a bar, or plain lines where piped."""
    if not messages.is_terminal:
        yield lambda done, total, what: messages.print(f"[{done + 1}/{total}] {what}")
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=messages, transient=True) as bar:
        task = bar.add_task("measuring the machine")
        yield lambda done, total, what: bar.update(
            task, completed=done, total=total, description=what
        )


def _show(record: Record, pictures: list[Path], out: Path) -> None:
    rows = [row for row in record.rows if any(t.timed for t in row.timings.values())]
    others = (TABLES[name](record) for name in ("memory", "imports", "kernels"))
    for frame in (table_of(record, rows), *others):
        if frame.cells:
            _print(frame)
    if rows:
        gemm, copy = (median(rates) / 1e9 for rates in (record.ceilings.gemm, record.ceilings.copy))
        console.print(
            f"This machine: {gemm:,.1f} GFLOP/s in a large matrix product, {copy:,.1f} GB/s in a "
            f"large copy, {record.threads['used']} threads."
        )
        console.print("Above 1 in a column NAME/this, NAME takes longer.")
    for line in refusals(record):
        console.print(f"not timed: {line}")
    if record.busy > BUSY:
        console.print(
            f"Other programs kept {record.busy:.1f} cores busy meanwhile: these times are worth "
            "little, those of peers even less. Measure again on an idle machine."
        )
    for what in record.settings["left_out"]:
        console.print(f"left out for want of time: {what}")
    for path in (out / FILE, *pictures):
        console.print(f"written: {path}")
    if record.wrong:
        raise click.exceptions.Exit(1)


def _print(frame: Table) -> None:
    """Print a table: framed on a terminal, as Markdown in full width where piped."""
    if not console.is_terminal:
        console.print(frame.markdown())
        return
    shown = table("", frame.headings[: frame.names], frame.headings[frame.names :])
    for row in frame.cells:
        shown.add_row(*row)
    console.print(shown)


def _compare(old: Path, new: Path) -> None:
    before, after = (read(path / FILE if path.is_dir() else path) for path in (old, new))
    found = compare(before, after)
    for ceiling, (was, now) in found.machine.items():
        console.print(f"the machine's {ceiling}: {was / 1e9:,.1f} -> {now / 1e9:,.1f} G/s")
    console.print(
        f"{len(found.changes)} times compared, the machine's own speed allowed for. The sweeps of "
        f"a run differ by {found.noise:.1%} typically; a change counts from {LEAST:.0%} or "
        f"{SIGMAS:g} times the noise of its case, if every sweep bears it out."
    )
    for verdict in ("slower", "faster"):
        changes = found.of(verdict)
        console.print(f"{verdict}: {len(changes) or 'nothing'}")
        if changes:
            _print(_changes(changes))
    for where, names in ((old, found.only_old), (new, found.only_new)):
        if names:
            console.print(f"only in {where}: {', '.join(names)}")
    if found.of("slower"):
        raise click.exceptions.Exit(1)


def _changes(changes: list[Change]) -> Table:
    headings = ["what", "implementation", "batch", "old", "new", "new/old", "noise allows"]
    cells = []
    for c in changes:
        figures = duration(c.old), duration(c.new), f"{c.factor:.2f}", f"{c.threshold:.2f}"
        cells.append([c.row.title, c.name, str(c.row.batch or ""), *figures])
    return Table(headings, cells, names=2)
