"""Mutants: one operator, number or condition of the program changed; the suite has to notice.

    pytest -n auto --cov --cov-context=test    # once: which tests run which line
    python -m tests.campaigns mutants --count 200 --seed 0 --jobs 2

A mutant is tried on the tests that run its line, those of its own room first; one that is made when
a module is imported, on those that run a line of its module, and on all of its room. What survives
is either a hole in the suite, or a change that changes nothing a user can see: its line is printed,
and a person decides.
"""

from __future__ import annotations

import functools
import itertools
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.campaigns.mutant import ROOT, Checkout, Mutant, try_each
from tests.campaigns.python_sites import by_place, mutants_of

LEFT_OUT = "minialex/ops/", "minialex/check/cases/", "minialex/bench/peers/", "minialex/cuda/gpu.py"
"""Ops have a zoo of faults, cases are tests; peers need what they run, and no GPU is at hand."""

COVERAGE = ROOT / ".coverage"

MOST_TESTS = 400
"""Of a line that thousands run: a case of every function, then a second, as they are drawn."""


@functools.cache
def mutants() -> list[Mutant]:
    """Return every mutant of the program but of what is left out, in order of files."""
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / "minialex").rglob("*.py"))]
    names = [name for name in map(Path.as_posix, paths) if not name.startswith(LEFT_OUT)]
    return [mutant for name in names for mutant in mutants_of(name, (ROOT / name).read_text())]


@functools.cache
def covering(name: str) -> dict[int, list[str]]:
    """Return, by line of a file, the tests that run it; empty where coverage was not measured."""
    if not COVERAGE.exists():
        return {}
    import coverage

    data = coverage.CoverageData(str(COVERAGE))
    data.read()
    # contexts are named <test>|setup, |run, |teardown; "" is what ran on import
    lines = data.contexts_by_lineno(str(ROOT / name))
    return {n: sorted({c.rsplit("|", 1)[0] for c in lines[n] if c}) for n in lines}


def tests_for(mutant: Mutant) -> list[str]:
    """Return the tests to try: of its line; of its module and its room if that runs on import."""
    lines = covering(mutant.path)
    own = lines.get(mutant.line)
    tests = own or sorted({test for some in lines.values() for test in some})
    _, room, *rest = mutant.path.split("/")
    room = f"tests/{room}/" if rest else f"tests/test_{room}"
    found = in_turn(tests, room, random.Random(str(mutant)))[:MOST_TESTS]
    whole = not own and (not found or (ROOT / room).exists())
    return [*found, room] if whole else found


def in_turn(tests: Sequence[str], room: str, rng: random.Random) -> list[str]:
    """Return tests, one case of each function first: those of a room, then others."""
    functions: dict[str, list[str]] = {}
    for test in rng.sample(tests, len(tests)):
        functions.setdefault(test.split("[")[0], []).append(test)
    turns = itertools.zip_longest(*functions.values())
    return [
        test
        for turn in turns
        for test in sorted(filter(None, turn), key=lambda t: not t.startswith(room))
    ]


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Try one mutant per seed, in processes that one process forks."""
    return processes.report(__name__, seeds, folder)


CAMPAIGN = Campaign("mutants", attempt, count=200, short=0, batch=20)


def noticed(checkout: Checkout, mutant: Mutant) -> str:
    return checkout.first_failure(tests_for(mutant))


def passes(checkout: Checkout, test: str) -> bool:
    return not checkout.first_failure([test])


def main(seeds: Sequence[int], folder: Path) -> None:
    """Draw one mutant per seed and run its tests in a copy of the checkout; print what is wrong."""
    try_each(seeds, folder, by_place(mutants()), noticed, passes)


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
