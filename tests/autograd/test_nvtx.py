"""Ranges of NVTX around ops: by name, in order, and nothing of them afterwards."""

import sys
import types

import numpy as np
import pytest

import minialex
from minialex import nn, ops, optim
from minialex.autograd import OPS, ROUTINES, Tensor
from minialex.errors import MinialexError


@pytest.fixture
def ranges(monkeypatch):
    """Stand in for CuPy, and return what is pushed and popped."""
    seen = []
    nvtx = types.SimpleNamespace(RangePush=seen.append, RangePop=lambda: seen.append("end"))
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(nvtx=nvtx), ndarray=np.ndarray)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return seen


def step():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    parameter = nn.Parameter(np.ones((4, 3), np.float32))
    optimizer = optim.RMSprop([parameter], lr=0.1)
    loss = ops.cross_entropy(ops.linear(ops.relu(x), parameter), np.array([0, 1]))
    loss.backward()
    optimizer.step()
    return parameter.data


def test_each_pass_of_an_op_is_a_range(ranges):
    expected = step()
    assert ranges == []
    with minialex.emit_nvtx(), minialex.using("plain"):
        found = step()
    names = [
        *("relu forward plain", "linear forward plain", "cross_entropy forward plain"),
        *("cross_entropy backward plain", "linear backward plain", "relu backward plain"),
        "rmsprop plain",
    ]
    assert ranges == [word for name in names for word in (name, "end")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_afterwards_everything_is_as_before(ranges):
    before = {name: dict(one.implementations) for name, one in ROUTINES.items()}
    with pytest.raises(ZeroDivisionError), minialex.emit_nvtx():
        _ = 1 / (OPS["conv2d"].implementations["tiled"] is before["conv2d"]["tiled"])
    assert before == {name: one.implementations for name, one in ROUTINES.items()}
    step()
    assert ranges == []


def test_a_range_ends_where_an_op_fails(ranges):
    with minialex.emit_nvtx(), pytest.raises(TypeError):
        OPS["local_response_norm"].implementations["plain"].forward(None)
    assert ranges == ["local_response_norm forward plain", "end"]


def test_without_cupy_it_says_what_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MinialexError, match="ranges of NVTX need CuPy"), minialex.emit_nvtx():
        pass
