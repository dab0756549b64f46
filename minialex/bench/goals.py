"""The goals for speed and memory on a CPU beside PyTorch, and whether a record meets them.

Each is a ratio: PyTorch's time over ours, in the fastest of its modes; and our peak memory over
the least of PyTorch's. Where several runs timed the same, that counts in which PyTorch was fastest.
What no record has is not met, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minialex.bench.networks import INFERENCE, STEP
from minialex.bench.record import BenchRecord, BenchRow, ratio
from minialex.bench.tables import (
    SUMMARY_BATCHES,
    Table,
    default_timing,
    duration,
    machine_name,
)
from minialex.models import VARIANTS

EAGER, COMPILED = ("PyTorch", "PyTorch P2"), ("PyTorch P3",)
EVERY = *EAGER, *COMPILED
WITHOUT_GOAL = "ONNX Runtime"
MAX_MEMORY = 0.55
MAX_IMPORT_SECONDS = 0.05
"""What importing this package may add to importing NumPy."""
IMPORT = "import minialex, after it"
NOT_MEASURED = "Not measured."
MET, MISSED = "yes", "no"
UNKNOWN, PARTLY = "not measured", "not in every mode"


@dataclass(frozen=True)
class SpeedGoal:
    """How many times as long PyTorch is to take, at each batch.

    Attributes
    ----------
    network, op : str
    modes : tuple of str
        The ways of using PyTorch, of which the fastest counts.
    least : float
    """

    network: str
    op: str
    modes: tuple[str, ...]
    least: float


SPEED_GOALS = (
    SpeedGoal("alexnet", STEP, EAGER, 2.0),
    SpeedGoal("alexnet", STEP, COMPILED, 1.6),
    SpeedGoal("alexnet", INFERENCE, EVERY, 1.3),
    *(
        SpeedGoal(network, op, EVERY, 1.3)
        for network in ("alexnet-2012", "alexnet-article")
        for op in (STEP, INFERENCE)
    ),
    SpeedGoal("alexnet-mini", STEP, EVERY, 1.0),
    SpeedGoal("alexnet-mini", INFERENCE, EVERY, 0.9),
)


@dataclass(frozen=True)
class GoalOutcome:
    """One goal at one batch.

    Attributes
    ----------
    network, what : str
    batch : int
        0 where the goal is the same for all.
    goal, measured : str
        Figures with their units.
    against : str
        What the measured ratio is taken to.
    met : "yes", "no", "not in every mode" or "not measured"
    beside : str
        ONNX Runtime's time over ours, where it was timed.
    """

    network: str
    what: str
    batch: int
    goal: str
    measured: str
    against: str
    met: str
    beside: str = ""


def outcomes(records: list[BenchRecord]) -> list[GoalOutcome]:
    """Return every goal at every batch, as the records of one machine have it."""
    rows = [row for record in records for row in record.rows]
    return [
        *(_speed(goal, batch, rows) for goal in SPEED_GOALS for batch in SUMMARY_BATCHES),
        *(_memory(name, batch, records) for name in VARIANTS for batch in SUMMARY_BATCHES),
        _import(records),
    ]


def _speed(goal: SpeedGoal, batch: int, rows: list[BenchRow]) -> GoalOutcome:
    found = [r for r in rows if (r.labels[0], r.op, r.batch) == (goal.network, goal.op, batch)]
    ratios = {name: figure for name in goal.modes if (figure := _least_ratio(found, name))}
    other = _least_ratio(found, WITHOUT_GOAL)
    beside = f"{other:.2f}" if other else ""
    words = goal.network, goal.op, batch, f"{_kind(goal)} >= {goal.least:g}"
    if not ratios:
        return GoalOutcome(*words, "", "", UNKNOWN, beside)
    best = min(ratios, key=lambda mode: ratios[mode])
    # one mode that is too fast is enough to miss it, whatever the others are
    met = MET if len(ratios) == len(goal.modes) else PARTLY
    met = met if ratios[best] >= goal.least else MISSED
    return GoalOutcome(*words, f"{ratios[best]:.2f}", best, met, beside)


def _kind(goal: SpeedGoal) -> str:
    return {EAGER: "eager", COMPILED: "compiled"}.get(goal.modes, "every mode")


def _least_ratio(rows: list[BenchRow], peer: str) -> float | None:
    """Return how many times as long a peer took, at least, in the runs that timed it."""
    pairs = [(row.timings.get(peer), default_timing(row)) for row in rows]
    return min(
        (ratio(theirs, ours)[1] for theirs, ours in pairs if theirs and theirs.timed and ours),
        default=None,
    )


def _memory(network: str, batch: int, records: list[BenchRecord]) -> GoalOutcome:
    words = network, "peak memory of a step", batch, f"<= {MAX_MEMORY:g}"
    peaks = {
        m["library"]: m["peak"]
        for record in records
        for m in record.memory
        if (m["network"], m["batch"]) == (network, batch) and "peak" in m
    }
    ours = peaks.get("minialex")
    least = min((name for name in peaks if name in EVERY), key=lambda n: peaks[n], default=None)
    if ours is None or least is None:
        return GoalOutcome(*words, "", "", UNKNOWN)
    share = ours / peaks[least]
    return GoalOutcome(*words, f"{share:.2f}", least, MET if share <= MAX_MEMORY else MISSED)


def _import(records: list[BenchRecord]) -> GoalOutcome:
    words = "any", "import, beyond NumPy's", 0, f"<= {duration(MAX_IMPORT_SECONDS)}"
    found = [i["seconds"] for r in records for i in r.imports if i["what"] == IMPORT]
    if not found:
        return GoalOutcome(*words, "", "", UNKNOWN)
    met = MET if found[-1] <= MAX_IMPORT_SECONDS else MISSED
    return GoalOutcome(*words, duration(found[-1]), "", met)


def goal_table(found: list[GoalOutcome]) -> Table:
    """Return a line per goal and batch."""
    headings = ["network", "what", "batch", "goal", "measured", "against", "met"]
    cells = [
        [o.network, o.what, str(o.batch or ""), o.goal, o.measured, o.against, o.met, o.beside]
        for o in found
    ]
    return Table([*headings, f"{WITHOUT_GOAL}/this"], cells, names=7)


def short_goal_table(found: list[GoalOutcome]) -> Table:
    """Return a line per goal, its batches side by side."""
    groups: dict[tuple[str, str, str], list[GoalOutcome]] = {}
    for one in found:
        groups.setdefault((one.network, one.what, one.goal), []).append(one)
    cells = []
    for words, group in groups.items():
        shown = [one.measured for one in group]
        # the import is measured once, whatever the batch
        shown += [""] * (len(SUMMARY_BATCHES) - len(group))
        cells.append([*words, *shown, _met(group)])
    headings = ["network", "what", "goal", *(f"batch {n}" for n in SUMMARY_BATCHES), "met"]
    return Table(headings, cells, names=3)


def _met(group: list[GoalOutcome]) -> str:
    """Return "yes", or at which batches it is not met or not measured."""
    parts = []
    for verdict in (MISSED, PARTLY, UNKNOWN):
        batches = [str(o.batch) for o in group if o.met == verdict]
        if batches:
            everywhere = len(batches) == len(group)
            parts.append(verdict if everywhere else f"{verdict}: {', '.join(batches)}")
    return "; ".join(parts) or MET


def _tables(
    records: list[tuple[Path, BenchRecord]], table: Callable[[list[GoalOutcome]], Table]
) -> str:
    """Return a table for each CPU on which networks were timed beside PyTorch."""
    machines: dict[str, list[BenchRecord]] = {}
    for _, record in records:
        if record.device == "cpu" and any(name in record.peers for name in EVERY):
            machines.setdefault(machine_name(record), []).append(record)
    shown = [
        f"{name}{_variables(found)}:\n\n{table(outcomes(found)).markdown()}"
        for name, found in machines.items()
    ]
    return "\n\n".join(shown) or NOT_MEASURED


def _variables(records: list[BenchRecord]) -> str:
    """Return which variables were set that change what BLAS does; goals are without any."""
    names = sorted({name for record in records for name in record.threads.get("variables", [])})
    return f", with {', '.join(names)} set" if names else ""


def goals(root: Path, records: list[tuple[Path, BenchRecord]]) -> str:
    """Return every goal at every batch, as Markdown."""
    return _tables(records, goal_table)


def short_goals(root: Path, records: list[tuple[Path, BenchRecord]]) -> str:
    """Return every goal, as Markdown."""
    return _tables(records, short_goal_table)
