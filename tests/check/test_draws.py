"""Right ops on random shapes: the checker may accuse none, in array operations or in kernels.

In the suite some eighty run, and each implementation in kernels on one of every type that it takes;
``pytest tests/check/test_draws.py --draws 10000`` takes minutes for the ops, and a quarter of an
hour for the kernels under the emulator.
"""

import itertools

import numpy as np
import pytest

from minialex import arrays
from minialex.autograd import OPS
from minialex.check import kinds, suite
from minialex.check.verdict import Verdict
from minialex.cuda import emulated
from tests.check.draws import DRAWS, draw

BLOCKS = 10
KERNELS = [
    (name, implementation)
    for name, op in OPS.items()
    for implementation, one in op.implementations.items()
    # cuDNN is no kernel of ours, and runs on a GPU alone
    if one.why_not(arrays.CPU) and implementation != "cudnn"
]


def check_drawn(name, implementation, dtype, case):
    """Check a draw, and return whether that was undecided."""
    # of numbers as short as those of bfloat16, few decide: what is right then is float32's, rounded
    short = np.dtype(dtype) == arrays.BFLOAT16
    check, dtype = (kinds.bfloat16, "float32") if short else (suite.check, dtype)
    row = check(suite.Pair(OPS[name], implementation, implementation, np.dtype(dtype)), case)
    assert row.verdict is not Verdict.FAIL, f"{row}\n{case.params}"
    return row.verdict is Verdict.INCONCLUSIVE


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_right_op_is_accused(block, request):
    count = max(1, request.config.getoption("--draws") // BLOCKS)
    undecided = 0
    for i, (name, case) in enumerate(itertools.islice(draw(block), count)):
        undecided += check_drawn(name, "plain", ("float64", "float32")[i % 2], case)
    # a checker that decides nothing accuses no op either
    assert undecided <= 0.01 * count


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "implementation"), KERNELS)
def test_no_right_kernel_is_accused(name, implementation, request):
    assert name in DRAWS, f"{name} is never drawn: give it a line in DRAWS, tests/check/draws.py"
    one = OPS[name].implementations[implementation]
    count = max(len(one.dtypes), request.config.getoption("--draws") // len(KERNELS))
    rng, undecided = np.random.default_rng(5), 0
    for i in range(count):
        dtype = one.dtypes[i % len(one.dtypes)]
        case = DRAWS[name](rng, f"draw {i}")
        # one in four is watched closely: every access to memory, in another order of threads
        with emulated("checked", seed=i) if i % 4 == 0 else emulated():
            undecided += check_drawn(name, implementation, dtype, case)
    # where operands are rounded, few numbers may decide nothing
    assert undecided <= max(1, 0.01 * count) or one.operand_roundoff


def test_every_draw_is_of_an_op_there_is():
    assert set(DRAWS) <= set(OPS)


def test_every_op_in_kernels_is_drawn():
    assert {name for name, _ in KERNELS} <= set(DRAWS)
