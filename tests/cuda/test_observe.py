"""Looking on while kernels are launched, and what is left after one that faulted."""

import contextlib
import sys
import types

import pytest

from minialex import cuda, emulated, ops
from minialex.cuda import emulator
from minialex.cuda.fault import check_context, lost_context
from minialex.cuda.observe import wrapped_launches
from minialex.errors import MinialexError


def test_a_wrapper_sees_each_launch_until_the_block_ends():
    seen, before = [], emulator.launch

    def noting(launch):
        def call(plan, values):
            seen.append((plan.signature.name, plan.grid, plan.block, plan.shared))
            launch(plan, values)

        return call

    with emulated(), contextlib.suppress(ZeroDivisionError), wrapped_launches(noting):
        assert ops.relu([-1.0, 2.0]).numpy().tolist() == [0.0, 2.0]
        raise ZeroDivisionError
    assert seen == [("relu_forward", (1, 1, 1), (cuda.BLOCK_SIZE, 1, 1), 0)]
    assert emulator.launch is before


class CUDARuntimeError(Exception):
    pass


def use_cupy(monkeypatch, answer, *, available=True):
    runtime = types.SimpleNamespace(deviceSynchronize=answer, CUDARuntimeError=CUDARuntimeError)
    module = types.SimpleNamespace(runtime=runtime, is_available=lambda: available)
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=module))


def faulted():
    raise CUDARuntimeError("cudaErrorIllegalAddress")


def test_a_gpu_that_answers_is_not_lost(monkeypatch):
    use_cupy(monkeypatch, lambda: None)
    assert lost_context() == ""
    check_context("relu")


def test_a_gpu_that_answers_with_an_error_is_lost(monkeypatch):
    use_cupy(monkeypatch, faulted)
    assert lost_context() == "cudaErrorIllegalAddress"
    with pytest.raises(MinialexError, match=r"^relu corrupted the CUDA context \(cudaErr"):
        check_context("relu")


def test_without_a_gpu_there_is_none_to_lose(monkeypatch):
    use_cupy(monkeypatch, faulted, available=False)
    assert lost_context() == ""
    monkeypatch.delitem(sys.modules, "cupy")
    assert lost_context() == ""
