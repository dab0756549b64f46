"""Every foreign kernel, in every mode and in five schedules, and every fault planted in one."""

import pytest

from tests.cuda.foreign import cases
from tests.cuda.foreign_runs import assert_caught, assert_right, compile_for_gpu
from tests.cuda.test_foreign_kernels import FOR_NVRTC
from tests.cuda.tools import compiles

CASES = cases()


@pytest.mark.parametrize("seed", [None, *range(4)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_kernel_is_not_accused_in_any_schedule(case, seed):
    assert_right(case, "checked", seed=seed)


@pytest.mark.parametrize("mode", ["fast", "counted"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_kernel_is_right_in_every_mode(case, mode):
    assert_right(case, mode)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_kernel_is_right_when_it_is_traced(case):
    assert_right(case, "traced", write=lambda line: None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_planted_fault_is_caught(case):
    assert_caught(case)


@compiles
@pytest.mark.parametrize("case", FOR_NVRTC, ids=str)
def test_a_gpus_compiler_takes_the_same_kernel(case):
    assert compile_for_gpu(case).registers > 0
