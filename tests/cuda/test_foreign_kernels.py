"""Kernels in the styles of public code run as they are; what is planted in them is caught.

Here those that are drawn by name; ``tests/campaigns`` runs all, in every mode.
"""

from __future__ import annotations

import pytest

from tests.cuda.foreign import cases
from tests.cuda.foreign.case import drawn
from tests.cuda.foreign_runs import assert_caught, assert_right

CASES = cases()


@pytest.mark.parametrize("case", drawn(CASES, 5), ids=str)
def test_a_right_kernel_is_right_and_not_accused(case):
    assert_right(case, "checked", seed=1)


@pytest.mark.parametrize("case", drawn(CASES, 8, part=1), ids=str)
def test_a_planted_fault_is_caught(case):
    assert_caught(case)


@pytest.mark.parametrize("mode", ["fast", "counted"])
@pytest.mark.parametrize("case", drawn(CASES, 20, part=2), ids=str)
def test_a_right_kernel_is_right_in_other_modes(case, mode):
    assert_right(case, mode)
