"""A line is named by what it did, though another branch does the same or could."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.emulator import compiler
from tests.cuda.tools import kernel, line_of

F32, I32 = np.float32, np.int32
FILE = "branches.cu"


def caught(name, first, mode, *args):
    x, y = np.arange(first, first + 64, dtype=I32), np.zeros(64, F32)
    with cuda.emulated(mode), pytest.raises(cuda.EmulationError) as info:
        kernel(FILE, name)(1, 32, x, y, *args)
    return info.value


@pytest.mark.parametrize("mode", ["checked", "counted"])
@pytest.mark.parametrize("fault", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("first", [0, 1])
def test_what_both_branches_do_is_told_of_the_one_that_ran(mode, fault, first):
    error = caught("outside", first, mode, fault)
    assert (error.kind, error.thread) == ("out-of-bounds", (0, 0, 0))
    line = line_of(FILE, f"{('EVEN', 'ODD')[first]} {fault}")
    # stores through one pointer in both branches have no line: clang makes one of them
    unknown = {0} if fault == 6 and compiler.compiler().is_clang else set()
    assert error.line in {line} | unknown


def test_what_one_thread_alone_writes_is_told_of_no_other():
    error = caught("one_after_all", 0, "checked", 5)
    assert (error.kind, error.array) == ("race", "box")
    assert error.line == line_of(FILE, "ONE")
    assert "box[0] = 0;  // ALL" in str(error)


@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_a_member_that_is_not_asked_for_is_not_read(mode):
    y = np.zeros(32, F32)
    with cuda.emulated(mode) as emulation:
        kernel(FILE, "one_member")(1, 32, np.arange(32, dtype=I32), y)
    assert (y == 1).all()
    # x[5], the member that is written, the one that is read, and y
    requests = [sum(m.requests for m in counted.memory) for counted in emulation.counts]
    assert requests == [4] * (mode == "counted")
