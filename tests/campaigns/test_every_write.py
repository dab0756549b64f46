"""Recorded writes, replayed, give the outputs: for every kernel over its cases."""

import pytest

from minialex.arrays import CPU
from minialex.autograd import ROUTINES
from minialex.check import CASES
from minialex.cuda import emulated
from minialex.study import tracing
from tests.cuda.replay import replayed
from tests.cuda.test_replay import PAIRS
from tests.routine_cases import CASES as CASES_OF_ROUTINES
from tests.routine_cases import results

EVERY = [(op, name, case) for op, name in PAIRS for case in CASES[op]]


@pytest.mark.parametrize(("op", "name", "case"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_recorded_writes_give_the_outputs(op, name, case):
    pair, _ = tracing.find(op, name, case.name)
    with emulated(), replayed():
        for run in tracing.passes(pair, case):
            run()


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in CASES_OF_ROUTINES for case in CASES_OF_ROUTINES[name]],
)
def test_recorded_writes_of_routines_give_the_outputs(name, case):
    with emulated(), replayed() as seen:
        results(name, ROUTINES[name].kernel, case, case.dtypes[0], CPU)
    assert seen
