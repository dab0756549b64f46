"""The campaigns of mutants: what they draw, and that they report what survives."""

import functools

import pytest

from tests.campaigns.cpp_sites import mutants_of as of_kernels
from tests.campaigns.mutant import ROOT, equivalent
from tests.campaigns.python_sites import MathSites, mutants_of
from tests.test_campaigns import said_apart

MATHS = """
def scaled(x: Array, s: Array, *, N: int, first: bool = True) -> Array:
    part = x[:N, 1] / s.max(axis=0)
    part += s
    return part if first else -x
"""

KERNEL = """
// a comment of 7 words
#define HALF 2
template <typename T, int LENGTH>
__global__ void scaled(const T* x, T* y, const int n, const int m) {
    const int i = blockIdx.x * LENGTH + threadIdx.x;
    if (i < n) y[i] = x[i] / T(2.5);
    __syncthreads();
}
"""


def changes(mutants, text):
    return {(text[m.start : m.end], m.new) for m in mutants}


def test_arrays_are_mutated_in_every_way():
    found = changes(mutants_of("maths.py", MATHS, MathSites), MATHS)
    assert found >= {
        ("True", "False"),
        ("x", "s"),
        ("x[:N, 1] / s.max(axis=0)", "(x[:N, 1]) * (s.max(axis=0))"),
        ("x[:N, 1] / s.max(axis=0)", "(x[:N, 1])"),
        (":N", ":"),
        (":N", ":N + 1"),
        ("1", "0"),
        ("1", "2"),
        ("0", "1"),
        ("0", "-1"),
        ("s.max", "s.min"),
        ("part += s", "pass"),
        ("part += s", "part = s"),
        ("part += s", "part -= s"),
        ("-x", "(x)"),
    }
    # sizes are not taken for arrays, nor one type for another
    assert not found & {("x", "N"), ("x", "first"), ("N", "x")}


def test_kernels_are_mutated_in_every_way():
    found = changes(of_kernels("kernel.cu", KERNEL), KERNEL)
    assert found == {
        ("*", "/"),
        ("*", "+"),
        ("+", "-"),
        ("x", "y"),
        ("i", "n"),
        ("i", "m"),
        ("n", "i"),
        ("n", "m"),
        ("<", "<="),
        ("<", ">"),
        ("y", "x"),
        ("/", "*"),
        ("2.5", "3.5"),
        ("2.5", "0.0"),
        ("2.5", "5.0"),
        ("__syncthreads();", ";"),
    }


def test_a_mutant_is_known_by_its_line_and_what_becomes_of_it():
    name = "minialex/ops/relu/plain.py"
    text = (ROOT / name).read_text()
    for one in mutants_of(name, text, MathSites):
        before, after = one.lines()
        assert before in " ".join(text.split())
        assert after in " ".join(one.applied(text.encode()).decode().split())
        assert before != after


@pytest.mark.parametrize("path", equivalent())
def test_a_mutant_that_is_listed_can_still_be_drawn(path):
    """One whose line has changed goes from the list, and is looked at again if it survives."""
    text = (ROOT / path).read_text()
    of_maths = functools.partial(mutants_of, visitor=MathSites)
    found = of_kernels(path, text) if path.startswith("kernels/") else of_maths(path, text)
    there = {one.lines() for one in found}
    stale = [line for line in equivalent()[path] if line not in there]
    assert not stale, f"no longer in {path}: {stale}"
    assert all(equivalent()[path].values())


RELU = "minialex/ops/relu/plain.py"


def tried(tmp_path, module, path, *calls):
    """Return what is printed where mutants of one file are tried so."""
    code = (
        f"from tests.campaigns import {module} as campaign\n"
        "from tests.campaigns.mutant import UNBORN, try_each\n"
        "folder = Path(sys.argv[1])\n"
        "places = [p for p in campaign.sites() if p[0].path == sys.argv[2]]\n"
    )
    return said_apart(code + "\n".join(calls), tmp_path, path)


@pytest.mark.parametrize(
    ("module", "path", "seeds"),
    [("op_mutants", RELU, [0, 1, 2]), ("kernel_mutants", "kernels/relu.cu", [0, 1])],
)
def test_mutants_of_a_file_are_noticed_and_the_file_itself_passes(tmp_path, module, path, seeds):
    call = f"try_each({seeds}, folder, places, campaign.noticed, campaign.passes)"
    assert tried(tmp_path, module, path, call) == []


def test_what_is_wrong_with_a_mutant_is_reported(tmp_path):
    """One that survives; an alarm without a cause; one that is right; one that is drawn anew."""
    survives, alarm, *rest = tried(
        tmp_path,
        "op_mutants",
        RELU,
        "yes, no = lambda *_: True, lambda *_: False",
        "try_each([7], folder, places, lambda *_: '', yes)",
        "try_each([7], folder, places, lambda *_: 'an alarm', no)",
        "try_each([7], folder, places, lambda *_: 'an alarm', yes)",
        "answers = iter([UNBORN, UNBORN, ''])",
        "try_each([7], folder, places, lambda *_: next(answers), yes)",
        "print(next(answers, 'all asked for'))",
    )
    assert survives.startswith(f"seed 7: survives: {RELU}:")
    assert alarm == "seed 7: an alarm fails without a mutant"
    other, asked = rest
    assert other.startswith("seed 7: survives: ")
    assert other != survives
    assert asked == "all asked for"


def test_an_equivalent_that_is_noticed_is_reported(tmp_path):
    listed, by = tried(
        tmp_path,
        "op_mutants",
        RELU,
        "from tests.campaigns import mutant",
        "mutant.equivalent = lambda: {p: {one.lines(): 'why'} for p in [sys.argv[2]]"
        " for one in [next(mutant.drawn(7, places))]}",
        "try_each([7], folder, places, lambda *_: '', None)",
        "print('and')",
        "try_each([7], folder, places, lambda *_: 'a test', None)",
    )
    assert listed == "and"
    assert by.startswith(f"seed 7: a test notices what is listed as equivalent: {RELU}:")
