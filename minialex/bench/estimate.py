"""How long a run of the benchmark still takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from minialex.autograd import OPS
from minialex.bench.case import BenchCase, BenchContext
from minialex.bench.record import Ceilings

SECONDS_PER_ROUND = 0.12
"""What a round of a contender takes, however little it computes: waiting, and a round's length."""

WORK_PER_ROUND = 15
"""How often a round does the work of a case that is longer than a round, in the time that the
machine's ceilings allow for it: contenders run at a fraction of those, after a warm-up call."""

SECONDS_PER_PROCESS = 10.0
"""What a process takes that measures memory or imports."""


def expected_seconds(
    case: BenchCase, context: BenchContext, rounds: int, ceilings: Ceilings
) -> float:
    """Return roughly what a repetition of a case takes, from its work: right to a factor of 3."""
    there = OPS[case.op].implementations if case.op in OPS else {}
    names = [name for name, one in there.items() if not one.why_not(context.device)]
    contenders = max(len(context.selected(names)), 2) + len(context.peers)
    gemm, copy = ceilings.gemm[-1], ceilings.copy[-1]
    ideal = sum(flops / gemm + nbytes / copy for flops, nbytes in case.work)
    return contenders * rounds * (SECONDS_PER_ROUND + WORK_PER_ROUND * ideal)


@dataclass
class TimeLeft:
    """From what was expected of each case and what those before it took, how long the rest takes.

    Attributes
    ----------
    expected : list of float
        Seconds of each case in a repetition.
    repetitions : int
    processes : int
        How many processes follow.
    taken : dict from a case's number to float
        Seconds that it took when it was last run.
    """

    expected: list[float]
    repetitions: int
    processes: int
    taken: dict[int, float] = field(default_factory=dict)

    def seconds(self, done: int) -> float:
        """Return the time left where `done` steps were done: cases, repetition by repetition."""
        expected = sum(self.expected[i] for i in self.taken)
        scale = sum(self.taken.values()) / expected if expected else 1.0
        each = [self.taken.get(i, scale * e) for i, e in enumerate(self.expected)]
        steps = each * self.repetitions + [SECONDS_PER_PROCESS] * self.processes
        return sum(steps[done:])
