"""Going through the cases: prove, then time, sweep after sweep, and keep everything in a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from minialex.arrays import CPU, on_device
from minialex.autograd import precision
from minialex.bench import ceilings, fresh, machine, pinning
from minialex.bench.case import IMPLEMENTATION, PEER, PLAIN, Bench, Case, Contender, Trial
from minialex.bench.clock import Clock, clock_for, interleaved
from minialex.bench.kernels import launched
from minialex.bench.peers import find
from minialex.bench.proof import Result, WrongResultError, check
from minialex.bench.record import Record, Row, Timing
from minialex.cuda.fault import check_context
from minialex.errors import MinialexError

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, their number, and what comes next."""


@dataclass
class Plan:
    """What is to be measured, and how thoroughly.

    Attributes
    ----------
    cases : list of Case
    peers : list of str
        Names from `minialex.bench.peers.PEERS`.
    sweeps, rounds : int
        How often all cases are gone over, and how many turns each contender has each time. At
        least two sweeps show the noise.
    threads : int, optional
        All cores where not given.
    minutes : float, optional
        Nothing new is begun after so long; what was left out is listed.
    memory : list of (network, batch)
        Training steps whose peak memory is taken, for us and every way of using PyTorch.
    imports : bool
        Whether import times are taken.
    """

    cases: list[Case]
    peers: list[str] = field(default_factory=list)
    sweeps: int = 3
    rounds: int = 3
    threads: int | None = None
    minutes: float | None = None
    memory: list[tuple[str, int]] = field(default_factory=list)
    imports: bool = False


def measure(
    plan: Plan,
    bench: Bench,
    progress: Progress = lambda done, total, what: None,
    keep: Callable[[Record], object] = lambda record: None,
) -> Record:
    """Return what was measured.

    Parameters
    ----------
    plan : Plan
    bench : Bench
        Its `peers` are filled in here.
    progress : callable, optional
    keep : callable, optional
        Called with what there is after each case, so that a run cut short leaves something.

    Raises
    ------
    MinialexError
        If there is nothing to measure.
    """
    if not (plan.cases or plan.memory or plan.imports):
        raise MinialexError("no case fits what was asked for: ask for other ops or networks")
    with pinning.pinned(plan.threads) as count, bench.stack, on_device(bench.device):
        bench.peers, absent = find(plan.peers, bench.device, count)
        run = _Run(plan, bench, _blank(plan, bench, absent, count), progress, keep)
        for _ in range(plan.sweeps if plan.cases else 0):
            run.sweep()
        run.processes()
        if bench.device != CPU:
            run.record.machine["gpu"]["state after"] = machine.gpu_state(bench.device)
        return run.record


def _blank(plan: Plan, bench: Bench, absent: dict[str, str], count: int) -> Record:
    return Record(
        machine=machine.machine(bench.device),
        versions=machine.versions(),
        peers={peer.name: peer.description for peer in bench.peers},
        absent=absent,
        threads=pinning.describe(count),
        commit=machine.commit(),
        date=machine.now(),
        device=str(bench.device),
        settings={
            "sweeps": plan.sweeps,
            "rounds": plan.rounds,
            "left_out": [],
            "precision": precision(),
        },
        rows=[
            Row(c.op, c.what, c.batch, list(c.labels), list(c.parts), c.count, c.images, {})
            for c in plan.cases
        ],
    )


class _Run:
    """One run: its plan, what it has found so far, and how far it is."""

    def __init__(
        self,
        plan: Plan,
        bench: Bench,
        record: Record,
        progress: Progress,
        keep: Callable[[Record], object],
    ) -> None:
        self.plan, self.bench, self.record, self.progress = plan, bench, record, progress
        self.keep = keep
        self.clock = clock_for(bench.device)
        self.began, self.done = time.monotonic(), 0
        fresh_ones = len(plan.memory) * (1 + len(self.rivals)) + plan.imports
        self.total = plan.sweeps * len(plan.cases) + fresh_ones

    @property
    def rivals(self) -> list[str]:
        """The peers that train whole networks."""
        return [name for name in self.record.peers if name.startswith("PyTorch")]

    def goes_on(self, what: str, *, begun: bool = False) -> bool:
        """Tell of the next step; return whether there is time for it.

        What was `begun` in an earlier sweep is not left out.
        """
        self.progress(self.done, self.total, what)
        self.done += 1
        limit = self.plan.minutes
        if limit is None or time.monotonic() - self.began < 60 * limit:
            return True
        left_out = self.record.settings["left_out"]
        if not begun and what not in left_out:
            left_out.append(what)
        return False

    def sweep(self) -> None:
        """Go over all cases once; the machine's ceilings first."""
        device, found = self.bench.device, self.record.ceilings
        first = not found.gemm
        found.busy.append(machine.busy_cores())
        found.gemm.append(ceilings.gemm(device, self.clock))
        found.copy.append(ceilings.copy(device, self.clock))
        for case, row in zip(self.plan.cases, self.record.rows, strict=True):
            if self.goes_on(row.full_title, begun=bool(row.timings)):
                try:
                    turn(case, row, self.bench, self.clock, self.plan.rounds, first=first)
                finally:
                    self.keep(self.record)

    def processes(self) -> None:
        """Measure what needs processes of its own."""
        for network, batch in self.plan.memory:
            for who in (fresh.OURS, *self.rivals):
                if self.goes_on(f"memory of {who}, {network}, batch {batch}"):
                    self.record.memory.append(self._memory(who, network, batch))
                    self.keep(self.record)
        if self.plan.imports and self.goes_on("imports"):
            self.record.imports = fresh.import_times()

    def _memory(self, who: str, network: str, batch: int) -> dict[str, object]:
        try:
            return fresh.peak_memory(who, network, batch, str(self.bench.device))
        except RuntimeError as error:
            return {"who": who, "network": network, "batch": batch, "reason": str(error)}


def turn(case: Case, row: Row, bench: Bench, clock: Clock, rounds: int, *, first: bool) -> None:
    """Make a case ready, prove whoever was not proved yet, and add a sweep of times to its row."""
    try:
        trial = case.make(bench)
    except WrongResultError as why:
        row.timings[PLAIN] = Timing(IMPLEMENTATION, reason=str(why), wrong=True)
        return
    if first:
        prove(trial, row, bench)
    runs = {
        c.name: c.calls.run
        for c in trial.contenders
        if c.name in row.timings and not row.timings[c.name].reason
    }
    for name, (warm, cold) in interleaved(runs, clock, rounds).items():
        row.timings[name].times.append(warm)
        if cold:
            row.timings[name].cold.append(cold)


def prove(trial: Trial, row: Row, bench: Bench) -> None:
    """Enter everybody into the row: a blank timing where the result is right, else the reason."""
    row.chosen = trial.chosen
    for name, why in trial.absent.items():
        row.timings[name] = Timing(_kind(name, bench), reason=why)
    for name, why in trial.broken.items():
        row.timings[name] = Timing(_kind(name, bench), reason=why, wrong=True)
    base: list[Result] | None = None
    for contender in trial.contenders:
        timing = row.timings[contender.name] = Timing(contender.kind)
        expected = trial.independent() if contender.name == PLAIN else base
        if expected is None:
            timing.reason = "there is no right result of the array implementation to compare with"
            continue
        try:
            got, timing.kernels = _result(contender, bench)
            timing.error = check(got, expected, contender.calls.bound or trial.bound)
        except Exception as why:
            # whatever it is that went wrong, nothing is timed
            timing.reason, timing.wrong = f"{type(why).__name__}: {why}", True
            check_context(f"{contender.name} in {row.full_title}")
            continue
        if contender.name == PLAIN:
            base = got


def _result(contender: Contender, bench: Bench) -> tuple[list[Result], list[dict[str, object]]]:
    """Return a contender's result, and what the kernels of ours that it launches take."""
    calls = contender.calls
    if bench.device == CPU or contender.kind == PEER or contender.name == PLAIN:
        return calls.result(), []
    got, kernels = launched(calls.result, bench.device)
    # a result that was there already launches nothing
    return got, kernels or launched(calls.run, bench.device)[1]


def _kind(name: str, bench: Bench) -> str:
    return "peer" if any(peer.name == name for peer in bench.peers) else IMPLEMENTATION
