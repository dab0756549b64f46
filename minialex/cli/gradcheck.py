"""``minialex gradcheck``: are the gradients right, op by op, implementation by implementation."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import click

from minialex import arrays
from minialex.check import CaseFindings, CheckRun, Verdict, check_runs, closing
from minialex.check.table import worst_of
from minialex.cli.emulation import device_under, emulate_option, running_on
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
from minialex.cuda.fault import check_context, lost_context

DTYPES = "float64", "float32"


def _option(section: str, *names: str, **kw: object) -> Callable[..., Callable[..., None]]:
    return click.option(*names, cls=SectionOption, section=section, **kw)


@click.command(cls=SectionCommand, short_help="Check every gradient against its definition.")
@_option("What", "--op", "ops", multiple=True, metavar="NAME", help="An op. Again for more.  [all]")
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
@emulate_option()
@click.option("--cases", "-v", is_flag=True, help="A line for each case, not for each type alone.")
@json_option
def gradcheck(
    ops: tuple[str, ...],
    implementations: tuple[str, ...],
    dtypes: tuple[str, ...],
    mixed: bool,
    full: bool,
    batch: int,
    device: str,
    emulate: str | None,
    cases: bool,
    as_json: bool,
) -> None:
    """Check each op: output, gradients, known answers at kinks, the same bits when run again.

    What an op gives is compared with its definition in plain loops, and what its backward gives
    with differences of that definition in float64, extrapolated until they settle. What rounding
    may do is worked out from a model, not from a tolerance. A line shows the case
    whose error takes the largest share of that. With --json each case is an object on a line of
    its own.

    \b
    PASS           equal as far as rounding lets one see
    FAIL           further apart: shown with index, values, receptive field, first guess
    INCONCLUSIVE   nothing wrong was seen, but a fault of one percent might have hidden

    Exit status 1 if anything fails. INCONCLUSIVE is shown with its reason and counted, but is no
    failure.

    \b
    Examples:
      minialex gradcheck                                  all ops in array operations
      minialex gradcheck --emulate --op relu --op conv2d  on CUDA kernels, without a GPU
      minialex gradcheck --emulate=checked --op linear    and every memory access checked
      minialex gradcheck --full-size --dtype float32      AlexNet's layers, as large as they are
    """
    if not full and is_given("batch"):
        raise click.UsageError("--batch is used with --full-size alone: leave it out")
    with running_on(emulate):
        where = arrays.device(device_under(emulate, device))
        to_do = check_runs(
            ops=ops,
            implementations=implementations,
            dtypes=dtypes or DTYPES,
            device=where,
            full=full,
            batch=batch,
            mixed=mixed,
        )
        done = _show(to_do, as_json, cases)
    if done:
        pair, case = done[-1].pair, done[-1].case
        check_context(f"{pair.op.name} {pair.name} {pair.dtype}, case {case!r},")
    if not as_json:
        console.print("compared:")
        for line in closing(done):
            console.print(line)
    if any(row.verdict is Verdict.FAIL for row in done):
        raise click.exceptions.Exit(1)


def _show(to_do: list[CheckRun], as_json: bool, cases: bool) -> list[CaseFindings]:
    """Run the checks under a bar; print the rows of each pair, or as JSON each row, when done."""
    done: list[CaseFindings] = []
    # the bar and the lines must share a console, or they overwrite each other
    with counting(console if console.is_terminal else messages, "checking") as move:
        rows = _run(to_do, move)
        if as_json:
            for row in rows:
                click.echo(json.dumps(row.record()))
                done.append(row)
            return done
        lines = _PairLines(to_do, cases)
        for _, group in itertools.groupby(rows, key=lambda row: row.pair):
            alike = list(group)
            lines(alike)
            done += alike
    return done


def _run(to_do: list[CheckRun], move: Callable[[int, int], None]) -> Iterator[CaseFindings]:
    """Yield a row for each check, and none after one that took the GPU from this process."""
    for count, check in enumerate(to_do, 1):
        yield check.run()
        move(count, len(to_do))
        if lost_context():
            return


class _PairLines:
    """Prints what came of each pair: one line, or one a case; in full what did not pass."""

    def __init__(self, to_do: list[CheckRun], cases: bool) -> None:
        self.cases = cases
        self.op = max((len(t.pair.op.name) for t in to_do), default=0)
        self.name = max((len("implementation"), *(len(t.pair.name) for t in to_do)))
        count = "" if cases else "cases"
        self._line("op", "implementation", "type", count, "error/bound", "verdict", "worst case")

    def __call__(self, rows: list[CaseFindings]) -> None:
        worst = worst_of(rows)
        for row in rows if self.cases else [worst]:
            pair, finding = row.pair, row.worst
            count = "" if self.cases else str(len(rows))
            case = f"{row.case}: {finding.what}"
            figures = f"{finding.ratio:.3f}", str(row.verdict), case
            self._line(pair.op.name, pair.name, str(pair.dtype), count, *figures)
        for row in rows:
            if row.verdict is not Verdict.PASS:
                console.print(str(row), style="red" if row.verdict is Verdict.FAIL else "yellow")

    def _line(self, op: str, name: str, kind: str, count: str, *rest: str) -> None:
        ratio, verdict, case = rest
        head = f"{op:<{self.op}}  {name:<{self.name}}  {kind:<7}  {count:>5}"
        console.print(f"{head}  {ratio:>11}  {verdict:<12}  {case}")
