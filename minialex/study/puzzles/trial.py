"""Tries a solution in a process of its own, which may loop, print, or end as it likes."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from minialex.check import Verdict
from minialex.errors import MinialexError
from minialex.study.puzzles.catalogue import find
from minialex.study.puzzles.puzzle import Puzzle, PuzzleResult, result_of
from minialex.study.puzzles.solution_file import described
from minialex.wording import counted

SECONDS = 60
"""So long a single check may take, and what comes before the first: starting, and compiling a
kernel. Of the answers the slowest takes a tenth of it."""

TOTAL_SECONDS = 600
"""So long all checks of a solution may take together."""

MAX_BYTES = 16 << 20
"""A solution that prints more is ended."""

_TICK = 0.2
"""After so many seconds the limits are looked at again."""

MAX_PRINTED = 200
"""So many characters are kept of what a solution prints."""


def tried(
    puzzle: Puzzle,
    text: str,
    seconds: float = SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    after_check: Callable[[int], object] = lambda number: None,
) -> PuzzleResult:
    """Check a solution in a process of its own, which is ended at the limits of time and print.

    The process is no sandbox: the solution runs with all that its user may do.

    Parameters
    ----------
    puzzle : Puzzle
    text : str
        The whole file.
    seconds : float
        How long a check may take.
    total_seconds : float
        How long all may take together.
    after_check : ``after_check(number)``
        Is called after each check, with how many there were.

    Raises
    ------
    MinialexError
        If there is no C++ compiler, and it is a kernel.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="minialex-") as folder:
        printed = Path(folder) / "printed"
        process = spawning.Process(
            target=_work, args=(theirs, puzzle.name, text, str(printed)), daemon=True
        )
        process.start()
        theirs.close()
        try:
            limits = _TrialLimits(seconds, total_seconds, printed, time.monotonic())
            found = _received(ours, process, limits, after_check)
        finally:
            process.kill()
            process.join()
            ours.close()
        return dataclasses.replace(found, printed=_beginning(printed))


@dataclass(frozen=True)
class _TrialLimits:
    """When a solution is ended."""

    seconds: float
    total_seconds: float
    printed: Path
    began: float

    def exceeded(self, since: float) -> str:
        """Return which limit was exceeded by a check that runs since then; empty for none."""
        now = time.monotonic()
        if self.printed.exists() and self.printed.stat().st_size > MAX_BYTES:
            return f"it printed more than {MAX_BYTES >> 20} MiB: is there a loop without end?"
        if now - since > self.seconds:
            limit = counted(round(self.seconds), "second")
            return f"a check was not done after {limit}: is there a loop without end?"
        if now - self.began > self.total_seconds:
            limit = counted(round(self.total_seconds), "second")
            return f"not all checks were done after {limit}: it is too slow"
        return ""


def _received(
    ours: Connection,
    process: multiprocessing.process.BaseProcess,
    limits: _TrialLimits,
    after_check: Callable[[int], object],
) -> PuzzleResult:
    """Return what the process sends in the end, or why it sends nothing."""
    done, since = 0, limits.began
    while not (line := limits.exceeded(since)):
        if not ours.poll(_TICK):
            continue
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            line = _end(process.exitcode or 0)
            break
        if isinstance(found, str):
            raise MinialexError(found)
        if isinstance(found, PuzzleResult):
            return found
        done, since = found, time.monotonic()
        after_check(done)
    return PuzzleResult(Verdict.FAIL, done, lines=(line,))


def _end(status: int) -> str:
    by = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    return f"its process {by} before all checks were done"


def _beginning(printed: Path) -> str:
    if not printed.exists():
        return ""
    with open(printed, encoding="utf-8", errors="replace") as file:
        return file.read(MAX_PRINTED)


def _work(connection: Connection, name: str, text: str, printed: str) -> None:
    """Check a solution and send the result, or a message for the user: a process's own program."""
    # threads of libraries write where descriptors lead, too
    file = os.open(printed, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found: PuzzleResult | str
    try:
        found = result_of(find(name), text, connection.send)
    except MinialexError as error:
        found = str(error)
    except SystemExit as error:
        line = f"your file ended the program by itself, with {error.code!r}: take that out"
        found = PuzzleResult(Verdict.FAIL, lines=(line,))
    except BaseException as error:
        # Ctrl-C is ignored here: a KeyboardInterrupt is of the solution's own making, too
        found = PuzzleResult(Verdict.FAIL, lines=(described(error),))
    # once the result is there, the process is ended; a solution may have closed either
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(Exception):
            stream.flush()
    connection.send(found)
