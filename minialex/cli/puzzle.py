"""``minialex puzzle``: gradients to complete, kernels to repair, and whether they are right."""

from __future__ import annotations

import difflib
import json
import textwrap
from pathlib import Path

import click

from minialex.check import Verdict
from minialex.cli.options import console, file_argument, json_option, messages, print_table, table
from minialex.errors import MinialexError
from minialex.files import atomic_write, check_writable
from minialex.plain_json import read_text_file
from minialex.study.puzzles import PUZZLES, Puzzle, PuzzleResult, find, tried
from minialex.wording import counted

MAX_LINES_SHOWN = 60
"""A file to begin with that is longer is not printed, only written."""

LANGUAGES = {".py": "Python", ".cu": "CUDA", ".cuh": "CUDA"}
"""What a file is written in, by how its name ends."""


@click.group(short_help="Gradients to complete, kernels to repair, and whether they are right.")
def puzzle() -> None:
    """Complete a backward, repair a kernel, find what may go, make it faster.

    \b
    minialex puzzle list               what there is
    minialex puzzle show 10            a task, and the file to begin with
    minialex puzzle show 10 --out s.py write that file, and edit it
    minialex puzzle try 10 s.py        PASS, or FAIL and where it goes wrong
    minialex puzzle answer 10          the answer, and why

    A solution is checked on all cases that the package's own op is checked on, in both types, with
    other numbers each time; a kernel also under emulation that sees every access to memory, in
    several orders of threads, and where it is to be fast, by its profile. It has to be right, not
    to look like the answer. No GPU is needed; kernels need a C++ compiler.
    """


@puzzle.command("list")
@json_option
def list_puzzles(as_json: bool) -> None:
    """List the puzzles by number."""
    if as_json:
        records = [{"number": n, **one.record()} for n, one in enumerate(PUZZLES, 1)]
        click.echo(json.dumps(records, indent=2))
        return
    kinds = list(dict.fromkeys(one.kind for one in PUZZLES))
    for kind in kinds:
        rows = table(f"{kind[0].upper()}{kind[1:]}", ("N", "puzzle", "name", "about"), ())
        for n, one in enumerate(PUZZLES, 1):
            if one.kind == kind:
                rows.add_row(str(n), one.title, one.name, one.topic)
        print_table(rows)
    console.print(
        f"{counted(len(PUZZLES), 'puzzle')}; minialex puzzle show N prints the task of one, "
        "N being its number or name"
    )


@puzzle.command(short_help="Print a task, and the file to begin with.")
@click.argument("which", metavar="N")
@click.option("--hint", is_flag=True, help="Also say where to look.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the file.")
def show(which: str, hint: bool, out: Path | None) -> None:
    """Print the task of puzzle N, a number or a name, and the file to begin with.

    Nothing is written without --out, which refuses a file that is there already.
    """
    one = find(which)
    if out is not None:
        _check_new(out)
    console.print(f"{_number(one)}. {one.title}", style="bold")
    console.print(f"{one.kind}, about {one.topic}\n")
    console.print(_filled(one.task))
    if hint:
        console.print("\n" + _filled(f"Hint: {one.hint}"))
    console.print("\n" + _filled(f"Checked: {one.checked_by}."))
    lines = counted(one.start.count("\n"), "line")
    write_it = f"minialex puzzle show {_number(one)} --out solution{one.suffix} writes it"
    if out is not None:
        atomic_write(out, one.start.encode())
        messages.print(f"wrote {out}: edit it, then minialex puzzle try {_number(one)} {out}")
    elif one.start.count("\n") <= MAX_LINES_SHOWN:
        console.print(f"\nThe file to begin with; {write_it}:\n\n{one.start}", end="")
    else:
        console.print(f"\nThe file has {lines}: {write_it}")


@puzzle.command("try", short_help="Check a solution: PASS, or FAIL and where.")
@click.argument("which", metavar="N")
@file_argument("file", metavar="FILE")
@json_option
def try_solution(which: str, file: Path, as_json: bool) -> None:
    """Check FILE, a solution of puzzle N: PASS, or FAIL and where it goes wrong.

    The checks stop at the first that fails. Exit status 0 for PASS, 1 for FAIL.

    Shapes are fixed, and only numbers are drawn anew.

    FILE runs in a process of its own, with all that you may do: try only what you have read.
    What it prints is set aside, an exception is reported with its line, and what takes a minute
    for one check or ten for all, or prints without end, is ended. In Python, imports other than
    NumPy's and a few of Python's own are refused, so that calling the op itself is no solution. A
    file that is written to get around that may pass.
    """
    one = find(which)
    text = _read(file)
    _check_kind(one, file)
    with messages.status(_progress(one, 0)) as status:
        result = tried(one, text, after_check=lambda n: status.update(_progress(one, n)))
    if as_json:
        click.echo(json.dumps({"number": _number(one), "name": one.name, **result.record()}))
    else:
        _print(one, result)
    if result.verdict is Verdict.FAIL:
        raise click.exceptions.Exit(1)


@puzzle.command(short_help="Print the answer, and why it is right.")
@click.argument("which", metavar="N")
def answer(which: str) -> None:
    """Print the answer of puzzle N, as changes to the file to begin with, and why it is right."""
    one = find(which)
    console.print(f"{_number(one)}. {one.title}", style="bold")
    console.print("\n" + _filled(one.why) + "\n")
    changes = difflib.unified_diff(
        one.start.splitlines(), one.answer.splitlines(), "begun", "answer", lineterm=""
    )
    for line in changes:
        console.print(line)


def _number(one: Puzzle) -> int:
    return PUZZLES.index(one) + 1


def _progress(one: Puzzle, done: int) -> str:
    number = min(done + 1, one.check_count)
    return f"puzzle {_number(one)}: check {number:,} of {one.check_count:,}"


def _filled(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 92)


def _check_new(file: Path) -> None:
    if file.is_dir():
        raise MinialexError(f"{file} is a folder: name a file to write")
    if file.is_symlink() and not file.exists():
        raise MinialexError(f"{file} is a link to nothing: name another file, or remove that link")
    check_writable(file)
    if file.exists():
        raise MinialexError(f"{file} is there already: name another file, or move that one")


def _read(file: Path) -> str:
    try:
        return read_text_file(file).decode()
    except OSError as error:
        raise MinialexError(f"cannot read {file}: {error.strerror}: check the path") from None
    except ValueError as error:
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise MinialexError(f"cannot read {file}: {reason}: name the solution's file") from None


def _check_kind(one: Puzzle, file: Path) -> None:
    """Refuse a file in the other language, as its name says, before all its lines are wrong."""
    wanted, given = LANGUAGES[one.suffix], LANGUAGES.get(file.suffix.lower())
    if given not in (wanted, None):
        raise MinialexError(
            f"puzzle {_number(one)} wants a {wanted} file, {one.suffix}: {file} is named as {given}"
        )


def _print(one: Puzzle, result: PuzzleResult) -> None:
    checks, numbers = counted(result.checks, "check"), counted(result.compared, "number")
    console.print(f"{result.verdict} puzzle {_number(one)}, {one.title}", style="bold")
    if result.verdict is Verdict.PASS:
        console.print(f"  {checks} passed, {numbers} compared")
        console.print(f"  why: minialex puzzle answer {_number(one)}")
    else:
        for line in result.lines:
            console.print(f"  {line}")
        if result.checks:
            console.print(f"  check {result.checks:,} was the first that failed")
        console.print(f"  a hint: minialex puzzle show {_number(one)} --hint")
    if result.printed:
        console.print(f"  it printed: {result.printed!r}")
