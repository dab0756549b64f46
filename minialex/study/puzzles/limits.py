"""What a profile of a kernel counts that a puzzle limits: bank conflicts, sectors, barriers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minialex.check import Case, CaseFindings, Finding, Pair, Verdict, comparison
from minialex.cuda.emulator.counts import Counts
from minialex.study.profile import profiled
from minialex.study.tracing import passes

GPU = "H100"
"""Whose profile is taken; conflicts, sectors and barriers are the same on all."""

CountedLine = tuple[str, int, float]
"""A file, a line of it, and what was counted there."""


@dataclass(frozen=True)
class Limit:
    """What a profile of a kernel must not exceed.

    Attributes
    ----------
    kernel : str
        Its name, without template arguments.
    what : str
        What is counted.
    lines : callable
        From the counts of a launch to what was counted on each line.
    most : float
        How much there may be, of all launches of the kernel together.
    """

    kernel: str
    what: str
    lines: Callable[[Counts], list[CountedLine]]
    most: float

    def finding(self, launches: Sequence[Counts]) -> Finding:
        """Return whether the launches of a profile keep to it."""
        own = [counts for counts in launches if counts.kernel.partition("<")[0] == self.kernel]
        counted = [(counts, line) for counts in own for line in self.lines(counts)]
        total = sum(number for _, (_, _, number) in counted)
        if not own:
            return comparison.wrong(f"profile of {self.kernel}", "the kernel was not launched")
        what = f"{self.what} in {self.kernel}"
        if any(counts.cut for counts in own):
            return comparison.wrong(
                what, "threads do more than a profile counts: is a loop endless?"
            )
        if total <= self.most:
            return Finding(what, Verdict.PASS, total, self.most, len(own))
        counts, (file, line, number) = max(counted, key=lambda one: one[1][2])
        text = counts.source.text((file, line))
        detail = f"counted {total:,.0f}, at most {self.most:,.0f} are allowed"
        return comparison.wrong(what, detail, f"{number:,.0f} of them at {file}:{line}: {text}")


def bank_conflicts(kernel: str, most: float = 0) -> Limit:
    """Limit the passes through the banks of shared memory beyond those that there must be."""
    return Limit(
        kernel,
        "passes through the banks of shared memory that conflicts add",
        lambda counts: [
            (row.file, row.line, row.wavefronts - row.least_wavefronts)
            for row in counts.memory
            if row.memory == "shared"
        ],
        most,
    )


def sectors(kernel: str, most: float) -> Limit:
    """Limit the sectors of global memory that are asked for."""
    return Limit(
        kernel,
        "sectors of 32 bytes of global memory",
        lambda counts: [
            (row.file, row.line, row.sectors) for row in counts.memory if row.memory == "global"
        ],
        most,
    )


def barriers(kernel: str, most: float) -> Limit:
    """Limit how often warps wait at barriers."""
    return Limit(
        kernel,
        "times that a warp waits at a barrier",
        lambda counts: [
            (row.file, row.line, row.requests) for row in counts.primitives if row.kind == "barrier"
        ],
        most,
    )


def shared_bytes(kernel: str, most: float) -> Limit:
    """Limit the shared memory of a block, of all launches together."""
    return Limit(
        kernel,
        "bytes of shared memory of a block",
        lambda counts: [(counts.plan.source.own_name, 1, counts.static_shared)],
        most,
    )


@dataclass(frozen=True)
class LimitedCase:
    """A case, and what a profile of forward and backward on it must not exceed."""

    case: Case
    limits: tuple[Limit, ...]

    def profile(self, pair: Pair) -> CaseFindings:
        """Profile forward and backward, and compare what was counted with the limits."""
        with profiled(GPU, max_blocks=None) as profile:
            for run in passes(pair, self.case):
                run()
            launches = [launch.counts for launch in profile.launches]
        found = tuple(limit.finding(launches) for limit in self.limits)
        return CaseFindings(pair, self.case.name, found, "profile")
