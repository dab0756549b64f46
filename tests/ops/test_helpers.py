"""Functions that are made of ops, or of no op at all: none has cases in ``minialex.check.cases``.

They are found by themselves. Each is held to NumPy's on the cases here, and its gradient, where it
has one, to that of what it computes.
"""

import operator

import numpy as np
import pytest

from minialex import Tensor, ops
from minialex.autograd import OPS
from minialex.check import gradcheck

HELPERS = sorted(set(ops.__all__) - set(OPS))

MAPS = np.random.default_rng(0).standard_normal((2, 3, 3, 4))
SQUARE = np.array([[1.0, 2, 3], [3, 2, 1], [2, 2, 2]])
TRUTHS = np.array([[True, False, True], [False, False, True]])


def compared(name, function):
    """Return the cases of a comparison: equals, broadcasting, a number on either side, NaN."""
    nan = np.array([np.nan, 1.0, np.inf])
    numbers = (SQUARE, 2.0), (2, SQUARE)
    pairs = (SQUARE, SQUARE.T), (SQUARE, SQUARE[0]), *numbers, (nan, nan[::-1])
    return [(getattr(ops, name), function, pair) for pair in pairs]


def axes(theirs, ours, choices):
    """Return the cases of a function of an array and axes, or of what it is given by name."""
    return [(lambda x, c=c: ours(x, **c), lambda x, c=c: theirs(x, **c), (MAPS,)) for c in choices]


def numpys_mean(x, dim=None, keepdim=False):
    return np.mean(x, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim)


def numpys_flatten(x, start_dim=0, end_dim=-1):
    end = end_dim % x.ndim + 1
    return x.reshape(*x.shape[:start_dim], -1, *x.shape[end:])


CASES = {
    "mean": axes(
        numpys_mean,
        lambda x, **c: ops.mean(x, **c),
        [
            {},
            {"dim": 1},
            {"dim": -1, "keepdim": True},
            {"dim": (1, 2)},
            {"dim": [0, 3], "keepdim": True},
            {"dim": ()},
        ],
    ),
    "flatten": axes(
        numpys_flatten,
        lambda x, **c: ops.flatten(x, **c),
        [{}, {"start_dim": 1}, {"end_dim": 1}, {"start_dim": 1, "end_dim": 2}, {"end_dim": -2}],
    ),
    "transpose": axes(
        lambda x, dim0, dim1: x.swapaxes(dim0, dim1),
        lambda x, **c: ops.transpose(x, **c),
        [{"dim0": 0, "dim1": 3}, {"dim0": 1, "dim1": 2}, {"dim0": -1, "dim1": 1}],
    ),
    "equal": compared("equal", operator.eq),
    "not_equal": compared("not_equal", operator.ne),
    "less": compared("less", operator.lt),
    "less_equal": compared("less_equal", operator.le),
    "greater": compared("greater", operator.gt),
    "greater_equal": compared("greater_equal", operator.ge),
    "logical_and": [(ops.logical_and, operator.and_, (TRUTHS, TRUTHS[::-1]))],
    "logical_or": [(ops.logical_or, operator.or_, (TRUTHS, TRUTHS[::-1]))],
    "logical_not": [(ops.logical_not, operator.invert, (TRUTHS,))],
}

GRID = [
    pytest.param(*case, id=f"{n}-{i}") for n, many in CASES.items() for i, case in enumerate(many)
]


def test_every_helper_has_cases():
    assert not set(HELPERS) - set(CASES), (
        "ops made of others need cases in tests/ops/test_helpers.py"
    )
    assert set(CASES) <= set(HELPERS)


def assert_right(ours, theirs, inputs):
    leaves = [leaf(a) if isinstance(a, np.ndarray) else a for a in inputs]
    y, want = ours(*leaves), np.asarray(theirs(*inputs))
    assert y.dtype == want.dtype
    np.testing.assert_allclose(y.data, want, rtol=1e-14)
    assert y.requires_grad == (want.dtype.kind == "f")
    if y.requires_grad:
        assert gradcheck(ours, *leaves)
        gradient_is_numpys(ours, theirs, *leaves)


def leaf(a):
    return Tensor(a, requires_grad=a.dtype.kind == "f")


def assert_all_right(cases):
    for case in cases:
        assert_right(*case)


def gradient_is_numpys(ours, theirs, x):
    """Compare with the matrix of a linear function: how the definition moves each element."""
    y = ours(x)
    gy = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(gy)
    units = np.eye(x.size).reshape(x.size, *x.shape)
    want = np.array([(theirs(unit) * gy).sum() for unit in units]).reshape(x.shape)
    np.testing.assert_allclose(x.grad, want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("ours", "theirs", "inputs"), GRID)
def test_a_helper_is_right_and_so_is_its_gradient(ours, theirs, inputs):
    assert_right(ours, theirs, inputs)


def wrong_mean(x, dim=None, keepdim=False):
    """Divide by how many elements there are, not by how many are added up."""
    return ops.sum(x, dim, keepdim) / x.size


WRONG = {
    "mean": wrong_mean,
    "transpose": lambda x, dim0, dim1: x,
    "flatten": lambda x, start_dim=0, end_dim=-1: ops.reshape(x, *x.shape[:start_dim], -1),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG.items())
def test_a_wrong_helper_is_noticed(monkeypatch, name, wrong):
    monkeypatch.setattr(ops, name, wrong)
    with pytest.raises(AssertionError):
        assert_all_right(CASES[name])
