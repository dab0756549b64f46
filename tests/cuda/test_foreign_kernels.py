"""Kernels in the styles of public code run as they are; what is planted in them is caught.

Here those that are drawn by name; ``tests/campaigns`` runs the others, in more modes.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.cuda.foreign import cases
from tests.cuda.foreign.case import FOLDER, drawn
from tests.cuda.foreign_runs import assert_caught, assert_right

CASES = cases()
_KERNEL = re.compile(r"__global__\s[^;{]*?\b(\w+)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*\{")


@pytest.mark.parametrize("case", drawn(CASES, 8), ids=str)
def test_a_right_kernel_is_right_and_not_accused(case):
    assert_right(case, "checked", seed=1)


@pytest.mark.parametrize("case", drawn(CASES, 12, part=1), ids=str)
def test_a_planted_fault_is_caught(case):
    assert_caught(case)


@pytest.mark.parametrize("mode", ["fast", "counted"])
@pytest.mark.parametrize("case", drawn(CASES, 30, part=2), ids=str)
def test_a_right_kernel_is_right_in_other_modes(case, mode):
    assert_right(case, mode)


@pytest.mark.parametrize("file", sorted({case.file for case in CASES}))
def test_each_kernel_of_a_file_has_a_case(file):
    with_case = Counter(case.kernel.split("::")[-1] for case in CASES if case.file == file)
    in_text = Counter(_KERNEL.findall((FOLDER / file).read_text("utf-8")))
    # those of the headers beside it are among its cases too
    assert not set(in_text) - set(with_case)


def test_each_fault_is_an_edit_of_a_text_that_stands_once():
    for case in CASES:
        assert case.path.read_text("utf-8").count(case.fault.old) == 1, str(case)
        assert case.fault.new != case.fault.old


def test_each_case_has_a_name_of_its_own():
    assert max(Counter(map(str, CASES)).values()) == 1
