"""Faults planted in kernels, as their wrong numbers are explained.

Of a wrong number the terms say that it is wrong. Which term it is wrong in is said where one change
of the terms gives it, or where the thread that wrote it reads other elements than the factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.autograd import OPS
from minialex.check import CASES, Case
from minialex.cuda.emulator import EmulationError
from minialex.cuda.source import edited
from minialex.errors import MinialexError
from minialex.study import Explanation, OpRun, explain_run, writing_thread
from minialex.study.suspicion import suspicion
from tests.campaigns.campaign import Campaign
from tests.cuda.zoo import Fault, faults
from tests.study.term_checks import made_by

FAULTS = [
    fault
    for fault in faults()
    if fault.op in OPS and not (fault.error or fault.layout or fault.check)
]
"""Those that make wrong numbers in a case of their op, wherever inputs lie."""

MAX_INPUT = 20_000

MAX_ELEMENTS = 40
"""So many wrong numbers of an array are looked at, the worst first."""

STEP = 29
"""From one attempt to the next, so that a few of them are of several ops."""


@dataclass(frozen=True)
class Explained:
    """What is said of the wrong numbers of a fault: of one, and of one in which a term is named."""

    wrong: Explanation | None
    named: str


def explained(fault: Fault) -> Explained:
    """Plant a fault, and explain the numbers that it makes wrong."""
    first = None
    with edited(fault.file, fault.old, fault.new):
        for wrong in _wrong_numbers(fault):
            first = first or wrong
            if suspected := suspicion(wrong):
                return Explained(wrong, str(suspected))
        return Explained(first, _by_reads(first) if first else "")


def _by_reads(wrong: Explanation) -> str:
    """Return what the thread reads that is no factor, or does not read that is one."""
    try:
        thread = writing_thread(wrong)
    except (MinialexError, EmulationError):
        return ""
    if thread.missing and not thread.missing_in_block and not thread.made_before:
        return f"{thread.missing[0]} is not read"
    return f"{thread.others[0]} is read" if thread.others and thread.written == 1 else ""


def _wrong_numbers(fault: Fault) -> Iterator[Explanation]:
    for case in CASES[fault.op]:
        runs = _runs(fault, case)
        if runs is None:
            continue
        right, run = runs
        wrong = [e for which in ("y", *right.gradients) for e in _wrong_in(right, run, which)]
        yield from wrong
        if wrong:
            return


def _runs(fault: Fault, case: Case) -> tuple[OpRun, OpRun] | None:
    """Return the case run right, and with the fault."""
    arrays = [a for a in case.draw(fault.op) if a is not None]
    if any(a.size > MAX_INPUT for a in arrays):
        return None
    dtype = np.dtype(fault.dtype).type
    try:
        faulty = made_by(fault.op, case, fault.implementation, dtype)
    except (MinialexError, EmulationError, ValueError):
        return None
    return made_by(fault.op, case, "plain", dtype), faulty


def _wrong_in(right: OpRun, run: OpRun, which: str) -> Iterator[Explanation]:
    """Yield explanations of wrong elements, the worst first."""
    want, got = right.array(which), run.array(which)
    if got.shape != want.shape or not want.size:
        return
    with np.errstate(all="ignore"):
        off = np.abs(np.asarray(got, float) - want)
    off = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, off)
    off = np.where(np.isnan(off), np.inf, off)
    order = np.argsort(-off.reshape(-1), kind="stable")[:MAX_ELEMENTS]
    for flat in order[off.reshape(-1)[order] > 0]:
        found = explain_run(run, which, tuple(map(int, np.unravel_index(flat, want.shape))))
        if not found.agrees:
            yield found


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Plant faults, and see that their numbers are explained to be wrong."""
    found = []
    for seed in seeds:
        fault = FAULTS[seed * STEP % len(FAULTS)]
        if explained(fault).wrong is None:
            found.append(f"seed {seed}: {fault}: no number is wrong by its terms")
    return found


CAMPAIGN = Campaign("faults in kernels", attempt, count=len(FAULTS), short=0)
