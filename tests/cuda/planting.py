"""Plants a fault in a kernel and looks whether it is caught."""

from __future__ import annotations

import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.cases import CASES
from minialex.check.verdict import Verdict
from tests.cuda.zoo import Fault


def check(fault: Fault) -> None:
    """Go through the cases of the op, or through the check that the fault names."""
    if fault.check:
        fault.check()
        return
    op = OPS[fault.op]
    pair = suite.Pair(op, fault.implementation, fault.implementation, fault.dtype)
    for case in CASES[fault.op]:
        row = suite.check(pair, case, layout=fault.layout)
        assert row.verdict is Verdict.PASS, str(row)


def assert_caught(fault: Fault) -> None:
    """Hold the checker or the emulator to noticing a fault, and to saying where it is."""
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
