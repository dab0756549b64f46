"""``minialex gradcheck``: are the gradients right, op by op, implementation by implementation."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator

import click

from minialex import arrays
from minialex.arrays import Device
from minialex.bench import machine
from minialex.check import Verdict
from minialex.check.check_run import CheckRun
from minialex.check.running import NotRun, Row, run_checks
from minialex.check.selection import DTYPES, KINDS, Selection
from minialex.cli.emulation import device_under, emulate_option, running_on
from minialex.cli.gradcheck_table import PairLines, closing_lines
from minialex.cli.options import (
    SectionCommand,
    SectionOption,
    console,
    device_option,
    is_given,
    json_option,
    messages,
    number,
)
from minialex.cli.progress import counting


def _option(section: str, *names: str, **kw: object) -> Callable[..., Callable[..., None]]:
    return click.option(*names, cls=SectionOption, section=section, **kw)


@click.command(cls=SectionCommand, short_help="Check every gradient against its definition.")
@_option(
    "What",
    "--op",
    "ops",
    multiple=True,
    metavar="NAME",
    help="An op, a routine such as sgd, engine or schedule. Again for more.  [all]",
)
@_option(
    "What",
    "--implementation",
    "implementations",
    multiple=True,
    metavar="NAME",
    help="One such as tiled. Again for more.  [all that can run]",
)
@_option(
    "What",
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(DTYPES),
    help="A type. Again for more.  [both]",
)
@_option(
    "What",
    "--only",
    multiple=True,
    type=click.Choice(KINDS),
    help="A kind of check, of those below. Again for more.  [all]",
)
@_option(
    "What", "--mixed", is_flag=True, help="Each forward with the backward of each other one, too."
)
@_option(
    "What",
    "--full-size",
    "full",
    is_flag=True,
    help="AlexNet's layers as large as they are, by the adjoint identity.",
)
@_option(
    "What",
    "--batch",
    type=number,
    default=1,
    show_default=True,
    metavar="N",
    help="Images at full size.",
)
@device_option
@emulate_option(
    modes=("checked", "fast"),
    about="CUDA kernels too, on the CPU, with every access to memory checked. 'fast' checks none, "
    "and each implementation runs in a process of its own, which a wrong kernel may end.",
)
@click.option("--cases", "-v", is_flag=True, help="A line for each check, not for each type alone.")
@json_option
def gradcheck(
    ops: tuple[str, ...],
    implementations: tuple[str, ...],
    dtypes: tuple[str, ...],
    only: tuple[str, ...],
    mixed: bool,
    full: bool,
    batch: int,
    device: str,
    emulate: str | None,
    cases: bool,
    as_json: bool,
) -> None:
    """Check each op, routine (optimizers, image preparation), schedule, and the engine between ops.

    What an op gives is compared with its definition in plain loops, and what its backward gives
    with differences of that definition in float64, extrapolated until they settle. What rounding
    may do is worked out from a model, not from a tolerance. A line shows the check
    whose error takes the largest share of that. Memory that is not initialised holds NaN.

    \b
    values     output, gradients, known answers at kinks, the same bits when run again
    contract   nothing written that is not one's own, one gradient for each input, ...
    layouts    arrays with gaps, and at addresses where no vector begins
    sharing    work cut into several blocks for several workers, however small
    orders     with --emulate: the same bits in any order of threads
    deferred   gradients that are computed when they are used
    bfloat16   of bfloat16 arrays, what float32 gives, rounded once
    engine     gradients that add up, buffers, hooks

    \b
    PASS           equal as far as rounding lets one see
    FAIL           further apart: shown with index, values, receptive field, first guess
    INCONCLUSIVE   nothing wrong was seen, but a fault of one percent might have hidden

    Exit status 1 if anything fails; else 2 if anything could not be run, such as a kernel that does
    not compile. INCONCLUSIVE is shown with its reason and counted, but is no failure.

    With --json each line is an object: first {"environment": ...} with versions, BLAS, processor,
    device and compiler, then one for each check, or with "not_run" for checks that were not.

    \b
    Examples:
      minialex gradcheck                                  all, in array operations
      minialex gradcheck --emulate --op relu --op conv2d  CUDA kernels too, without a GPU
      minialex gradcheck --op linear --only contract      one kind of check alone
      minialex gradcheck --full-size --dtype float32      AlexNet's layers, as large as they are
    """
    if not full and is_given("batch"):
        raise click.UsageError("--batch is used with --full-size alone: leave it out")
    if full and only:
        raise click.UsageError("--only is not used with --full-size: leave one of them out")
    with running_on(emulate):
        where = arrays.device(device_under(emulate, device))
        chosen = Selection(
            ops, implementations, dtypes or DTYPES, where, full=full, batch=batch, mixed=mixed,
            only=only,
        )  # fmt: skip
        to_do = chosen.check_runs()
        if as_json:
            click.echo(json.dumps({"environment": _environment(where, emulate)}))
        done = list(_shown(_rows(chosen, to_do, as_json), to_do, as_json, cases))
    if not as_json:
        for line in closing_lines(done):
            console.print(line)
    if any(isinstance(row, NotRun) or row.verdict is Verdict.FAIL for row in done):
        raise click.exceptions.Exit(_exit_status(done))


def _exit_status(done: list[Row]) -> int:
    failed = any(not isinstance(row, NotRun) and row.verdict is Verdict.FAIL for row in done)
    return 1 if failed else 2


def _environment(device: Device, emulate: str | None) -> dict[str, object]:
    """Return where the checks run, as JSON has it."""
    return {
        "time": machine.now(),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "blas": machine.blas(),
        "machine": machine.machine(device),
        "device": str(device),
        "emulate": emulate,
        "compiler": machine.compiler(),
    }


def _rows(chosen: Selection, to_do: list[CheckRun], as_json: bool) -> Iterator[Row]:
    """Run the checks under a bar."""
    # the bar and the lines must share a console, or they overwrite each other
    done = 0
    with counting(console if console.is_terminal else messages, "checking") as move:
        for row in run_checks(chosen, to_do):
            yield row
            done += len(row.checks) if isinstance(row, NotRun) else 1
            move(done, len(to_do))


def _shown(rows: Iterable[Row], to_do: list[CheckRun], as_json: bool, cases: bool) -> Iterator[Row]:
    """Print each row as JSON, or those of each pair once they are there."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row.record()))
            yield row
        return
    lines = PairLines(to_do, cases)
    for _, group in itertools.groupby(rows, key=_pair_of):
        alike = list(group)
        lines(alike)
        yield from alike


def _pair_of(row: Row) -> object:
    return row.checks[0].pair if isinstance(row, NotRun) else row.pair
