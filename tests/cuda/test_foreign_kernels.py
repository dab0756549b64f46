"""Kernels in the styles of public code run as they are; what is planted in them is caught.

Here those that are drawn by name; ``tests/campaigns`` runs all, in every mode.
"""

from __future__ import annotations

import pytest

from tests.cuda.foreign import cases
from tests.cuda.foreign.case import drawn
from tests.cuda.foreign_runs import assert_caught, assert_right, compile_for_gpu
from tests.cuda.tools import compiles

CASES = cases()
# No wheel has the header of nvcuda::wmma.
FOR_NVRTC = [case for case in CASES if "wmma" not in case.path.read_text("utf-8")]


@pytest.mark.parametrize("case", drawn(CASES, 8), ids=str)
def test_a_right_kernel_is_right_and_not_accused(case):
    assert_right(case, "checked", seed=1)


@pytest.mark.parametrize("case", drawn(CASES, 10, part=1), ids=str)
def test_a_planted_fault_is_caught(case):
    assert_caught(case)


@pytest.mark.parametrize("mode", ["fast", "counted"])
@pytest.mark.parametrize("case", drawn(CASES, 30, part=2), ids=str)
def test_a_right_kernel_is_right_in_other_modes(case, mode):
    assert_right(case, mode)


@compiles
@pytest.mark.parametrize("case", drawn(FOR_NVRTC, 24, part=3), ids=str)
def test_a_gpus_compiler_takes_the_same_kernel(case):
    assert compile_for_gpu(case).registers > 0
