"""Right ops on random shapes: the checker may accuse none.

A few hundred run in the suite; ``pytest tests/check/test_draws.py --draws 10000`` takes minutes.
"""

import itertools

import pytest

from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.verdict import Verdict
from tests.check.draws import DRAWS, draw

BLOCKS = 10


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_right_op_is_accused(block, request):
    count = max(1, request.config.getoption("--draws") // BLOCKS)
    undecided = 0
    for i, (name, case) in enumerate(itertools.islice(draw(block), count)):
        dtype = ("float64", "float32")[i % 2]
        row = suite.check(suite.Pair(OPS[name], "array", "array", dtype), case)
        assert row.verdict is not Verdict.FAIL, f"{row}\n{case.params}"
        undecided += row.verdict is Verdict.INCONCLUSIVE
    # a checker that decides nothing accuses nobody either
    assert undecided <= 0.01 * count


def test_every_draw_is_of_an_op_there_is():
    assert set(DRAWS) <= set(OPS)
