"""Running a fully connected layer on a rung, and comparing it with what is known to be right."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import reference
from minialex.autograd import OPS
from minialex.ops.linear import cuda as linear_cuda

from .conv2d_runs import forced

IMPLEMENTATIONS = OPS["linear"].implementations


def draw(R, O, I, dtype):
    rng = np.random.default_rng(11)
    arrays = (rng.standard_normal(s) for s in ((R, I), (O, I), O, (R, O)))
    return [a.astype(np.float32).astype(dtype) for a in arrays]


def results(rung, x, w, b, gy, backward=None):
    y, saved = IMPLEMENTATIONS[rung].forward(x, w, b)
    return y, *IMPLEMENTATIONS[backward or rung].backward(gy, saved)


def assert_right(got, x, w, b, gy):
    """Hold y to the definition and the gradients to the derivatives of it, in float64."""
    dtype = x.dtype
    x, w, b, gy = (a.astype(np.float64) for a in (x, w, b, gy))
    want = reference.linear(x, w, b), gy @ w, gy.T @ x, gy.sum(axis=0)
    for name, g, t in zip(("y", "gx", "gw", "gb"), got, want, strict=True):
        assert g.dtype == dtype, name
        bound = 200 * np.finfo(dtype).eps * np.abs(t).max(initial=0)
        np.testing.assert_allclose(g, t, rtol=0, atol=bound, err_msg=name)


def parts_of_the_last_block():
    """Have the last block of each tile add up its parts, and those of the bias."""
    _in_parts(fix_up=True)


def parts_of_another_launch():
    """Have another launch add up the same parts."""
    _in_parts(fix_up=False)


def _in_parts(*, fix_up):
    arrays = draw(130, 200, 40, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_cuda, "plan_tiles", forced(4, 3, fix_up))
        assert_right(results("register_blocked", *arrays), *arrays)
