"""The checker is checked: it catches every fault of the zoo, and accuses no right formula."""

import pytest

from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.cases import CASES
from minialex.check.verdict import Verdict
from tests.check import zoo

IDS = [f"{fault.op}: {fault.name}" for fault in zoo.FAULTS]


def rows(op, dtype, cases=None):
    pair = suite.Pair(op, "plain", "plain", dtype)
    for case in cases or CASES[op.name]:
        yield suite.check(pair, case)


def first_failure(op, dtype):
    return next((row for row in rows(op, dtype) if row.verdict is Verdict.FAIL), None)


def assert_caught(fault, dtype):
    row = first_failure(fault.broken(), dtype)
    assert row, "no case showed the fault"
    accused = [f.what for f in row.findings if f.verdict is Verdict.FAIL]
    # nothing but backward is broken, so nothing else may be accused
    assert all("gradient" in what or "same bits" in what for what in accused), accused


def test_the_zoo_is_large():
    assert len(zoo.FAULTS) >= 30
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("fault", zoo.FAULTS, ids=IDS)
def test_every_fault_is_caught_in_float64(fault):
    assert_caught(fault, "float64")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name)
        for fault, name in zip(zoo.FAULTS, IDS, strict=True)
        if fault.name not in zoo.BELOW_FLOAT32
    ],
)
def test_every_fault_above_rounding_is_caught_in_float32(fault):
    assert_caught(fault, "float32")


@pytest.mark.parametrize(
    "fault", [pytest.param(f, id=n) for f, n in zip(zoo.FAULTS, IDS, strict=True) if f.guess]
)
def test_first_guesses(fault):
    """The first guess that the checker makes on some case is the mistake that was made."""
    for row in rows(fault.broken(), "float64"):
        if row.verdict is Verdict.FAIL and fault.guess in guesses(row):
            return
    pytest.fail(f"no case made the checker guess {fault.guess!r}")


def guesses(row):
    lines = [line for f in row.findings for line in f.detail if f.verdict is Verdict.FAIL]
    return "\n".join(line for line in lines if line.startswith("first guess"))


@pytest.mark.parametrize("name", zoo.RIGHT)
def test_what_the_faults_are_made_from_is_right(name):
    op = zoo.unlisted(name, OPS[name].implementations["plain"].forward, zoo.RIGHT[name])
    for row in rows(op, "float64"):
        assert row.verdict is Verdict.PASS, str(row)
