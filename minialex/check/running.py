"""Runs checks one after another, whatever becomes of one of them.

Where kernels run unwatched a wrong one may end the process, or spoil memory that is not its own so
that another ends it later: there each pair has a process to itself. It is a new one, not a copy of
this: a copy would have the locks of threads that it has not.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from minialex.check.case_findings import CaseFindings
from minialex.check.check_run import CheckRun
from minialex.check.kinds import Kind
from minialex.check.selection import Selection
from minialex.check.verdict import Finding
from minialex.cuda import emulated, emulation, source
from minialex.cuda.fault import lost_context
from minialex.errors import MinialexError

SENT_BY_OTHERS = signal.SIGKILL, signal.SIGTERM
"""Signals that a fault of a kernel does not raise."""

ENDS_WITHIN = 600.0
"""Seconds in which a check in a process of its own has ended, or never will.

Spoilt memory may have a process wait for ever. A check takes seconds, except at
full size, where it takes what its layer does and is waited for.
"""


@dataclass(frozen=True)
class NotRun:
    """Checks of one pair that could not be run, and why."""

    checks: tuple[CheckRun, ...]
    reason: str

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        first = self.checks[0]
        return {
            **first.pair.record(),
            "kind": str(first.kind),
            "case": first.case.name,
            "not_run": len(self.checks),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        first, count = self.checks[0], len(self.checks)
        rest = f" and {count - 1:,} more" if count > 1 else ""
        return f"{first.pair}, {first.kind}, case {first.case.name!r}{rest}: {self.reason}"


Row = CaseFindings | NotRun

Sent = tuple[Finding, ...] | tuple[int, str]
"""A row as it comes from another process: findings, or how many checks were not run, and why."""


def run_checks(selection: Selection, checks: Sequence[CheckRun]) -> Iterator[Row]:
    """Yield what comes of each of `checks`, those that `selection` is of, in their order.

    Where a check cannot be run the others of its pair are not tried, unless it was for memory.
    After a kernel has corrupted this process's CUDA context, pairs have processes of their own.
    """
    for pair, group in itertools.groupby(checks, key=lambda check: check.pair):
        if lost_context() or (pair.launches_kernels() and _mode() == "fast"):
            yield from _elsewhere(selection, tuple(group))
        else:
            yield from _here(tuple(group))


def _mode() -> str | None:
    """Return how kernels are emulated; None where they are not."""
    now = emulation()
    return None if now is None else now.mode


def _here(checks: tuple[CheckRun, ...]) -> Iterator[Row]:
    """Run the checks of one pair in this process."""
    for i, check in enumerate(checks):
        try:
            row = check.run()
        except MemoryError:
            yield NotRun((check,), "not enough memory")
            continue
        except MinialexError as error:
            yield NotRun(checks[i:], str(error))
            return
        if lost := lost_context():
            reason = f"corrupted the CUDA context ({lost}): run it alone under compute-sanitizer"
            yield from _failed(checks[i:], reason, f"case {check.case.name!r} {reason}")
            return
        yield row


def _elsewhere(selection: Selection, checks: tuple[CheckRun, ...]) -> Iterator[Row]:
    """Run the checks of one pair in a process of their own; one that it dies of fails."""
    pair = checks[0].pair
    narrow = replace(selection, ops=(pair.title,), dtypes=(str(pair.dtype),))
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    arguments = theirs, narrow, pair.name, _mode(), source.edits()
    process = spawning.Process(target=run_and_send, args=arguments, daemon=True)
    with _interrupts_held_back():
        process.start()
    theirs.close()
    done = 0
    try:
        while done < len(checks):
            at_full_size = checks[done].kind is Kind.FULL_SIZE
            if not ours.poll(None if at_full_size else ENDS_WITHIN):
                yield from _unended(checks[done:])
                return
            row, count = _row(ours.recv(), checks[done:])
            if done + count == len(checks):
                # what was spoilt may be found when memory is given back
                process.join()
                if process.exitcode:
                    break
            yield row
            done += count
    except EOFError:
        process.join()
    finally:
        process.kill()
        process.join()
        ours.close()
    if checks[done:]:
        yield from _after_death(process.exitcode or 0, checks[done:])


def _row(sent: Sent, left: tuple[CheckRun, ...]) -> tuple[Row, int]:
    """Return the row of the first of the checks that are left, and of how many of them it is."""
    if isinstance(sent[0], int):
        count, reason = sent
        return NotRun(left[:count], reason), count
    return CaseFindings(left[0].pair, left[0].case.name, sent, left[0].kind), 1


def _failed(left: tuple[CheckRun, ...], reason: str, of_others: str) -> Iterator[Row]:
    """Yield that the first of the checks that are left failed, and that the others were not run."""
    yield left[0].failed(reason)
    if left[1:]:
        yield NotRun(left[1:], of_others)


def _unended(left: tuple[CheckRun, ...]) -> Iterator[Row]:
    """Yield what is to be said of the checks that are left where the first of them did not end."""
    reason = (
        f"did not end within {ENDS_WITHIN:g} s: a kernel loops for ever, or wrote outside its "
        "arrays; --emulate shows where"
    )
    yield from _failed(left, reason, f"the process did not end in case {left[0].case.name!r}")


def _after_death(status: int, left: tuple[CheckRun, ...]) -> Iterator[Row]:
    """Yield what is to be said of the checks that are left, the first of which the process ran."""
    by = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
    if status >= 0 or -status in SENT_BY_OTHERS:
        yield NotRun(left, f"its process {by}, perhaps for want of memory")
        return
    reason = f"its process {by}: a kernel wrote outside its arrays; --emulate shows where"
    yield from _failed(left, reason, f"the process {by} in case {left[0].case.name!r}")


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block a terminal's Ctrl-C in processes that are started inside: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_and_send(
    connection: Connection,
    selection: Selection,
    name: str,
    mode: str | None,
    edits: Mapping[Path, str],
) -> None:
    """Run the checks of the pair of that name, and send each row: a process's own program."""
    source.take_edits(edits)
    with emulated(mode) if mode else contextlib.nullcontext():
        checks = [check for check in selection.check_runs() if check.pair.name == name]
        for row in _here(tuple(checks)):
            told = row.findings if isinstance(row, CaseFindings) else (len(row.checks), row.reason)
            connection.send(told)
