"""Recorded writes, replayed, give the outputs: for a case of every implementation.

All cases stand in tests/campaigns.
"""

from __future__ import annotations

import pytest

from minialex.check import CASES
from minialex.cuda import emulated
from minialex.cuda.observe import wrapped_launches
from minialex.study import tracing
from tests.cuda.replay import replayed

PAIRS = [(op, name) for op in tracing.ops_in_kernels() for name in tracing.kernels_of(op)]


@pytest.mark.parametrize(("op", "name"), PAIRS)
def test_writes_of_a_case_give_the_outputs(op, name):
    for case in CASES[op]:
        pair, _ = tracing.find(op, name, case.name)
        with emulated(), replayed() as seen:
            for run in tracing.passes(pair, case):
                run()
        # some cases are so simple that no kernel is launched
        if seen:
            return
    pytest.fail(f"{op} {name} launches no kernel")


def test_a_write_that_is_not_recorded_is_noticed():
    def careless(launch):
        def call(plan, values):
            launch(plan, values)
            values[1][-1] += 1

        return call

    pair, case = tracing.find("relu", "kernel", None)
    with (
        emulated(),
        wrapped_launches(careless),
        replayed(),
        pytest.raises(AssertionError, match="relu_forward<float>: y"),
    ):
        tracing.passes(pair, case)[0]()
