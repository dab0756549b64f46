"""Puzzles: answers pass, what they begin with and wrong solutions fail, and nothing is written.

Here a few, drawn by name; ``python -m tests.campaigns puzzles`` tries all of them whole.
"""

import itertools
import warnings
import zlib
from collections import Counter
from types import SimpleNamespace

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
from minialex.study.puzzles.limits import barriers
from minialex.study.puzzles.puzzle import SolutionError
from minialex.study.puzzles.solution_file import load
from tests.study.puzzles.right import RIGHT
from tests.study.puzzles.solutions import wrong

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


@pytest.mark.parametrize("solution", [w for w in WRONG if w.puzzle in QUICK_KERNELS][::3], ids=str)
def test_a_wrong_kernel_fails(solution):
    assert verdict(find(solution.puzzle), solution.text()) is Verdict.FAIL


@pytest.mark.parametrize(
    "solution", [one for one in RIGHT if one.puzzle in ("rmsprop", "adam")], ids=str
)
def test_another_right_function_passes(solution):
    assert verdict(find(solution.puzzle), solution.text()) is Verdict.PASS


@pytest.mark.parametrize("puzzle", IN_PYTHON[::3], ids=lambda one: one.name)
def test_an_answer_passes_its_first_checks_and_a_start_fails(puzzle):
    first = list(itertools.islice(puzzle.checks(puzzle.answer, seeds=(0,)), 8))
    assert {row.verdict for row in first} <= {Verdict.PASS, Verdict.INCONCLUSIVE}
    assert sum(row.compared for row in first) > 0
    assert verdict(puzzle, puzzle.start) is Verdict.FAIL


def test_a_kernel_answer_passes_its_first_checks():
    puzzle = find("second-barrier")
    before = {path: path.read_bytes() for path in cuda.kernel_folder().iterdir() if path.is_file()}
    first = list(itertools.islice(puzzle.checks(puzzle.answer, seeds=(0,)), 6))
    assert [row.verdict for row in first] == [Verdict.PASS] * 6
    after = {path: path.read_bytes() for path in cuda.kernel_folder().iterdir() if path.is_file()}
    assert after == before


def test_what_is_named_is_there():
    assert {case.name for case in engine_checks.CASES} >= set(CASES)
    for puzzle in IN_CUDA:
        assert puzzle.implementation in OPS[puzzle.op].implementations
        assert puzzle.start != puzzle.answer
        assert len({one.case.name for one in puzzle.profiled_on}) in (0, 2)


def test_a_solution_leaves_nothing_among_the_implementations():
    before = {name: dict(one.implementations) for name, one in ROUTINES.items()}
    for name in ("relu", "adam", "add-up"):
        verdict(find(name), find(name).start)
    assert {name: one.implementations for name, one in ROUTINES.items()} == before


def test_a_profile_that_is_exceeded_says_where():
    puzzle = find("coalesce")
    lines = result_of(puzzle, puzzle.start).lines
    assert lines[0] == "case '16,384 numbers', float32, profile"
    assert "counted 8,192, at most 4,096 are allowed" in lines[2]
    assert "vectors.cuh:" in lines[3]


def test_a_kernel_that_is_fast_at_one_size_alone_fails():
    (cheat,) = (w for w in WRONG if w.why == "right at the size that is profiled first")
    found = result_of(find(cheat.puzzle), cheat.text())
    assert found.lines[0] == "case '3,840 numbers', float32, profile"
    assert "at most 960 are allowed" in found.lines[2]


@pytest.mark.parametrize("name", ["permute", "rmsprop", "order"])
def test_it_is_known_how_many_checks_there_are(name):
    puzzle = find(name)
    assert result_of(puzzle, puzzle.answer).checks == puzzle.check_count


@pytest.mark.parametrize(
    ("name", "old", "new", "lines"),
    [
        (
            "coalesce",
            "y, const int n)",
            "y, const int n, const int m)",
            ["relu_forward has 4 parameters (x, y, n, m), it must have 3 (x, y, n)"],
        ),
        (
            "coalesce",
            "y, const int n)",
            "y, const int* n)",
            ["relu_forward: argument n points to int, got int: pass a NumPy or CuPy array"],
        ),
        (
            "two-strides",
            "//",
            "#include <cstdlib>\n//",
            [
                "conv2d_forward_naive<double> does not compile:",
                " error: ",
                "leave out #include <cstdlib>: headers of the host are not taken",
            ],
        ),
    ],
)
def test_a_kernel_that_cannot_be_launched_fails_in_plain_words(name, old, new, lines):
    puzzle = find(name)
    found = result_of(puzzle, puzzle.start.replace(old, new, 1))
    assert found.verdict is Verdict.FAIL
    for words, line in zip(lines, found.lines, strict=True):
        assert words in line


def test_a_failure_is_told_in_the_checkers_words():
    puzzle = find("linear")
    lines = result_of(puzzle, puzzle.filled("gx, gw, gb = gy @ w, -gy_rows.T @ x_rows, gy.sum(0)"))
    text = "\n".join(lines.lines)
    assert "case 'small', float64" in text
    assert "gradient of input 1: 20 compared" in text
    assert "first guess: the sign is wrong" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def backward(gy, y)\n    return gy", "is no Python, line 1: expected ':'"),
        ("import minialex", "line 1 of your file uses minialex"),
        ("from minialex.ops.relu import plain", "line 1 of your file uses minialex.ops.relu"),
        ("import numpy as np\nm = __import__('minialex')", "line 2 of your file uses __import__"),
        ("from . import relu", "line 1 of your file uses ."),
        ("x = 1 / 0", "your file raised ZeroDivisionError in line 1: division by zero"),
        ("backward = 3", "your file defines no function backward"),
        ("\0", "your file is no Python: "),
    ],
)
def test_what_cannot_be_checked_is_refused_with_its_line(text, words):
    with pytest.raises(SolutionError) as caught:
        load(text, ["backward"])
    assert words in str(caught.value)


def test_what_a_solution_may_use():
    text = "import math\nfrom numpy import where\nfrom __future__ import annotations\n"
    with pytest.raises(SolutionError, match="no Python, line 3"):
        load(text, [])
    found = load("import numpy as np\ndef f(x):\n    return np.where(x, 1, 0)\n", ["f"])
    np.testing.assert_array_equal(found.f([0, 2]), [0, 1])


def test_a_line_that_raises_is_named():
    puzzle = find("relu")
    found = result_of(puzzle, puzzle.filled("return gy + y[0, 0, 0, 0, 0]"))
    assert "your file raised IndexError in line 6: too many indices" in "\n".join(found.lines)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return gy.astype(object)", "your file returned an array of objects: it must be a plain"),
        ("return np.ma.masked_array(gy)", "your file returned a MaskedArray: it must be a plain"),
        (
            "if not gy.flags.c_contiguous:\n    raise ValueError('gaps')\n"
            "return np.where(y == 0, 0, gy)",
            "\n      your file raised ValueError in line 7: gaps",
        ),
    ],
)
def test_what_is_wrong_is_said_without_names_of_the_checkers_own(line, words):
    puzzle = find("relu")
    lines = "\n".join(result_of(puzzle, puzzle.filled(line)).lines)
    assert words in lines
    assert "SolutionRaisedError" not in lines


def test_an_exception_of_any_kind_fails_with_its_line():
    puzzle = find("relu")
    found = tried(puzzle, puzzle.filled("raise KeyboardInterrupt('on purpose')"))
    assert found.lines == ("your file raised KeyboardInterrupt in line 6: on purpose",)
    assert (found.verdict, found.printed) == (Verdict.FAIL, "")


def test_a_solution_that_prints_without_end_is_ended():
    puzzle = find("relu")
    found = tried(puzzle, puzzle.filled("while True:\n    print('x' * 100_000)"))
    assert found.verdict is Verdict.FAIL
    assert found.lines == ("it printed more than 16 MiB: is there a loop without end?",)


def test_all_checks_together_have_a_limit():
    puzzle = find("relu")
    found = tried(puzzle, puzzle.answer, total_seconds=0)
    assert found.lines == ("not all checks were done after 0 seconds: it is too slow",)
    assert found.verdict is Verdict.FAIL


def test_a_solution_that_ends_the_program_fails_and_what_it_prints_is_set_aside():
    puzzle = find("relu")
    found = tried(puzzle, puzzle.filled("print('here I am')\nraise SystemExit(0)"))
    assert found.verdict is Verdict.FAIL
    assert found.lines == ("your file ended the program by itself, with 0: take that out",)
    assert found.printed == "here I am\n"


def test_a_loop_without_end_is_ended():
    puzzle = find("relu")
    found = tried(puzzle, puzzle.filled("while True:\n    pass"), seconds=1)
    assert found.verdict is Verdict.FAIL
    assert "a check was not done after 1 second" in found.lines[0]


def test_a_puzzle_is_found_by_number_and_by_name():
    assert find("1") is find("relu") is PUZZLES[0]
    with pytest.raises(MinialexError, match="no puzzle 0: they go from 1 to"):
        find("0")
    with pytest.raises(MinialexError, match="unknown puzzle 'softmaxx': did you mean 'softmax'"):
        find("softmaxx")
    with pytest.raises(MinialexError, match="unknown puzzle 'ReLU': did you mean 'relu'"):
        find("ReLU")
    with pytest.raises(MinialexError, match="unknown puzzle 'zzz': minialex puzzle list names"):
        find("zzz")


def test_a_limit_takes_no_part_of_a_launch_for_the_whole():
    limit = barriers("mine", 8)
    launch = SimpleNamespace(kernel="mine<float>", cut=False, primitives=())
    assert limit.finding([launch]).verdict is Verdict.PASS
    launch.cut = True
    assert limit.finding([launch]).verdict is Verdict.FAIL
    assert limit.finding([]).detail == ("the kernel was not launched",)
