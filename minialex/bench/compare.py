"""What got slower from one record to the next, beyond the noise measured in both.

The statistic
-------------
A run goes over all its cases several times; each time is a repetition, and each repetition measures
the machine's ceilings anew. Let q be the time of a case in the fastest round of a repetition
(whatever else runs on the machine only ever adds time). In the new run it is divided by what the
machine explains: how much slower the ceiling that binds the case became, but no more than the
median of the cases that it binds became slower too. A ceiling alone is not evidence: a large copy
may run at half its rate, for the neighbours of a virtual machine, where no case does; and the cases
alone are not either, since a change of ours may have slowed all of them.

The noise of a case is sigma: the standard deviation of log q between the repetitions of one run,
pooled over both runs, or the typical one of all cases where that is larger.

A case is *slower* where both hold:

1. even the fastest repetition of the new run is slower than the slowest of the old one;
2. the medians over the repetitions differ by more than `MIN_CHANGE` and by more than `MIN_SIGMAS`
   times sigma.

*Faster* is the same the other way round. With three repetitions the first condition alone would
report one equal case in twenty; the second removes what noise explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, median

from minialex.bench.case import IMPLEMENTATION
from minialex.bench.record import BenchRecord, BenchRow, Ceilings, Timing
from minialex.bench.roofline import COPY, floor_of
from minialex.errors import MinialexError

MIN_CHANGE = 0.05
"""Differences of medians below this share are never reported."""

MIN_SIGMAS = 4.0
"""How many times the measured noise a difference must be."""


@dataclass(frozen=True)
class Change:
    """One implementation of one case, in both runs.

    Attributes
    ----------
    row : BenchRow
        The new one.
    name : str
        The implementation's.
    old, new : float
        Median seconds.
    factor : float
        How many times as long the new one takes, after allowing for the machine.
    threshold : float
        The factor that noise may reach.
    verdict : "slower", "faster" or "same"
    """

    row: BenchRow
    name: str
    old: float
    new: float
    factor: float
    threshold: float
    verdict: str


@dataclass(frozen=True)
class RecordComparison:
    """Two records compared.

    Attributes
    ----------
    changes : list of Change
        The largest factor first.
    noise : float
        The typical sigma, as a share.
    machine : dict from ceiling to (old, new)
        Median rates.
    only_old, only_new : list of str
        What was timed in one of them alone: a case, or one implementation of it.
    """

    changes: list[Change]
    noise: float
    machine: dict[str, tuple[float, float]]
    only_old: list[str]
    only_new: list[str]

    def of(self, verdict: str) -> list[Change]:
        """Return the changes of one verdict."""
        return [c for c in self.changes if c.verdict == verdict]


@dataclass(frozen=True)
class _TimedPair:
    """One implementation of one case that both records have timed."""

    row: BenchRow
    name: str
    old: Timing
    new: Timing


def compare(old: BenchRecord, new: BenchRecord) -> RecordComparison:
    """Return what changed from `old` to `new`.

    Raises
    ------
    MinialexError
        If they were measured on different machines, devices or numbers of threads, have no timed
        case in common, or have too few repetitions to tell noise from change.
    """
    _check_comparable(old, new)
    pairs = _pairs(old, new)
    if not pairs:
        raise MinialexError("the two records have no timed case in common: measure the same cases")
    costs = _costs(pairs, old, new)
    noises = [_noise(before, after) for before, after in costs]
    typical = _typical(noises, costs)
    changes = [
        _change(pair, cost, max(noise, typical))
        for pair, cost, noise in zip(pairs, costs, noises, strict=True)
    ]
    return RecordComparison(
        changes=sorted(changes, key=lambda c: -c.factor),
        noise=typical,
        machine={
            "gemm": (median(old.ceilings.gemm), median(new.ceilings.gemm)),
            "copy": (median(old.ceilings.copy), median(new.ceilings.copy)),
        },
        only_old=_unpaired(old, new),
        only_new=_unpaired(new, old),
    )


def _check_comparable(old: BenchRecord, new: BenchRecord) -> None:
    for what, a, b in (
        ("machines", _machine(old), _machine(new)),
        ("devices", old.device, new.device),
        ("numbers of threads", old.threads.get("used"), new.threads.get("used")),
    ):
        if a != b:
            raise MinialexError(
                f"the two records come from different {what} ({a}; {b}): times of one say nothing "
                "about the other; measure both on one"
            )
    for record in (old, new):
        if len(record.ceilings.gemm) < 2:
            raise MinialexError(
                f"the record of {record.date} has a single repetition, which shows no noise: "
                "measure again with at least two"
            )


def _machine(record: BenchRecord) -> str:
    names = [record.machine.get(key) for key in ("cpu", "cores", "gpu")]
    return ", ".join(str(n.get("name") if isinstance(n, dict) else n) for n in names if n)


def _timed(row: BenchRow) -> dict[str, Timing]:
    """Return the implementations with times; peers are not ours to slow down."""
    return {n: t for n, t in row.timings.items() if t.kind == IMPLEMENTATION and t.timed}


def _pairs(old: BenchRecord, new: BenchRecord) -> list[_TimedPair]:
    before = {row.key: _timed(row) for row in old.rows}
    return [
        _TimedPair(row, name, before[row.key][name], timing)
        for row in new.rows
        for name, timing in _timed(row).items()
        if name in before.get(row.key, {})
    ]


def _unpaired(here: BenchRecord, there: BenchRecord) -> list[str]:
    """Return the names of what `here` has timed and `there` has not."""
    known = {row.key: _timed(row) for row in there.rows}
    names: list[str] = []
    for row in here.rows:
        timed, others = _timed(row), known.get(row.key, {})
        if timed and not timed.keys() & others.keys():
            names.append(row.full_title)
        else:
            names += [f"{row.full_title}: {name}" for name in timed if name not in others]
    return names


def _costs(
    pairs: list[_TimedPair], old: BenchRecord, new: BenchRecord
) -> list[tuple[list[float], list[float]]]:
    """Return q for each repetition of both runs, of each pair."""
    raw = [(_fastest(pair.old), _fastest(pair.new)) for pair in pairs]
    binding = [floor_of(pair.row, old.ceilings).ceiling for pair in pairs]
    moved = [log(median(after) / median(before)) for before, after in raw]
    explained = {
        one: _explained(
            _slowdown(old.ceilings, new.ceilings, one),
            median(m for m, bound in zip(moved, binding, strict=True) if bound == one),
        )
        for one in set(binding)
    }
    return [
        (before, [q / exp(explained[bound]) for q in after])
        for (before, after), bound in zip(raw, binding, strict=True)
    ]


def _fastest(timing: Timing) -> list[float]:
    return [min(times) for times in timing.times if times]


def _slowdown(old: Ceilings, new: Ceilings, binding: str) -> float:
    """Return the logarithm of how many times as long the machine takes now."""
    was, now = ((c.copy if binding == COPY else c.gemm) for c in (old, new))
    return log(median(was) / median(now))


def _explained(machine: float, cases: float) -> float:
    """Return what both show: the smaller of two shifts in the same direction, else 0."""
    return min(machine, cases, key=abs) if machine * cases > 0 else 0.0


def _noise(before: list[float], after: list[float]) -> float:
    """Return sigma of one case: the deviation between the repetitions of a run."""
    deviations = [log(q) - fmean(map(log, run)) for run in (before, after) for q in run]
    return sqrt(sum(d * d for d in deviations) / max(1, len(deviations) - 2))


def _typical(noises: list[float], costs: list[tuple[list[float], list[float]]]) -> float:
    """Return the median of the sigmas, corrected for the few repetitions each comes from."""
    freedom = max(1.0, median(len(before) + len(after) - 2 for before, after in costs))
    # the median of a chi-squared distribution with that many degrees of freedom, over their number
    return float(median(noises) / (1 - 2 / (9 * freedom)) ** 1.5)


def _change(pair: _TimedPair, costs: tuple[list[float], list[float]], noise: float) -> Change:
    before, after = costs
    moved = log(median(after) / median(before))
    threshold = max(log(1 + MIN_CHANGE), MIN_SIGMAS * noise)
    verdict = "same"
    if moved > threshold and min(after) > max(before):
        verdict = "slower"
    elif moved < -threshold and max(after) < min(before):
        verdict = "faster"
    return Change(
        row=pair.row,
        name=pair.name,
        old=pair.old.seconds,
        new=pair.new.seconds,
        factor=exp(moved),
        threshold=exp(threshold),
        verdict=verdict,
    )
