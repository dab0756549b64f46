"""``minialex bench``: how fast is it, how fast could it be, and how fast are others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from math import isnan
from pathlib import Path
from statistics import median

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from minialex.arrays import CPU, Device
from minialex.arrays import device as device_named
from minialex.autograd import OPS, ROUTINES, Implementation, check_precision, using
from minialex.bench import BenchContext, BenchRecord, compare, measure, read, write
from minialex.bench.case import DEFAULT
from minialex.bench.compare import MIN_CHANGE, MIN_SIGMAS, Change, RecordComparison
from minialex.bench.ladder import ladder_table
from minialex.bench.machine import MAX_BUSY_CORES
from minialex.bench.peers import PEERS
from minialex.bench.plots import draw
from minialex.bench.record import FILE
from minialex.bench.runner import Progress as Report
from minialex.bench.selection import KINDS, default_peers, select_cases
from minialex.bench.tables import TABLES, Table, duration, not_timed, table_of
from minialex.cli.emulation import precision_option
from minialex.cli.options import console, device_option, messages, print_table, refuse_beside, table
from minialex.cli.progress import duration as clock_time
from minialex.errors import MinialexError
from minialex.files import make_folder
from minialex.models import VARIANTS
from minialex.wording import counted, unknown


def _not_nan(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and isnan(value):
        raise click.BadParameter("nan is not in the range x>=0.")
    return value


@click.command(short_help="Measure speed, and compare it with others' and before.")
@click.option(
    "--op",
    "ops",
    multiple=True,
    metavar="NAME",
    help=f"What to measure: an op such as conv2d, or {', '.join(KINDS)}. Repeatable.  [all]",
)
@click.option(
    "--implementation",
    "implementations",
    multiple=True,
    metavar="NAME",
    help="Which implementations beside plain, such as blocked; default: what runs where none is "
    "chosen, without timing plain. Repeatable.  [all that run]",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click.Choice([*VARIANTS, "all"]),
    help="Whose layers. Repeatable.  [alexnet]",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.IntRange(min=1),
    help="Images per call. Repeatable.  [32; 8 with --quick]",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([*PEERS, "none"]),
    help="Libraries to compare with, where installed. Repeatable.  "
    "[all; without P2 and P3 with --quick]",
)
@precision_option()
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU cores to use.  [all]")
@click.option("--quick", is_flag=True, help="Fewer repetitions, smaller batch: for a first look.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    callback=_not_nan,
    help="Start no new case after this time.  [no limit]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the record and the plots go.  [runs/bench-DATE-TIME]",
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
    ops: tuple[str, ...],
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
    the same run) and beside PyTorch, JAX and CuPy where they are installed. Where an op has several
    implementations, a table shows the lines of code and the time of each.

    \b
    minialex bench --quick                      a first look
    minialex bench --op conv2d --batch 32       one op, every layer that uses it
    minialex bench --op step --op inference     whole networks
    minialex bench --compare runs/OLD runs/NEW  what got slower?  (exit status 1 if anything did)
    """
    if pair:
        refuse_beside("--compare", click.get_current_context().params.keys() - {"pair"})
        _compare(*pair)
        return
    names = list(VARIANTS) if "all" in networks else list(networks) or ["alexnet"]
    plan = select_cases(names, list(batches) or [8 if quick else 32], list(ops), quick=quick)
    plan.peers = _peers(peers, quick)
    plan.threads, plan.minutes = threads, minutes
    context = BenchContext(device_named(device), tuple(implementations) or None)
    _check_implementations(implementations, {case.op for case in plan.cases}, context.device)
    out = out or Path("runs") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    if (out / FILE).exists():
        raise MinialexError(f"{out / FILE} exists: choose another --out, or remove it")
    check_precision(precision, context.device)
    # before anything is measured
    make_folder(out)
    try:
        with _progress() as report, using(precision=precision):
            record = measure(plan, context, report, keep=lambda record: write(record, out / FILE))
    except KeyboardInterrupt:
        if (out / FILE).exists():
            messages.print(f"what was measured until now: {out / FILE}")
        raise
    finally:
        with contextlib.suppress(OSError):
            # only an empty one goes
            out.rmdir()
    write(record, out / FILE)
    _show(record, draw(record, out), out)


def _peers(asked: tuple[str, ...], quick: bool) -> list[str]:
    """Return the peers that are asked for, in the order of `PEERS`; "none" alone means none."""
    if "none" in asked and len(asked) > 1:
        raise MinialexError("--peer none goes with no other peer: give one or the other")
    return [name for name in PEERS if name in (asked or default_peers(quick))]


def _check_implementations(names: Iterable[str], ops: set[str], device: Device) -> None:
    """Refuse a name that no measured op has, or none that runs; whole networks have every op."""
    routines = [OPS[op] for op in ops] if ops <= OPS.keys() else list(ROUTINES.values())
    known = sorted({name for routine in routines for name in routine.implementations})
    for name in (name for name in names if name != DEFAULT):
        if name not in known:
            raise MinialexError(unknown("implementation", name, [*known, DEFAULT]))
        there = [r.implementations[name] for r in routines if name in r.implementations]
        # what is no op, such as an optimizer's update, runs wherever the ops do
        reasons = [one.why_not(device) for one in there if isinstance(one, Implementation)]
        if reasons and all(reasons):
            # a CPU's names the emulator, under which nothing is timed
            on_cpu = "kernels are timed on a GPU, which --device names"
            why = on_cpu if device == CPU else reasons[0]
            raise MinialexError(f"implementation {name!r} does not run on {device}: {why}")


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """Yield a function that shows how far the run is: a bar, or plain lines where piped."""
    if not messages.is_terminal:
        yield lambda done, total, what, left: messages.print(
            f"[{done + 1}/{total}] {what}; about {clock_time(left)} left"
        )
        return
    columns = BarColumn(bar_width=10), MofNCompleteColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=messages, transient=True) as bar:
        task = bar.add_task("measuring the machine")

        def show(done: int, total: int, what: str, left: float) -> None:
            room = messages.width - len(f"{'':10} {total}/{total} ")
            text = f"{clock_time(left)} left: {what}"[:room]
            bar.update(task, completed=done, total=total, description=text)

        yield show


def _show(record: BenchRecord, plots: list[Path], out: Path) -> None:
    rows = [row for row in record.rows if any(t.timed for t in row.timings.values())]
    ladder = ladder_table(record)
    others = (TABLES[name](record) for name in ("memory", "imports", "kernels"))
    for frame in (table_of(record, rows), ladder, *others):
        if frame.cells:
            _print(frame)
    if rows:
        _explain_columns(record, ladder)
    for line in not_timed(record):
        console.print(f"not timed: {line}")
    if record.busy_cores > MAX_BUSY_CORES:
        console.print(
            f"Other programs kept {record.busy_cores:.1f} cores busy meanwhile: these times are "
            "not reliable, those of peers even less. Measure again on an idle machine."
        )
    for what in record.settings["not_reached"]:
        console.print(f"not reached in time: {what}")
    for path in (out / FILE, *plots):
        console.print(f"written: {path}")
    if record.failed:
        raise click.exceptions.Exit(1)


def _explain_columns(record: BenchRecord, ladder: Table) -> None:
    gemm, copy = (median(rates) / 1e9 for rates in (record.ceilings.gemm, record.ceilings.copy))
    console.print(
        f"This machine: {gemm:,.1f} GFLOP/s in a large matrix product, {copy:,.1f} GB/s in a "
        f"large copy, {counted(record.threads['used'], 'thread')}."
    )
    console.print("NAME/this: NAME's time divided by this line's; above 1, NAME takes longer.")
    if ladder.cells:
        console.print(
            "lines: of code that its forward and backward reach in minialex, without blank lines, "
            "comments and docstrings."
        )


def _print(frame: Table) -> None:
    """Print a table: framed on a terminal, as Markdown in full width where piped."""
    if not console.is_terminal:
        # Markdown would take the next line for another row
        console.print(frame.markdown() + "\n")
        return
    shown = table("", frame.headings[: frame.names], frame.headings[frame.names :])
    for row in frame.cells:
        shown.add_row(*row)
    print_table(shown)


def _compare(old: Path, new: Path) -> None:
    before, after = (read(path / FILE if path.is_dir() else path) for path in (old, new))
    found = compare(before, after)
    for ceiling, (was, now) in found.machine.items():
        console.print(f"the machine's {ceiling}: {was / 1e9:,.1f} -> {now / 1e9:,.1f} G/s")
    console.print(
        f"{counted(len(found.changes), 'time')} compared, after allowing for the machine's own "
        f"speed. The repetitions of a run differ by {found.noise:.1%} typically; a change counts "
        f"from {MIN_CHANGE:.0%} or {MIN_SIGMAS:g} times the noise of its case, if every repetition "
        "confirms it."
    )
    for verdict in ("slower", "faster"):
        changes = found.of(verdict)
        console.print(f"{verdict}: {len(changes) or 'nothing'}")
        if changes:
            _print(_changes(changes))
    _print_unpaired(found, old, new)
    if found.of("slower"):
        raise click.exceptions.Exit(1)


def _print_unpaired(found: RecordComparison, old: Path, new: Path) -> None:
    """Name what was not compared, because one of the records lacks it."""
    for where, names in ((old, found.only_old), (new, found.only_new)):
        if names:
            console.print(f"not compared, only in {where}: {len(names)}")
            for name in names:
                console.print(f"  {name}")


def _changes(changes: list[Change]) -> Table:
    headings = ["what", "implementation", "batch", "old", "new", "new/old", "noise allows"]
    cells = []
    for c in changes:
        figures = duration(c.old), duration(c.new), f"{c.factor:.2f}", f"{c.threshold:.2f}"
        cells.append([c.row.title, c.name, str(c.row.batch or ""), *figures])
    return Table(headings, cells, names=2)
