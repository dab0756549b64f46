"""Running layers on activations of bfloat16, and on the same numbers in float32."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np

from minialex import Tensor, optim
from minialex.autograd import OPS
from minialex.check import Verdict, kinds
from minialex.check.kinds import Kind
from minialex.check.suite import Pair
from minialex.check.verdict import worst

from . import linear_runs
from .conv2d_runs import Conv

BFLOAT16, F32 = ml_dtypes.bfloat16, np.float32
LINEAR, CONV2D = (OPS[name].implementations["bf16"] for name in ("linear", "conv2d"))
ASTYPE = OPS["astype"].implementations["kernel"]
NAMES = "y", "gx", "gw", "gb"


def two_runs(one, arrays, backward=None, **params):
    """Return y, gx, gw and gb for activations of bfloat16, and for the same numbers in float32.

    `arrays` are x, w, b and gy, in float32; `backward` holds keywords of the backward alone.
    """
    x, w, b, gy = arrays
    found = []
    for dtype in BFLOAT16, F32:
        y, saved = one.forward(x.astype(BFLOAT16).astype(dtype), w, b, **params)
        gradient = gy.astype(BFLOAT16).astype(dtype)
        found.append((y, *one.backward(gradient, saved, **(backward or {}), **params)))
    return found


def assert_rounded_once(got, wanted):
    """Hold y and gx to those of float32, rounded, and gw and gb to the same bits."""
    for name, g, t in zip(NAMES, got, wanted, strict=True):
        if t is None:
            assert g is None, name
            continue
        dtype = BFLOAT16 if name in ("y", "gx") else F32
        assert g.dtype == dtype, name
        rounded = t.astype(dtype)
        bits, number = f"u{rounded.itemsize}", ~np.isnan(t)
        np.testing.assert_array_equal(~np.isnan(g.astype(F32)), number, err_msg=name)
        np.testing.assert_array_equal(
            g.view(bits)[number], rounded.view(bits)[number], err_msg=name
        )


def linear_of_bfloat16():
    """Have rows in whole chunks and others, of results in whole vectors and others."""
    for sizes in (9, 24, 40), (7, 36, 41), (5, 31, 12):
        assert_rounded_once(*two_runs(LINEAR, linear_runs.draw(*sizes, F32)))


def conv2d_of_bfloat16():
    """Have groups, and channels in no whole chunks."""
    case = Conv((2, 34, 5, 6), 20, (3, 2), (1, 2), (1, 1), groups=2)
    assert_rounded_once(*two_runs(CONV2D, case.draw(F32), **case.params))


@functools.cache
def kernels_of_bfloat16(op):
    """Return the check of an op's kernels on bfloat16: all its cases, against float32 rounded."""
    return functools.partial(_check_cases, op)


def _check_cases(op):
    pair = Pair(OPS[op], "kernel", "kernel", np.dtype(F32))
    cases = kinds.cases_of(Kind.BFLOAT16, pair)
    assert cases, op
    for case in cases:
        found = kinds.bfloat16(pair, case).findings
        assert worst([f.verdict for f in found]) is Verdict.PASS, found


def types_converted():
    """Hold the kernel of astype to NumPy between any two types: ties, infinities, NaN."""
    rng = np.random.default_rng(6)
    ties = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -0.0, 1e-40, 1e39]
    drawn = np.concatenate([ties, [np.nan, np.inf, -np.inf], rng.standard_normal(2500)])
    for source in F32, np.float64, BFLOAT16:
        for wanted in F32, np.float64, BFLOAT16:
            with np.errstate(over="ignore"):
                x = drawn.astype(source)
                want = x.astype(wanted)
            got = ASTYPE.forward(x, dtype=np.dtype(wanted))[0]
            np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))
            assert got.dtype == want.dtype
            assert np.signbit(got[3])


def shadow_is_current():
    """Hold the shadow of parameters, in vectors and in single numbers, to what they are rounded."""
    rng = np.random.default_rng(7)
    params = [Tensor(rng.standard_normal(n).astype(F32), requires_grad=True) for n in (64, 7, 301)]
    optimizer = optim.RMSprop(params, lr=0.1, momentum=0.9)
    optimizer.refresh_shadow()
    for p in params:
        p.grad = rng.standard_normal(p.shape).astype(F32)
    optimizer.step()
    for p in params:
        assert p.shadow.tobytes() == p.array.astype(BFLOAT16).tobytes()
