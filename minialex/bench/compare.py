"""What got slower from one record to the next, beyond the noise that both measured.

The statistic
-------------
A run goes over all its cases several times; each pass is a sweep, and each sweep measures the
machine's ceilings afresh. Let q be the time of a case in the fastest round of a sweep (whatever
else runs on the machine only ever adds time). In the new run it is divided by what the machine
explains: how much slower the ceiling that binds the case became, but no more than the middle one of
the cases that it binds became slower too. A ceiling alone is no witness: a large copy may run at
half its rate, for the neighbours of a virtual machine, where no case does; and the cases alone
are none either, since all of them may have been slowed by what we did.

The noise of a case is sigma: the standard deviation of log q between the sweeps of one run, both
runs taken together, or the typical one of all cases where that is larger.

A case is *slower* where both hold:

1. even the fastest sweep of the new run is slower than the slowest of the old one;
2. the medians over the sweeps differ by more than `LEAST` and by more than `SIGMAS` times sigma.

*Faster* is the same the other way round. With three sweeps the first condition alone would accuse
one equal case in twenty; the second leaves of these what noise does not explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, median

from minialex.bench.record import Ceilings, Record, Row, Timing
from minialex.bench.roofline import COPY, floor_of
from minialex.errors import MinialexError

LEAST = 0.05
"""Differences of medians below this share are never reported."""

SIGMAS = 4.0
"""How many times the measured noise a difference must be."""


@dataclass(frozen=True)
class Change:
    """One contender of one case, in both runs.

    Attributes
    ----------
    row : Row
        The new one.
    name : str
        The contender's.
    old, new : float
        Median seconds.
    factor : float
        How many times as long the new one takes, after allowing for the machine.
    threshold : float
        The factor that noise may reach.
    verdict : "slower", "faster" or "same"
    """

    row: Row
    name: str
    old: float
    new: float
    factor: float
    threshold: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two records held against each other.

    Attributes
    ----------
    changes : list of Change
        The largest factor first.
    noise : float
        The typical sigma, as a share.
    machine : dict from ceiling to (old, new)
        Median rates.
    only_old, only_new : list of str
        What was measured in one of them alone.
    """

    changes: list[Change]
    noise: float
    machine: dict[str, tuple[float, float]]
    only_old: list[str]
    only_new: list[str]

    def of(self, verdict: str) -> list[Change]:
        """Return the changes of one verdict."""
        return [c for c in self.changes if c.verdict == verdict]


def compare(old: Record, new: Record) -> Comparison:
    """Return what changed from `old` to `new`.

    Raises
    ------
    MinialexError
        If they were measured on different machines, devices or numbers of threads, have nothing
        in common, or have too few sweeps to tell noise from change.
    """
    _check_alike(old, new)
    pairs = _pairs(old, new)
    if not pairs:
        raise MinialexError("the two records have no timed case in common: measure the same cases")
    costs = _costs(pairs, old, new)
    noises = [_noise(before, after) for before, after in costs]
    typical = _typical(noises, costs)
    changes = [
        _change(row, name, (t_old, t_new), cost, max(noise, typical))
        for (_, row, name, t_old, t_new), cost, noise in zip(pairs, costs, noises, strict=True)
    ]
    return Comparison(
        changes=sorted(changes, key=lambda c: -c.factor),
        noise=typical,
        machine={
            "gemm": (median(old.ceilings.gemm), median(new.ceilings.gemm)),
            "copy": (median(old.ceilings.copy), median(new.ceilings.copy)),
        },
        only_old=_missing(old, new),
        only_new=_missing(new, old),
    )


def _check_alike(old: Record, new: Record) -> None:
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
                f"the record of {record.date} has a single sweep, which shows no noise: measure "
                "again with at least two"
            )


def _machine(record: Record) -> str:
    names = [record.machine.get(key) for key in ("cpu", "cores", "gpu")]
    return ", ".join(str(n.get("name") if isinstance(n, dict) else n) for n in names if n)


def _pairs(old: Record, new: Record) -> list[tuple[Row, Row, str, Timing, Timing]]:
    """Return what both have timed; peers are not ours to slow down."""
    before = {row.key: row for row in old.rows}
    return [
        (before[row.key], row, name, before[row.key].timings[name], timing)
        for row in new.rows
        if row.key in before
        for name, timing in row.timings.items()
        if timing.kind == "implementation"
        and timing.timed
        and name in before[row.key].timings
        and before[row.key].timings[name].timed
    ]


def _missing(here: Record, there: Record) -> list[str]:
    """Return the names of rows that `here` has and `there` has not."""
    known = {row.key for row in there.rows}
    return [row.full_title for row in here.rows if row.key not in known]


def _costs(
    pairs: list[tuple[Row, Row, str, Timing, Timing]], old: Record, new: Record
) -> list[tuple[list[float], list[float]]]:
    """Return q for each sweep of both runs, of each case."""
    raw = [(_fastest(t_old), _fastest(t_new)) for _, _, _, t_old, t_new in pairs]
    binding = [floor_of(was, old.ceilings).ceiling for was, *_ in pairs]
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
    """Return what both show: the smaller of two shifts to the same side, else 0."""
    return min(machine, cases, key=abs) if machine * cases > 0 else 0.0


def _noise(before: list[float], after: list[float]) -> float:
    """Return sigma of one case: the deviation between the sweeps of a run."""
    strays = [log(q) - fmean(map(log, run)) for run in (before, after) for q in run]
    return sqrt(sum(e * e for e in strays) / max(1, len(strays) - 2))


def _typical(noises: list[float], costs: list[tuple[list[float], list[float]]]) -> float:
    """Return the middle one of the sigmas, corrected for the few sweeps that each comes from."""
    free = max(1.0, median(len(before) + len(after) - 2 for before, after in costs))
    # the median of a chi-squared distribution with so many degrees of freedom, over that number
    return float(median(noises) / (1 - 2 / (9 * free)) ** 1.5)


def _change(
    row: Row,
    name: str,
    timings: tuple[Timing, Timing],
    costs: tuple[list[float], list[float]],
    noise: float,
) -> Change:
    before, after = costs
    moved, threshold = log(median(after) / median(before)), max(log(1 + LEAST), SIGMAS * noise)
    verdict = "same"
    if moved > threshold and min(after) > max(before):
        verdict = "slower"
    elif moved < -threshold and max(after) < min(before):
        verdict = "faster"
    old, new = (t.seconds for t in timings)
    return Change(row, name, old, new, exp(moved), exp(threshold), verdict)
