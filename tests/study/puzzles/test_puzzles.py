"""Puzzles: answers pass, what they begin with and wrong solutions fail, and nothing is written.

Here a few, drawn by name; ``python -m tests.campaigns puzzles`` tries all of them whole.
"""

import itertools
import warnings
import zlib
from collections import Counter

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS, ROUTINES
from minialex.check import Verdict
from minialex.check import engine as engine_checks
from minialex.errors import MinialexError
from minialex.study.puzzles import PUZZLES, find, result_of, tried
from minialex.study.puzzles.engine import CASES
from minialex.study.puzzles.kernel_puzzle import KernelPuzzle
from minialex.study.puzzles.puzzle import SolutionError
from minialex.study.puzzles.solution_file import load
from tests.study.puzzles.wrong import wrong

WRONG = wrong()
IN_PYTHON = [one for one in PUZZLES if not isinstance(one, KernelPuzzle)]
IN_CUDA = [one for one in PUZZLES if isinstance(one, KernelPuzzle)]
QUICK_KERNELS = "second-barrier", "row-guard"
"""Of which a fault shows in the first few cases."""


def drawn(solutions, share):
    return [one for one in solutions if zlib.crc32(str(one).encode()) % share == 0]


def verdict(puzzle, text):
    with warnings.catch_warnings():
        # wrong solutions overflow and divide by zero
        warnings.simplefilter("ignore")
        return result_of(puzzle, text).verdict


def test_there_are_enough_of_each_kind():
    assert len(PUZZLES) >= 30
    kinds = Counter(one.kind for one in PUZZLES)
    assert sorted(kinds) == [
        "complete a backward",
        "find what may go",
        "make it faster",
        "repair a kernel",
    ]
    assert len({one.name for one in PUZZLES}) == len(PUZZLES)
    assert min(len(text) for one in PUZZLES for text in (one.task, one.hint, one.why)) > 20


def test_three_wrong_solutions_of_each():
    counts = Counter(one.puzzle for one in WRONG)
    assert {one.name: counts[one.name] >= 3 for one in PUZZLES} == {o.name: True for o in PUZZLES}
    texts = [(one.puzzle, one.text()) for one in WRONG]
    known = [(one.name, text) for one in PUZZLES for text in (one.start, one.answer)]
    assert len({*texts, *known}) == len(texts) + len(known)


@pytest.mark.parametrize("solution", drawn([w for w in WRONG if w.lines], 8), ids=str)
def test_a_wrong_function_fails(solution):
    assert verdict(find(solution.puzzle), solution.text()) is Verdict.FAIL


@pytest.mark.parametrize(
    "solution", [w for w in WRONG if w.puzzle in QUICK_KERNELS][::3], ids=str
)
def test_a_wrong_kernel_fails(solution):
    assert verdict(find(solution.puzzle), solution.text()) is Verdict.FAIL


@pytest.mark.parametrize("puzzle", IN_PYTHON, ids=lambda one: one.name)
def test_an_answer_passes_its_first_checks_and_a_start_fails(puzzle):
    first = list(itertools.islice(puzzle.checks(puzzle.answer, seeds=(0,)), 8))
    assert {row.verdict for row in first} <= {Verdict.PASS, Verdict.INCONCLUSIVE}
    assert sum(row.compared for row in first) > 0
    assert verdict(puzzle, puzzle.start) is Verdict.FAIL
