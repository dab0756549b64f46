"""How well ``minialex doctor`` finds what was planted: false alarms and misses.

From the root of a source tree,

    python -m tests.campaigns.doctor            # draws runs, and writes the record and the page
    python -m tests.campaigns.doctor --check    # status 1 where limits or page are not the record's
    python -m tests.campaigns doctor            # only what the doctor must never get wrong

``doctor_runs.py`` draws the runs. The first half is for fixing the limits: each is the one that
makes the fewest mistakes on it. The second half then says how many it makes.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from minialex.bench.report import fill, fill_page
from minialex.bench.tables import Table
from minialex.files import atomic_write
from minialex.study.doctor import KINDS, LIMITS, Limits
from minialex.study.doctor.measured import RunMeasures, measure
from minialex.study.doctor.reading import open_run
from minialex.study.doctor.rules import AT_MOST, findings
from minialex.study.doctor.scores import MIN_STEPS, gradient_ratios, scores
from tests.campaigns.campaign import Campaign
from tests.campaigns.doctor_runs import Draw, Truth, draw, make_run, truth_of

PAGE, RECORD = Path("docs/doctor.md"), Path("benchmarks/results/doctor.json")

EXACT = "constant", "duplicates", "warmup"
"""Kinds that no limit is fixed for."""

TRUTHS = {
    "stuck": "measured",
    "dead": "measured, by layer",
    "fast": "planted",
    "slow": "planted",
    "vanishing": "planted",
    "exploding": "planted",
    "unpredicted": "measured, by class",
    "constant": "planted",
    "duplicates": "planted",
    "labels": "planted",
    "warmup": "planted",
}


@dataclass(frozen=True)
class Case:
    """One run, with what is true of it and what was measured."""

    drawn: Draw
    truth: Truth
    measured: RunMeasures


@dataclass(frozen=True)
class Answer:
    """Whether a kind of thing is so, of a run, a layer or a class, and whether it was said.

    Attributes
    ----------
    kind, where : str
    so, said : bool
    seen : bool
        Whether it could be looked at.
    """

    kind: str
    where: str
    so: bool
    said: bool
    seen: bool


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Only compare limits and page with the record.")
@click.option("--count", type=click.IntRange(2), default=240, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(check: bool, count: int, seed: int) -> None:
    """Draw, and write record and page, or only compare these."""
    if not check:
        found = record([case_of(s) for s in _counting(range(seed, seed + count))])
        atomic_write(RECORD, json.dumps(found, indent=1).encode() + b"\n")
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    stale = found["limits"] != asdict(LIMITS)
    if stale:
        click.echo(f"minialex/study/doctor/rules.py: the record has {found['limits']}")
    status = fill_page(PAGE, page(found), "tests.campaigns.doctor", check=check)
    sys.exit(status or int(stale))


def _counting(seeds: Sequence[int]) -> Iterator[int]:
    for n, seed in enumerate(seeds):
        print(f"\r{n} of {len(seeds)}", end="", file=sys.stderr, flush=True)
        yield seed
    print(file=sys.stderr)


def case_of(seed: int) -> Case:
    """Draw a run, train it, and measure it twice: for the truth, and as the doctor does."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as name:
        folder, drawn = Path(name), draw(seed)
        make_run(drawn, folder)
        m = measure(open_run(folder / "run"), "cpu")
        return Case(drawn, truth_of(drawn, folder), m)


# Limits from one half -----------------------------------------------------------------------------


def fixed_on(cases: Sequence[Case]) -> Limits:
    """Return the limits that make the fewest mistakes on these runs."""
    limits = {}
    for name in asdict(LIMITS).keys() - set(EITHER):
        points = [(_scaled(name, x), so) for case in cases for x, so in _scored(name, case)]
        limits[name] = _unscaled(name, _best(points))
    return Limits(**limits, **_best_pair(cases))


def _best(points: Sequence[tuple[float, bool]]) -> float:
    """Return the limit with the fewest misses and false alarms, of such the middle of a room.

    Points are scores, and whether it is so. Rooms lie between neighbouring scores; of limits that
    are equally good it is the one in the widest.
    """
    rooms = [
        (sum((value >= high) != so for value, so in points), low - high, (low + high) / 2)
        for low, high in _rooms(value for value, _ in points)
    ]
    return min(rooms)[2]


def _best_pair(cases: Sequence[Case]) -> dict[str, float]:
    """Return the same for two limits of which either is enough for the finding.

    The best pair of rooms is looked for first; then each limit is moved to the middle of its room
    among the runs that the other says nothing of.
    """
    known = [case for case in cases if case.truth.fast is not None]
    so = np.array([case.truth.fast for case in known])
    points = {
        name: np.array(
            [_scaled(name, scores(c.measured).get(name, {}).get("", 0.0)) for c in known]
        )
        for name in EITHER
    }
    x, y = points.values()
    _, _, *best = min(
        (int((((x >= x1) | (y >= y1)) != so).sum()), max(x0 - x1, y0 - y1), x1, y1)
        for (x0, x1), (y0, y1) in itertools.product(_rooms(x), _rooms(y))
    )
    limits = dict(zip(EITHER, best, strict=True))
    for name, other in (EITHER, EITHER[::-1]):
        left = points[other] < limits[other]
        limits[name] = _best([*zip(points[name][left].tolist(), so[left].tolist(), strict=True)])
    return {name: _unscaled(name, limit) for name, limit in limits.items()}


def _rooms(values: Iterable[float]) -> Iterator[tuple[float, float]]:
    """Yield neighbouring values that differ, and what lies above all of them."""
    known = sorted({float(value) for value in values})
    return itertools.pairwise([*known, known[-1] + 1])


def _scaled(name: str, score: float) -> float:
    """Return a score as a number that is the larger, the more it speaks for a finding."""
    sign = -1 if name in AT_MOST else 1
    return sign * (math.log10(min(max(score, 1e-12), 1e12)) if name in RATIOS else score)


def _unscaled(name: str, value: float) -> float:
    limit = -value if name in AT_MOST else value
    return float(f"{10**limit if name in RATIOS else limit:.2g}")


EITHER = "fast", "blown_up"
"""Limits of the same finding."""

RATIOS = "fast", "blown_up", "slow", "vanishing", "exploding", "unpredicted"
"""Limits of scores that are ratios: between two of them lies their geometric mean."""


def _scored(name: str, case: Case) -> Iterator[tuple[float, bool]]:
    """Yield what is compared with a limit, and whether it should be said."""
    truth, score = case.truth, scores(case.measured).get(name, {})
    for where, value in score.items():
        so = _so(name, where, truth, case.drawn.fault)
        if so is not None:
            yield value, so


def _so(name: str, where: str, truth: Truth, fault: str) -> bool | None:
    if name == "dead":
        return truth.dead.get(where)
    if name == "unpredicted":
        return None if truth.unpredicted is None else where in truth.unpredicted
    if name in ("unrelated", "exchanged"):
        own = "shuffled labels" if name == "unrelated" else "exchanged labels"
        return None if truth.labels and fault != own else truth.labels
    return getattr(truth, "fast" if name == "blown_up" else name)


# Mistakes on the other ----------------------------------------------------------------------------


def answers(case: Case, limits: Limits) -> Iterator[Answer]:
    """Yield what was said of a run, beside what is true of it, where that is known."""
    said = {kind: [f for f in findings(case.measured, limits) if f.kind == kind] for kind in KINDS}
    truth, m = case.truth, case.measured
    dead = {layer for f in said["dead"] for layer in f.numbers["share"]}
    for layer, so in truth.dead.items():
        if so is not None:
            yield Answer("dead", layer, so, layer in dead, m.signs is not None)
    if truth.unpredicted is not None:
        never = {name for f in said["unpredicted"] for name in f.numbers["images"]}
        for c, name in enumerate(m.classes):
            seen = m.sample is not None and c in m.sample.targets
            yield Answer("unpredicted", name, name in truth.unpredicted, name in never, seen)
    for kind in KINDS.keys() - {"dead", "unpredicted"}:
        so = getattr(truth, kind)
        if so is not None:
            yield Answer(kind, "", so, bool(said[kind]), _seen(kind, m))


def _seen(kind: str, m: RunMeasures) -> bool:
    if kind == "stuck":
        return m.losses is not None and m.losses.steps >= MIN_STEPS
    if kind == "fast":
        return m.signs is not None or m.losses is not None
    if kind in ("vanishing", "exploding"):
        return m.signs is not None and bool(gradient_ratios(m.signs))
    return m.signs is not None or kind in (*EXACT, "labels")


def record(cases: Sequence[Case]) -> dict[str, Any]:
    """Return limits from the first half of the runs, and the mistakes on it and on the other."""
    middle = len(cases) // 2
    halves = cases[:middle], cases[middle:]
    limits = fixed_on(halves[0])
    given = [[(c, a) for c in half for a in answers(c, limits)] for half in halves]
    return {
        "runs": [len(half) for half in halves],
        "first_seed": min(c.drawn.seed for c in cases),
        "limits": asdict(limits),
        "faults": _counted(c.drawn.fault for c in cases),
        "counts": {kind: [_counts(kind, [a for _, a in half]) for half in given] for kind in KINDS},
        "mistakes": [
            [c.drawn.seed, c.drawn.fault, a.kind, a.where, "missed" if a.so else "false alarm"]
            for half in given
            for c, a in half
            if a.seen and a.so != a.said
        ],
    }


def _counted(words: Iterator[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return dict(sorted(found.items()))


def _counts(kind: str, given: Sequence[Answer]) -> dict[str, int]:
    own = [a for a in given if a.kind == kind]
    seen = [a for a in own if a.seen or a.said]
    return {
        "so": sum(a.so for a in seen),
        "missed": sum(a.so and not a.said for a in seen),
        "not so": sum(not a.so for a in seen),
        "false alarms": sum(a.said and not a.so for a in seen),
        "not seen": len(own) - len(seen),
    }


def page(found: dict[str, Any]) -> Any:
    """Return what brings the text of the page up to date with a record."""
    tables = {"mistakes": mistakes_table, "limits": limits_table, "which": which_table}
    return lambda text: fill(text, lambda name: tables[name](found), "doctor")


def mistakes_table(found: dict[str, Any]) -> str:
    """Return misses and false alarms of both halves, a row for each kind of finding."""
    fixed, other = found["runs"]
    headings = [
        "finding",
        "truth",
        f"missed, {fixed} runs that fixed the limits",
        "false alarms",
        f"missed, {other} other runs",
        "false alarms",
        "not looked at",
    ]
    rows = []
    for kind, halves in found["counts"].items():
        cells = [KINDS[kind], TRUTHS[kind]]
        for half in halves:
            cells += [
                f"{half['missed']} of {half['so']}",
                f"{half['false alarms']} of {half['not so']}",
            ]
        rows.append([*cells, f"{sum(half['not seen'] for half in halves)}"])
    return Table(headings, rows, names=2).markdown()


def limits_table(found: dict[str, Any]) -> str:
    """Return the limits, in a line."""
    return ", ".join(f"`{name}` {value:g}" for name, value in found["limits"].items())


def which_table(found: dict[str, Any]) -> str:
    """Return every mistake with the seed of its run, and how often each fault was drawn."""
    faults = ", ".join(f"{n} {fault}" for fault, n in found["faults"].items())
    lines = [f"Drawn from seed {found['first_seed']} on: {faults}.", ""]
    for seed, fault, kind, where, what in found["mistakes"]:
        lines.append(f"- seed {seed} ({fault}): {what}, {kind}{f' {where}' if where else ''}")
    return "\n".join(lines)


# What is never wrong ------------------------------------------------------------------------------


def _attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Return a line for each run that is changed, or about which what needs no limit is wrong."""
    faults = []
    for seed in seeds:
        own = folder / str(seed)
        make_run(draw(seed), own)
        before = _content(own)
        m = measure(open_run(own / "run"), "cpu")
        case = Case(draw(seed), truth_of(draw(seed), own), m)
        if _content(own) != before:
            faults.append(f"seed {seed}: something was written")
        faults += [
            f"seed {seed}: {a.kind} is {'missed' if a.so else 'a false alarm'}"
            for a in answers(case, LIMITS)
            if a.kind in EXACT and a.so != a.said
        ]
    return faults


def _content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


CAMPAIGN = Campaign("runs with a planted fault", _attempt, count=60, short=0)


if __name__ == "__main__":
    main()
