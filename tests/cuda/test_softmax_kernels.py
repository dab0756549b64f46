"""The kernels of softmax and log_softmax, beyond what the conformance suite asks of every one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minialex import Tensor, cuda, ops, reference
from minialex.autograd import OPS
from minialex.errors import MinialexError
from minialex.ops._cuda import rows

NAMES = "softmax", "log_softmax"
THREADS = 1, 32, 256


def draw(shape, dtype=np.float64, times=1.0):
    return (times * np.random.default_rng(5).standard_normal(shape)).astype(dtype)


def results(name, implementation, x, gy, dim):
    one = OPS[name].implementations[implementation]
    y, saved = one.forward(x, dim=dim)
    return y, *one.backward(gy, saved, dim=dim)


def forced(monkeypatch, threads):
    monkeypatch.setattr(rows, "threads_per_row", lambda rows, C, inner: threads)


@pytest.mark.parametrize(
    ("N", "C", "inner", "threads"),
    [
        (10**6, 8, 1, 1),
        (128, 10, 1, 32),
        (10**5, 1024, 1, 32),
        (128, 1000, 1, 256),
        (10**5, 1025, 1, 256),
        (10**5, 1000, 2, 1),
    ],
)
def test_how_many_threads_reduce_a_row(N, C, inner, threads):
    assert rows.threads_per_row(N, C, inner) == threads


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 31, 1), (9, 33, 1), (2, 257, 3), (7, 5, 37)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_threads_does_every_layout(name, threads, dtype, shape, monkeypatch):
    forced(monkeypatch, threads)
    x, gy = draw(shape, dtype, 3), draw(shape, dtype)
    with cuda.emulated("checked", seed=3) as emulation:
        got = results(name, "kernel", x, gy, 1)
    ctype = "float" if dtype == np.float32 else "double"
    assert emulation.launches[f"{name}_forward<{ctype}, {threads}>"] == 1
    for g, w in zip(got, results(name, "plain", x, gy, 1), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=40 * np.finfo(dtype).eps * np.abs(w).max())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(outer=st.integers(0, 9), C=st.integers(1, 300), inner=st.integers(1, 5))
def test_any_shape(name, outer, C, inner):
    x = draw((outer, C, inner), times=10)
    with cuda.emulated():
        y, gx = results(name, "kernel", x, x, 1)
    np.testing.assert_allclose(y, getattr(reference, name)(x, dim=1), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gx, results(name, "plain", x, x, 1)[1], rtol=0, atol=1e-11)


SPECIAL = (np.nan, np.inf, -np.inf, 1e3, -1e3, 3e38, -3e38, 0.0)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_goes_the_way_of_plain(name, threads, monkeypatch):
    forced(monkeypatch, threads)
    # every special number beside every other, and all alike
    x = np.array([[a, b, c] for a in SPECIAL for b in SPECIAL for c in SPECIAL], np.float32)
    with np.errstate(all="ignore"):
        want = results(name, "plain", x, np.ones_like(x), 1)
    with cuda.emulated():
        got = results(name, "kernel", x, np.ones_like(x), 1)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 31, 32, 255, 256, 299])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_one_number_that_is_not_finite_in_a_long_row(name, special, place):
    x = draw((2, 300), np.float32)
    x[1, place] = special
    with np.errstate(all="ignore"):
        want, _ = OPS[name].implementations["plain"].forward(x, dim=1)
    with cuda.emulated():
        got, _ = OPS[name].implementations["kernel"].forward(x, dim=1)
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_in_any_order_of_threads(name, threads, monkeypatch):
    forced(monkeypatch, threads)
    x, gy = draw((9, 300), np.float32, 5), draw((9, 300), np.float32)

    def bits(**order):
        with cuda.emulated(**order):
            return [a.tobytes() for a in results(name, "kernel", x, gy, 1)]

    assert bits() == bits(seed=1) == bits(seed=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_maximum_that_comes_last_and_one_that_comes_first(name):
    up = np.linspace(-900, 900, 1025, dtype=np.float32)
    x = np.stack([up, up[::-1]])
    with cuda.emulated():
        y, _ = OPS[name].implementations["kernel"].forward(x, dim=1)
    want = getattr(reference, name)(x.astype(float), dim=1)
    np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_where_kernels_run_and_nowhere_else(name):
    x = Tensor(draw((3, 4, 5), np.float32), requires_grad=True)
    with cuda.emulated() as emulation:
        y = getattr(ops, name)(x, 1)
        (y * y).sum().backward()
    assert {f"{name}_forward<float, 1>", f"{name}_backward<float, 1>"} <= set(emulation.launches)
    with pytest.raises(MinialexError, match="emulated"):
        results(name, "kernel", x.data, x.data, 1)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_large_to_index_is_refused(name):
    x = np.broadcast_to(np.float32(0), (2**16, 2**15))
    with cuda.emulated(), pytest.raises(ValueError, match=f"{name}: x has 2147483648 elements"):
        OPS[name].implementations["kernel"].forward(x, dim=1)
