"""Faults planted in kernels are caught by the suite that all ops go through.

Here a tenth of them, drawn by name; ``tests/campaigns`` plants the others.
"""

import pytest

from minialex import cuda
from tests.cuda.planting import assert_caught
from tests.cuda.zoo import drawn, faults

pytestmark = pytest.mark.usefixtures("poisoned_memory")

FAULTS = faults()
CHECKS = {fault.check: str(fault) for fault in FAULTS if fault.check}

WITHOUT_FAULTS: set[str] = set()
"""Kernel files that no fault is planted in yet."""


@pytest.mark.parametrize("fault", drawn(FAULTS), ids=str)
def test_a_fault_is_caught(fault):
    assert_caught(fault)


@pytest.mark.parametrize("check", CHECKS, ids=CHECKS.values())
def test_without_its_fault_a_check_of_its_own_passes(check):
    """That the cases of ops pass is what the conformance suite shows."""
    with cuda.emulated("checked", seed=1):
        check()


def test_the_zoo_is_large():
    assert len(FAULTS) >= 30
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)


def test_every_fault_is_of_text_that_stands_once_in_its_file():
    texts = {fault.file: (cuda.kernel_folder() / fault.file).read_text() for fault in FAULTS}
    assert not [str(fault) for fault in FAULTS if texts[fault.file].count(fault.old) != 1]


def test_every_kernel_file_has_a_fault():
    files = {path.name for path in cuda.kernel_folder().glob("*.cu*")}
    assert files - {fault.file for fault in FAULTS} == WITHOUT_FAULTS
