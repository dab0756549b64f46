"""Faults planted in kernels are caught by the suite that all ops go through."""

import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.cases import CASES
from minialex.check.verdict import Verdict
from tests.cuda.zoo import faults

pytestmark = pytest.mark.usefixtures("poisoned_memory")

FAULTS = faults()
CHECKS = {fault.check: str(fault) for fault in FAULTS if fault.check}

WITHOUT_FAULTS: set[str] = set()
"""Kernel files that no fault is planted in yet."""


def check(fault):
    """Go through the cases of the op, or through the check that the fault names."""
    if fault.check:
        fault.check()
        return
    op = OPS[fault.op]
    pair = suite.Pair(op, fault.implementation, fault.implementation, fault.dtype)
    for case in CASES[fault.op]:
        row = suite.check(pair, case, layout=fault.layout)
        assert row.verdict is Verdict.PASS, str(row)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_caught(fault):
    expected = cuda.EmulationError if fault.error else AssertionError
    with (
        cuda.edited(fault.file, fault.old, fault.new),
        cuda.emulated(fault.mode, seed=1),
        pytest.raises(expected) as caught,
    ):
        check(fault)
    if fault.error:
        assert caught.value.kind == fault.error
        assert caught.value.file.endswith((".cu", ".cuh"))
        assert caught.value.line > 0


@pytest.mark.parametrize("check", CHECKS, ids=CHECKS.values())
def test_without_its_fault_a_check_of_its_own_passes(check):
    """That the cases of ops pass is what the conformance suite shows."""
    with cuda.emulated("checked", seed=1):
        check()


def test_the_zoo_is_large():
    assert len(FAULTS) >= 30
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)


def test_every_kernel_file_has_a_fault():
    files = {path.name for path in cuda.kernel_folder().glob("*.cu*")}
    assert files - {fault.file for fault in FAULTS} == WITHOUT_FAULTS
