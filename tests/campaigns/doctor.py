"""How well ``minialex doctor`` finds what was planted: false alarms and misses.

From the root of a source tree,

    python -m tests.campaigns.doctor            # draws runs, and writes the record and the page
    python -m tests.campaigns.doctor --check    # status 1 where limits or page are not the record's
    python -m tests.campaigns doctor            # only what the doctor must never get wrong

``doctor_runs.py`` draws the runs. Runs of even seeds are for fixing the limits: each limit is the
one that makes the fewest mistakes on them. Runs of odd seeds then say how many it makes.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

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
@click.option("--count", type=click.IntRange(2), default=180, show_default=True)
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
    return Limits(**{name: _best(name, cases) for name in asdict(LIMITS)})


def _best(name: str, cases: Sequence[Case]) -> float:
    """Return the limit with the fewest misses and false alarms, in the middle of its room.

    Of limits that are equally good it is in the widest room between two scores. Rooms are measured
    on the scale of the score: that of ratios in powers of ten.
    """
    sign, logarithmic = -1 if name in AT_MOST else 1, name in RATIOS
    points = sorted(
        (sign * (_log(score) if logarithmic else score), so)
        for case in cases
        for score, so in _scored(name, case)
        if not math.isnan(score)
    )
    limit = sign * _threshold(points)
    return float(f"{10**limit if logarithmic else limit:.2g}")


def _threshold(points: Sequence[tuple[float, bool]]) -> float:
    """Return from where on to say yes: between two scores, one of them being that of a yes."""
    values = sorted({value for value, _ in points})
    rooms = []
    for low, high in itertools.pairwise(values):
        mistakes = sum((value >= high) != so for value, so in points)
        rooms.append((mistakes, -(high - low), (low + high) / 2))
    return min(rooms)[2] if rooms else values[0]


def _log(score: float) -> float:
    return math.log10(min(max(score, 1e-12), 1e12))


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
    """Return limits from the runs of even seeds, and the mistakes on these and on the others."""
    halves = [[c for c in cases if c.drawn.seed % 2 == n] for n in (0, 1)]
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
