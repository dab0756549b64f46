"""Recorded writes, replayed, give the outputs: for every kernel over its cases."""

import numpy as np
import pytest

from minialex.autograd import ROUTINES
from minialex.check import CASES, routines
from minialex.check.routines import RoutineImplementation
from minialex.cuda import emulated
from minialex.study import tracing
from tests.cuda.replay import replayed
from tests.cuda.test_replay import PAIRS

EVERY = [(op, name, case) for op, name in PAIRS for case in CASES[op]]


@pytest.mark.parametrize(("op", "name", "case"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_recorded_writes_give_the_outputs(op, name, case):
    pair, _ = tracing.find(op, name, case.name)
    with emulated(), replayed():
        for run in tracing.passes(pair, case):
            run()


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in routines.CASES for case in routines.CASES[name]],
)
def test_recorded_writes_of_routines_give_the_outputs(name, case):
    with emulated(), replayed() as seen:
        dtype = np.dtype(case.dtypes[0])
        RoutineImplementation(ROUTINES[name], ROUTINES[name].kernel, dtype).results(case)
    assert seen
