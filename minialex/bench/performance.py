"""Predict AlexNet's training step on an H100 and write ``docs/performance.md``.

From the root of a source tree,

    python -m minialex.bench.performance              predicts what is out of date, writes the page
    python -m minialex.bench.performance tf32x3 128   predicts no more than that mode and batch
    python -m minialex.bench.performance --check      changes nothing; exit status 1 where the page
                                                      or a prediction is out of date

Words are modes and batch sizes, any number of each. A step takes a minute or more, as many at a
time as there are cores; what is predicted is kept in ``benchmarks/results/predicted-steps.json`` as
soon as it is there. On the page all between its markers is replaced, and the rest is kept by hand.
NVRTC and nvdisasm are needed, and no GPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import product, starmap
from pathlib import Path

from minialex.bench.performance_picture import PICTURE, picture
from minialex.bench.performance_tables import TABLES
from minialex.bench.plots import save
from minialex.bench.predicted_steps import (
    BATCHES,
    MODES,
    RECORD,
    PredictedStep,
    Steps,
    predict_step,
    read_steps,
    step_name,
    steps_due,
    write_steps,
)
from minialex.bench.report import fill
from minialex.cuda import disassembly, nvrtc
from minialex.errors import MinialexError
from minialex.study.parallel import in_parallel
from minialex.wording import counted, unknown

PAGE = "docs/performance.md"
MODULE = "python -m minialex.bench.performance"
EVERY_STEP = list(product(BATCHES, MODES))
"""Batch and mode of every step."""


def main(words: Sequence[str], root: Path) -> int:
    """Do it, say what was done, and return the exit status."""
    try:
        if list(words) == ["--check"]:
            return check(root)
        wanted = named_steps(words)
        steps = read_steps(root / RECORD)
        predict_due(steps, wanted, root / RECORD)
        write_page(steps, root)
    except MinialexError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def named_steps(words: Sequence[str]) -> list[tuple[int, str]]:
    """Return batch and mode of the steps that words name; of all where there are none.

    Raises
    ------
    MinialexError
        If a word is neither a mode nor a batch size.
    """
    for word in words:
        if word not in MODES and word not in map(str, BATCHES):
            raise MinialexError(unknown("mode or batch", word, [*MODES, *map(str, BATCHES)]))
    modes, batches = (
        [one for one in every if str(one) in words] or list(every) for every in (MODES, BATCHES)
    )
    return [(batch, mode) for batch, mode in EVERY_STEP if batch in batches and mode in modes]


def predict_due(steps: Steps, wanted: Sequence[tuple[int, str]], path: Path) -> None:
    """Predict those of the wanted steps that are not today's, each kept as soon as it is there.

    Raises
    ------
    MinialexError
        If NVRTC, the disassembler or a C++ compiler is missing.
    """
    due = steps_due(steps, wanted)
    if due and (why := nvrtc.why_missing() or disassembly.why_missing()):
        raise MinialexError(f"no prediction of {counted(len(due), 'step')}: {why}")
    for step, seconds in in_parallel(_predicted_in, due, "predicting"):
        steps[step.batch, step.mode] = step
        write_steps(path, steps)
        print(f"{step.name}: {step.us / 1e3:.3g} ms, in {seconds:.0f} s", file=sys.stderr)


def _predicted_in(key: tuple[int, str]) -> tuple[PredictedStep, float]:
    """Return a step, and the seconds that its prediction took."""
    begin = time.perf_counter()
    return predict_step(*key), time.perf_counter() - begin


def page(text: str, steps: Steps) -> str:
    """Return the page with its tables as they should be.

    Raises
    ------
    MinialexError
        If a marker is not closed, or names no table.
    """

    def table(name: str) -> str:
        if name not in TABLES:
            raise MinialexError(unknown("table", name, TABLES))
        return TABLES[name](steps)

    try:
        return fill(text, table, "performance")
    except MinialexError as error:
        raise MinialexError(f"{PAGE}: {error}") from error


def write_page(steps: Steps, root: Path) -> None:
    """Bring the page's tables and its picture up to date."""
    before = _read_page(root)
    text = page(before, steps)
    if text != before:
        (root / PAGE).write_text(text, encoding="utf-8")
        print(f"{PAGE}: tables written")
    save(picture(steps), root / PICTURE)


def _read_page(root: Path) -> str:
    path = root / PAGE
    if not path.is_file():
        raise MinialexError(f"there is no {path}: run it from the root of a source tree")
    return path.read_text(encoding="utf-8")


def check(root: Path) -> int:
    """Say what is out of date, and return the exit status: 1 if anything is."""
    steps, text = read_steps(root / RECORD), _read_page(root)
    stale = page(text, steps) != text
    if stale:
        print(f"{PAGE}: out of date: {MODULE}")
    due = steps_due(steps, EVERY_STEP)
    if due:
        names = ", ".join(starmap(step_name, due))
        print(f"{PAGE}: what was predicted of {names} is out of date: {MODULE}")
    return int(stale or bool(due))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
