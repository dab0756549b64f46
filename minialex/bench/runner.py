"""Going through the cases: verify, then time, repetition after repetition, into one record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from minialex.arrays import CPU, on_device
from minialex.autograd import precision
from minialex.bench import ceilings, machine, pinning, subprocess_probe
from minialex.bench.case import (
    IMPLEMENTATION,
    PEER,
    PLAIN,
    BenchCase,
    BenchContext,
    Contender,
    PreparedCase,
)
from minialex.bench.clock import Clock, clock_for, interleaved
from minialex.bench.correctness import Result, WrongResultError, check
from minialex.bench.estimate import TimeLeft, expected_seconds
from minialex.bench.occupancy import kernels_launched
from minialex.bench.peers import find_peers
from minialex.bench.record import BenchRecord, BenchRow, Timing
from minialex.cuda.fault import check_context
from minialex.errors import MinialexError

Progress = Callable[[int, int, str, float], None]
"""Called with the number of steps done, their number, what comes next, and the seconds left."""


@dataclass
class BenchPlan:
    """What is to be measured, and how thoroughly.

    Attributes
    ----------
    cases : list of BenchCase
    peers : list of str
        Names from `minialex.bench.peers.PEERS`.
    repetitions, rounds : int
        How often all cases are gone over, and how many rounds of each contender each time. At
        least two repetitions show the noise.
    threads : int, optional
        All cores where not given.
    minutes : float, optional
        Nothing new is begun after so long; the record lists what was not reached.
    memory : list of (network, batch)
        Training steps whose peak memory is taken, for us and every way of using PyTorch.
    imports : bool
        Whether import times are taken.
    """

    cases: list[BenchCase]
    peers: list[str] = field(default_factory=list)
    repetitions: int = 3
    rounds: int = 3
    threads: int | None = None
    minutes: float | None = None
    memory: list[tuple[str, int]] = field(default_factory=list)
    imports: bool = False


def measure(
    plan: BenchPlan,
    context: BenchContext,
    progress: Progress = lambda done, total, what, left: None,
    keep: Callable[[BenchRecord], object] = lambda record: None,
) -> BenchRecord:
    """Return what was measured.

    Parameters
    ----------
    plan : BenchPlan
    context : BenchContext
        Its `peers` are filled in here.
    progress : callable, optional
    keep : callable, optional
        Called with the record so far after each case, so that an interrupted run leaves it.

    Raises
    ------
    MinialexError
        If there is nothing to measure.
    """
    if not (plan.cases or plan.memory or plan.imports):
        raise MinialexError("no case fits what was asked for: ask for other ops or networks")
    with pinning.pinned(plan.threads) as count, context.stack, on_device(context.device):
        context.peers, unavailable = find_peers(plan.peers, context.device, count)
        record = _empty_record(plan, context, unavailable, count)
        run = _BenchRun(plan, context, record, progress, keep)
        for _ in range(plan.repetitions if plan.cases else 0):
            run.repeat_cases()
        run.probe_processes()
        if context.device != CPU:
            record.machine["gpu"]["state after"] = machine.gpu_state(context.device)
        return record


def _empty_record(
    plan: BenchPlan, context: BenchContext, unavailable: dict[str, str], threads: int
) -> BenchRecord:
    return BenchRecord(
        machine=machine.machine(context.device),
        versions=machine.versions(),
        peers={peer.name: peer.description for peer in context.peers},
        unavailable=unavailable,
        threads=pinning.describe(threads),
        commit=machine.commit(),
        date=machine.now(),
        device=str(context.device),
        settings={
            "repetitions": plan.repetitions,
            "rounds": plan.rounds,
            "not_reached": [],
            "precision": precision(),
        },
        rows=[empty_row(case) for case in plan.cases],
    )


def empty_row(case: BenchCase) -> BenchRow:
    """Return a case's row before anything is in it."""
    return BenchRow(
        op=case.op,
        what=case.what,
        batch=case.batch,
        labels=list(case.labels),
        work=list(case.work),
        per_step=case.per_step,
        images=case.images,
        timings={},
    )


class _BenchRun:
    """One run: its plan, its record so far, and how far it is."""

    def __init__(
        self,
        plan: BenchPlan,
        context: BenchContext,
        record: BenchRecord,
        progress: Progress,
        keep: Callable[[BenchRecord], object],
    ) -> None:
        self.plan, self.context, self.record, self.progress = plan, context, record, progress
        self.keep = keep
        self.clock = clock_for(context.device)
        self.start_seconds, self.done = time.monotonic(), 0
        processes = len(plan.memory) * (1 + len(self.training_peers)) + plan.imports
        self.total = plan.repetitions * len(plan.cases) + processes
        self.left = TimeLeft([], plan.repetitions, processes)

    @property
    def training_peers(self) -> list[str]:
        """The peers that train whole networks."""
        return [name for name in self.record.peers if name.startswith("PyTorch")]

    def within_budget(self, what: str, *, begun: bool = False) -> bool:
        """Report the next step to `progress`; return whether there is time for it.

        What was `begun` in an earlier repetition is not listed as not reached.
        """
        minutes, left = self.plan.minutes, self.left.seconds(self.done)
        if minutes is not None:
            left = min(left, 60 * minutes - (time.monotonic() - self.start_seconds))
        self.progress(self.done, self.total, what, left)
        self.done += 1
        if minutes is None or left > 0:
            return True
        not_reached = self.record.settings["not_reached"]
        if not begun and what not in not_reached:
            not_reached.append(what)
        return False

    def repeat_cases(self) -> None:
        """Go over all cases once; the machine's ceilings first."""
        device, found = self.context.device, self.record.ceilings
        first = not found.gemm
        found.busy_cores.append(machine.busy_cores())
        found.gemm.append(ceilings.gemm(device, self.clock))
        found.copy.append(ceilings.copy(device, self.clock))
        if first:
            self.left.expected = [
                expected_seconds(case, self.context, self.plan.rounds, found)
                for case in self.plan.cases
            ]
        for i, (case, row) in enumerate(zip(self.plan.cases, self.record.rows, strict=True)):
            if self.within_budget(row.full_title, begun=bool(row.timings)):
                start = time.monotonic()
                try:
                    run_case(case, row, self.context, self.clock, self.plan.rounds, first=first)
                finally:
                    self.left.taken[i] = time.monotonic() - start
                    self.keep(self.record)

    def probe_processes(self) -> None:
        """Measure what needs processes of its own."""
        for network, batch in self.plan.memory:
            for library in (subprocess_probe.OURS, *self.training_peers):
                if self.within_budget(f"memory of {library}, {network}, batch {batch}"):
                    self.record.memory.append(self._memory(library, network, batch))
                    self.keep(self.record)
        if self.plan.imports and self.within_budget("imports"):
            self.record.imports = subprocess_probe.import_times()

    def _memory(self, library: str, network: str, batch: int) -> dict[str, object]:
        try:
            return subprocess_probe.peak_memory(library, network, batch, str(self.context.device))
        except RuntimeError as error:
            return {"library": library, "network": network, "batch": batch, "reason": str(error)}


def run_case(
    case: BenchCase,
    row: BenchRow,
    context: BenchContext,
    clock: Clock,
    rounds: int,
    *,
    first: bool,
) -> None:
    """Make a case ready, verify its contenders the `first` time, and add a repetition of times."""
    try:
        prepared = case.prepare(context)
    except WrongResultError as why:
        row.timings[PLAIN] = Timing(IMPLEMENTATION, reason=str(why), failed=True)
        return
    if first:
        verify(prepared, row, context)
    runs = {
        c.name: c.workload.run
        for c in prepared.contenders
        if c.name in row.timings
        and not row.timings[c.name].reason
        and context.timed(c.name, prepared.default)
    }
    for name, (warm, cold) in interleaved(runs, clock, rounds).items():
        row.timings[name].times.append(warm)
        if cold:
            row.timings[name].cold.append(cold)


def verify(prepared: PreparedCase, row: BenchRow, context: BenchContext) -> None:
    """Enter all contenders into the row: an empty timing if the result is right, else why not."""
    row.default = prepared.default
    for name, why in prepared.unavailable.items():
        row.timings[name] = Timing(_kind(name, context), reason=why)
    for name, why in prepared.failed.items():
        row.timings[name] = Timing(_kind(name, context), reason=why, failed=True)
    baseline: list[Result] | None = None
    for contender in prepared.contenders:
        timing = row.timings[contender.name] = Timing(
            contender.kind, lines=prepared.lines.get(contender.name)
        )
        expected = prepared.independent() if contender.name == PLAIN else baseline
        if expected is None:
            timing.reason = "there is no right result of the plain implementation to compare with"
            continue
        try:
            got, timing.kernels = _result(contender, context)
            tolerance = contender.workload.tolerance or prepared.tolerance
            timing.error = check(got, expected, tolerance)
        except Exception as why:
            # whatever it is that went wrong, nothing is timed
            timing.reason, timing.failed = f"{type(why).__name__}: {why}", True
            check_context(f"{contender.name} in {row.full_title}")
            continue
        if contender.name == PLAIN:
            baseline = got


def _result(
    contender: Contender, context: BenchContext
) -> tuple[list[Result], list[dict[str, object]]]:
    """Return a contender's result, and what the kernels of ours that it launches take."""
    workload = contender.workload
    if context.device == CPU or contender.kind == PEER or contender.name == PLAIN:
        return workload.result(), []
    got, kernels = kernels_launched(workload.result)
    # a result that was there already launches nothing
    return got, kernels or kernels_launched(workload.run)[1]


def _kind(name: str, context: BenchContext) -> str:
    return PEER if any(peer.name == name for peer in context.peers) else IMPLEMENTATION
