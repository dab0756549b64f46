"""The functions that people call, against the implementation that they are to call.

What an op computes is checked on its record; here, that the function gives it what it was given.
"""

import numpy as np
import pytest

from minialex import Tensor, ops, using
from minialex.autograd import OPS
from minialex.check.cases import CASES
from minialex.check.suite import as_given, baseline

CALLS = {
    "concatenate": lambda *xs, dim: ops.concatenate(xs, dim),
    "max": lambda x, dims, keepdim: ops.max(x, dims, keepdim),
    "permute": lambda x, dims: ops.permute(x, dims),
    "reshape": lambda x, shape: ops.reshape(x, shape),
    "sum": lambda x, dims, keepdim: ops.sum(x, dims, keepdim),
}
"""How those are called whose arguments have other names than the parameters of the op."""

GRID = [
    pytest.param(name, case, id=f"{name}-{case.name}")
    for name in sorted(OPS)
    for case in CASES.get(name, ())
]


@pytest.mark.parametrize(("name", "case"), GRID)
def test_a_function_runs_its_op_on_what_it_is_given(name, case):
    arrays = case.draw(name)
    wanted = case.differentiable(arrays)
    tensors = [
        None if a is None else Tensor(a, requires_grad=i in wanted) for i, a in enumerate(arrays)
    ]
    with using(**{name: "plain"}), as_given(*arrays):
        y = CALLS.get(name, getattr(ops, name))(*tensors, **case.params)
        want, saved = baseline(OPS[name]).run(arrays, case.params)
    assert (y.shape, y.dtype) == (want.shape, want.dtype)
    np.testing.assert_array_equal(y.data, want)
    if y.node is None:
        # what is of that type or there already is itself
        assert y is tensors[0]
        return
    assert y.node.name == name
    assert [edge is not None for edge in y.node.edges] == [i in wanted for i in range(len(arrays))]
    for got, kept in zip(y.node.saved, saved, strict=True):
        np.testing.assert_array_equal(got, kept)
