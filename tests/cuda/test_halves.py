"""half, bfloat16, and the tensor-core wrappers of mma.cuh, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import cuda
from tests.cuda.tools import kernel

F32 = np.float32
FILE = "halves.cu"


def to_bfloat16(x):
    """Return the bits of the nearest bfloat16s, halves to even."""
    bits = np.asarray(x, F32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(F32)


def to_tf32(x):
    """Return the nearest TF32s, halves away from zero."""
    return ((np.asarray(x, F32).view(np.uint32) + 0x1000) & 0xFFFFE000).view(F32)


floats = st.floats(width=32, allow_nan=False, allow_subnormal=True)


@given(st.lists(floats, min_size=1, max_size=40))
def test_conversions_round_as_numpy_does(values):
    x = np.array(values, F32)
    n = len(x)
    h, b, back = np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.zeros(3 * n, F32)
    with cuda.emulated():
        kernel(FILE, "conversions")(1, 64, x, h, b, back, n)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    assert (h == half.view(np.uint16)).all()
    assert (b == to_bfloat16(x)).all()
    np.testing.assert_array_equal(back[:n], half.astype(F32))
    np.testing.assert_array_equal(back[n : 2 * n], from_bfloat16(b))
    np.testing.assert_array_equal(back[2 * n :], half.astype(F32) - (-half).astype(F32))


def test_not_a_number_stays_one():
    x = np.array([np.nan], F32)
    h, b, back = np.zeros(1, np.uint16), np.zeros(1, np.uint16), np.zeros(3, F32)
    with cuda.emulated():
        kernel(FILE, "conversions")(1, 1, x, h, b, back, 1)
    assert np.isnan(back).all()
    assert np.isnan(h.view(np.float16)).all()


def test_half_arithmetic_rounds_each_operation_once():
    x = np.random.default_rng(0).standard_normal(64).astype(np.float16)
    y, z = np.zeros((4, 64), np.float16), np.zeros((2, 64), F32)
    with cuda.emulated("checked"):
        kernel(FILE, "half_arithmetic")(2, 32, x, y, z, 64)
    other = np.roll(x, -1)
    exact = x.astype(np.float64) * other + x
    assert (y == np.stack([x + other, x * other, x - other, exact.astype(np.float16)])).all()
    assert (z == np.stack([x.astype(F32), x < other])).all()


def test_bfloat16_arithmetic_rounds_each_operation_once():
    x = to_bfloat16(np.random.default_rng(0).standard_normal(64))
    y, z = np.zeros((4, 64), np.uint16), np.zeros((2, 64), F32)
    with cuda.emulated():
        kernel(FILE, "half_arithmetic")(2, 32, x, y, z, 64, T="__nv_bfloat16")
    a = from_bfloat16(x).astype(np.float64)
    b = np.roll(a, -1)
    assert (y == to_bfloat16(np.stack([a + b, a * b, a - b, a * b + a]).astype(F32))).all()
    assert (z == np.stack([a, a < b])).all()


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("rounded", [True, False])
def test_the_tf32_product(mode, rounded):
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(shape).astype(F32) for shape in [(16, 8), (8, 8), (16, 8)])
    d = c.copy()
    with cuda.emulated(mode):
        kernel(FILE, "tf32_tile")(1, 32, a, b, d, rounded)
    # What is not rounded has its lowest bits left out.
    near = to_tf32 if rounded else lambda x: (x.view(np.uint32) & 0xFFFFE000).view(F32)
    expected = near(a).astype(np.float64) @ near(b) + c
    np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-6)
    # The rounding of the operands is really there.
    assert np.abs(d - (a @ b + c)).max() > 1e-5


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("ctype", ["__half", "__nv_bfloat16"])
def test_the_half_products(mode, ctype):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((16, 16)), rng.standard_normal((8, 16))
    if ctype == "__half":
        a, b = a.astype(np.float16), b.astype(np.float16)
        expected = 2 * (a.astype(np.float64) @ b.astype(np.float64).T)
    else:
        a, b = to_bfloat16(a), to_bfloat16(b)
        expected = 2 * (from_bfloat16(a).astype(np.float64) @ from_bfloat16(b).T)
    d = np.zeros((16, 8), F32)
    with cuda.emulated(mode):
        kernel(FILE, "half_tile")(1, 32, a, b, d, T=ctype)
    np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-6)
