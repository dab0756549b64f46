"""The faults planted in kernels that the suite leaves out."""

import pytest

from tests.cuda.planting import assert_caught
from tests.cuda.zoo import drawn, faults

pytestmark = pytest.mark.usefixtures("poisoned_memory")

FAULTS = faults()
DRAWN = {str(fault) for fault in drawn(FAULTS)}


@pytest.mark.parametrize("fault", [f for f in FAULTS if str(f) not in DRAWN], ids=str)
def test_a_fault_is_caught(fault):
    assert_caught(fault)
