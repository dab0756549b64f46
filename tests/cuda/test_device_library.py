"""What kernels have of CUDA's headers and of std without including them, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minialex import cuda
from tests.cuda.test_halves import from_bfloat16, to_bfloat16
from tests.cuda.tools import kernel

F32, F64 = np.float32, np.float64
FILE = "library/device_library.cu"


def run(name, block, *arrays, mode="checked", **options):
    with cuda.emulated(mode):
        kernel(FILE, name)(1, block, *arrays, **options)


def test_constants():
    f, d, i = np.zeros(15, F32), np.zeros(5), np.zeros(9, np.int64)
    run("constants", 1, f, d, i)
    limits, half = np.finfo(F32), np.finfo(np.float16)
    expected = [np.inf, np.nan, limits.max, limits.tiny, limits.eps, np.inf, np.nan, np.pi]
    expected += [np.sqrt(0.5), limits.min, -np.inf, np.inf, 1, half.max, half.eps]
    np.testing.assert_array_equal(f, np.array(expected, F32))
    assert f.view(np.uint32)[6] == 0x7FFFFFFF
    np.testing.assert_array_equal(d, [np.pi, np.finfo(F64).max, np.pi, np.sqrt(0.5), np.inf])
    most = 2**63 - 1
    assert i.tolist() == [-(2**31), 2**32 - 1, most, -1, 32767, 2**31, 65535, most, 255]


def test_standard_library():
    x = np.array([1.5, -2.5, 9], F32)
    y, z = np.zeros(8, F32), np.zeros(5, np.int32)
    run("standard", 1, x, y, z)
    np.testing.assert_allclose(y, [-2.5, 1.5, -2.5, 3, np.exp(F32(-2.5)), 1.5, 1.5, 2.5], rtol=1e-6)
    assert z.tolist() == [1, 5, 7, 4, 36]


def bounds(exact):
    """Return the floats next below and above exact results, themselves where they are floats."""
    near = exact.astype(F32)
    down = np.where(near > exact, np.nextafter(near, F32(-np.inf)), near)
    return down, np.where(near < exact, np.nextafter(near, F32(np.inf)), near)


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_directed_rounding(mode):
    n = 64
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n)).astype(F32)
    u = rng.standard_normal(n)
    out, v = np.zeros((15, n), F32), np.zeros((5, n))
    run("rounded", n, x, y, out, u, v, n, mode=mode)
    long = np.longdouble
    a, b = x.astype(long), y.astype(long)
    for first, exact in (0, a + b), (3, a * b), (6, a / b):
        down, up = bounds(exact)
        assert (out[first] == np.where(exact < 0, up, down)).all()
        assert (out[first + 1] == up).all()
        assert (out[first + 2] == down).all()
        assert (up != down).any()
    for first, exact in (9, a * b + a), (11, np.sqrt(abs(a))), (13, 1 / a):
        down, up = bounds(exact)
        assert (out[first] == up).all()
        assert (out[first + 1] == down).all()
    assert (v[0] == np.nextafter(u, np.inf)).all()
    assert (v[1] == np.nextafter(u, -np.inf)).all()
    assert (v[2] == u / 3).all()
    assert (v[3] == np.sqrt(abs(u))).all()
    np.testing.assert_allclose(v[4], u * 3 + 1, rtol=1e-14, atol=1e-15)


def test_conversions_to_whole_numbers_end_where_the_type_does():
    x = np.array([2.5, -2.5, 3.5, 0.1, -0.1, 3e9, -3e9, 5e9, 1e20, -1e20, np.nan], F32)
    n = len(x)
    i, u = np.zeros((5, n), np.int32), np.zeros((2, n), np.uint32)
    w, f = np.zeros((2, n), np.int64), np.zeros((5, n), F32)
    run("to_whole", 32, x, i, u, w, f, n)
    for row, way in enumerate((np.rint, np.trunc, np.ceil, np.floor, np.rint)):
        expected = np.clip(np.nan_to_num(way(x.astype(F64))), -(2**31), 2**31 - 1)
        assert (i[row] == expected).all()
    for row, way in enumerate((np.rint, np.trunc)):
        assert (u[row] == np.clip(np.nan_to_num(way(x.astype(F64))), 0, 2**32 - 1)).all()
    for row, way in enumerate((np.rint, np.floor)):
        wide = [0 if math.isnan(v) else int(way(F64(v))) for v in x]
        assert w[row].tolist() == [min(max(v, -(2**63)), 2**63 - 1) for v in wide]
    numbers = 16777217 * np.arange(1, n + 1)
    assert (f[0] == bounds(numbers.astype(np.longdouble))[0]).all()
    assert (f[1] == bounds(-numbers.astype(np.longdouble))[1]).all()
    assert (f[2] == 16777216).all()
    assert (f[3] == bounds((0.1 * np.arange(1, n + 1)).astype(np.longdouble))[1]).all()
    np.testing.assert_array_equal(f[4], x)


def test_whole_numbers():
    n = 32
    x = np.random.default_rng(1).integers(0, 2**32, n, dtype=np.uint32)
    y, z = np.zeros((22, n), np.uint32), np.zeros((2, n), np.uint64)
    run("whole_numbers", n, x, y, z, n)
    other = np.roll(x, -1)
    assert (
        y[:, :].tolist()
        == np.array(
            [_whole(int(a), int(b)) for a, b in zip(x, other, strict=True)], np.uint32
        ).T.tolist()
    )
    for i, (a, b) in enumerate(zip(x, other, strict=True)):
        assert int(z[0, i]) == int(f"{int(a) << 32 | int(b):064b}"[::-1], 2)
        high = (-5 << 60) % 2**64
        assert int(z[1, i]) == ((high - 2**64 if high >> 63 else high) * int(a) >> 64) % 2**64


def _whole(a, b):
    """Return what each function makes of two words."""

    def signed(v, bits=32):
        return v - (1 << bits) if v >> (bits - 1) else v

    def parts(bits, make):
        lanes = [((a >> s) % 2**bits, (b >> s) % 2**bits, s) for s in range(0, 32, bits)]
        return sum((make(p, q) % 2**bits) << s for p, q, s in lanes)

    def dot(read):
        return sum(read(a >> s & 255) * read(b >> s & 255) for s in (0, 8, 16, 24))

    def perm(choice):
        both, out = b << 32 | a, 0
        for i in range(4):
            out |= (both >> 8 * (choice >> 4 * i & 7) & 255) << 8 * i
        return out

    bits = [i for i in range(32) if a >> i & 1]
    sa, sb = signed(a), signed(b)
    return [
        v % 2**32
        for v in (
            perm(0x7531),
            perm(0x0EB8),
            abs(sa - sb) + 7,
            abs(a - b) + 7,
            parts(8, lambda p, q: p + q),
            parts(16, lambda p, q: p - q),
            parts(8, lambda p, q: min(p + q, 255)),
            parts(16, lambda p, q: min(max(signed(p, 16) - signed(q, 16), -32768), 32767)),
            parts(8, lambda p, q: abs(p - q)),
            sum(abs((a >> s & 255) - (b >> s & 255)) for s in (0, 8, 16, 24)),
            parts(8, lambda p, q: 255 if p > q else 0),
            parts(16, lambda p, q: int(signed(p, 16) < signed(q, 16))),
            dot(lambda v: signed(v, 8)) + 5,
            dot(lambda v: v) + 5,
            bits[2],
            bits[-2],
            a,
            (a % 2**24) * (b % 2**24),
            (sa + sb) >> 1,
            (a + b + 1) >> 1,
            5,
            max(a, b),
        )
    ]


def test_special_functions():
    x = np.array([0.1, 0.25, 0.5, 0.7, 0.9, 0.999])
    y = np.zeros((12, len(x)))
    run("special", 32, x, y, len(x))
    for row, value in enumerate(y[0]):
        assert math.erf(value) == pytest.approx(x[row], rel=1e-14)
        assert math.erfc(y[1, row]) == pytest.approx(1 + x[row], rel=1e-14)
        assert math.erf(y[2, row] / math.sqrt(2)) == pytest.approx(x[row], rel=1e-12)
    scaled = [math.exp((40 * v) ** 2) * math.erfc(40 * v) if v < 0.6 else None for v in x]
    for value, expected, at in zip(y[3], scaled, 40 * x, strict=True):
        near = 1 / (at * math.sqrt(math.pi)) * (1 - 0.5 / at**2 + 0.75 / at**4)
        assert value == pytest.approx(expected or near, rel=1e-6)
    assert y[4] == pytest.approx(np.i0(x), rel=1e-7)
    h = 1e-5
    assert y[5] == pytest.approx((np.i0(x + h) - np.i0(x - h)) / (2 * h), rel=1e-6)
    assert y[6] == pytest.approx(np.sqrt(x * x + 5), rel=1e-15)
    assert y[7] == pytest.approx(1 / np.sqrt(x * x + 14), rel=1e-15)
    assert y[8] == pytest.approx(1 / np.hypot(x, 1), rel=1e-15)
    assert y[9] == pytest.approx(np.sin(np.pi * x), rel=1e-13)
    assert y[10] == pytest.approx(y[0], rel=1e-5)
    assert y[11] == pytest.approx(y[6], rel=1e-6)


def test_clocks_go_forward():
    out = np.zeros(4, np.int64)
    run("ticks", 4, out)
    assert out.all()


@pytest.mark.parametrize("ctype", ["__half", "__nv_bfloat16"])
def test_pairs_of_halves(ctype):
    rng = np.random.default_rng(2)
    n, is_half = 64, ctype == "__half"
    encode = (lambda v: np.asarray(v, np.float16)) if is_half else to_bfloat16
    decode = (lambda v: v.astype(F64)) if is_half else lambda v: from_bfloat16(v).astype(F64)
    x = encode(rng.standard_normal(n).astype(F32))
    y, z = np.zeros((21, n), x.dtype), np.zeros((4, n), np.int32)
    run("pairs", 32, x, y, z, n, T=ctype)
    a = decode(x)
    b = np.roll(a.reshape(-1, 2), -1, axis=0).ravel()

    def near(v):
        return decode(encode(np.asarray(v, F32)))

    total = near(near(a + b) + 1)
    swapped = a.reshape(-1, 2)[:, ::-1].ravel()
    exact = [a + b, a - b, a * b, None, a * b + b, np.maximum(a, b), np.minimum(a, b), -a, abs(a)]
    exact += [None, None, None, np.floor(a), np.rint(a), a > b, np.clip(a + b, 0, 1), total]
    exact += [near(a * b) - a, None, swapped, np.maximum(a * b + a, 0)]
    for row, expected in enumerate(exact):
        if expected is not None:
            np.testing.assert_array_equal(decode(y[row]), near(expected), err_msg=str(row))
    step = 2.0**-10 if is_half else 2.0**-7
    rough = {3: a / b, 9: np.exp(a), 10: np.sqrt(abs(a)), 11: 1 / a, 18: np.cos(a)}
    for row, expected in rough.items():
        np.testing.assert_allclose(decode(y[row]), expected, rtol=step, atol=1e-4)
    both = (a > b).reshape(-1, 2).all(axis=1)
    assert (z[0, : n // 2] == both).all()
    assert z[1, : n // 2].all()
    assert (z[2, : n // 2] == np.trunc(a[::2])).all()
    assert z[3, : n // 2].all()


def test_conversions_of_halves():
    x = np.random.default_rng(3).uniform(-300, 300, 32).astype(F32)
    y, z = np.zeros((6, 32), np.float16), np.zeros((4, 32), np.int32)
    run("half_conversions", 32, x, y, z, 32)
    near = x.astype(np.float16)
    down = np.where(near > x, np.nextafter(near, np.float16(-np.inf)), near)
    up = np.where(near < x, np.nextafter(near, np.float16(np.inf)), near)
    assert (y[0] == np.where(x < 0, up, down)).all()
    assert (y[1] == up).all()
    assert (y[2] == down).all()
    assert (y[3] == np.trunc(x)).all()
    assert (y[4] == near).all()
    assert (y[5] == near.reshape(-1, 2)[:, ::-1].ravel()).all()
    for row, way in enumerate((np.rint, np.trunc, np.ceil)):
        assert (z[row] == way(near.astype(F32))).all()
    assert (z[3] == np.sign(x)).all()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_atomics_on_halves(mode):
    pair, one = np.zeros(2, np.float16), np.zeros(1, np.float16)
    other, once = np.zeros(1, np.uint16), np.zeros(2, np.uint16)
    block = np.zeros(2, np.int32)
    run("half_sums", 64, pair, one, other, once, block, mode=mode)
    assert pair.tolist() == [64, 128]
    assert one.tolist() == [64]
    assert from_bfloat16(other).tolist() == [64]
    assert 1 <= once[0] <= 64
    assert once[1] == 0
    assert block.tolist() == [64, 63]
