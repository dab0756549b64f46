"""Every puzzle: its answer passes, what it begins with fails, and so does each wrong solution.

Other right solutions pass, too.

    python -m tests.campaigns puzzles

Seed n is the n-th solution of the list that `solutions` gives.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from minialex.check import Verdict
from minialex.study.puzzles import PUZZLES, Puzzle, result_of
from tests.campaigns.campaign import Campaign
from tests.study.puzzles.right import RIGHT
from tests.study.puzzles.solutions import wrong

Solution = tuple[Puzzle, str, str, Verdict]
"""A puzzle, what a solution of it is called, its text, and what must come of it."""


def solutions() -> list[Solution]:
    """Return all answers, all files to begin with, and all other solutions."""
    by_name = {puzzle.name: puzzle for puzzle in PUZZLES}
    return [
        *((one, "the answer", one.answer, Verdict.PASS) for one in PUZZLES),
        *((one, "what it begins with", one.start, Verdict.FAIL) for one in PUZZLES),
        *((by_name[one.puzzle], one.why, one.text(), Verdict.PASS) for one in RIGHT),
        *((by_name[one.puzzle], one.why, one.text(), Verdict.FAIL) for one in wrong()),
    ]


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Return which solutions of these numbers are not found to be what they are."""
    every = solutions()
    return [fault for seed in seeds if seed < len(every) for fault in _faults(seed, *every[seed])]


def _faults(seed: int, puzzle: Puzzle, what: str, text: str, expected: Verdict) -> list[str]:
    with warnings.catch_warnings():
        # wrong solutions overflow and divide by zero
        warnings.simplefilter("ignore")
        found = result_of(puzzle, text)
    if found.verdict is Verdict.PASS and found.checks != puzzle.check_count:
        return [f"seed {seed}: {puzzle.name}: {found.checks} checks, not {puzzle.check_count}"]
    if found.verdict is expected:
        return []
    return [f"seed {seed}: {puzzle.name}, {what}: {found.verdict}, {' '.join(found.lines)}"]


CAMPAIGN = Campaign("solutions of puzzles", attempt, count=len(solutions()), short=0, batch=8)
