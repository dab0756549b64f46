"""The kernels of the cross-entropy, beyond what the conformance suite asks of every one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minialex import Tensor, cuda, ops, reference
from minialex.autograd import OPS
from minialex.errors import MinialexError
from minialex.ops._cuda import rows

PLAIN, KERNEL = (OPS["cross_entropy"].implementations[name] for name in ("plain", "kernel"))
BOTH = pytest.mark.parametrize("one", [PLAIN, KERNEL], ids=["plain", "kernel"])
REDUCTIONS = "mean", "sum", "none"
IGNORE = -100


def params(reduction="mean", smoothing=0.0, ignore=IGNORE):
    return {"label_smoothing": smoothing, "ignore_index": ignore, "reduction": reduction}


def draw(N, C, dtype=np.float32):
    rng = np.random.default_rng(N * C)
    return rng.standard_normal((N, C)).astype(dtype), rng.integers(0, C, N)


def results(one, x, targets, w=None, **settings):
    p = params(**settings)
    y, saved = one.forward(x, targets, w, **p)
    gy = np.linspace(1, 2, y.size, dtype=x.dtype).reshape(y.shape)
    return y, one.backward(gy, saved, **p)[0]


def assert_alike(got, want, dtype):
    for g, w in zip(got, want, strict=True):
        atol = 60 * np.finfo(dtype).eps * max(1, np.abs(w).max(initial=0))
        np.testing.assert_allclose(g, w, rtol=0, atol=atol)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("threads", [1, 32, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_does_everything(threads, dtype, reduction, monkeypatch):
    monkeypatch.setattr(rows, "threads_per_row", lambda rows, C, inner: threads)
    for N, C in ((1, 1), (9, 31), (257, 3), (3, 300)):
        x, targets = draw(N, C, dtype)
        targets[N // 2] = IGNORE
        w = np.linspace(0.5, 2, C, dtype=dtype)
        how = {"reduction": reduction, "smoothing": 0.1}
        with cuda.emulated("checked", seed=2):
            got = results(KERNEL, x, targets, w, **how)
        assert_alike(got, results(PLAIN, x, targets, w, **how), dtype)


@settings(max_examples=60)
@given(
    N=st.integers(0, 40),
    C=st.integers(1, 300),
    reduction=st.sampled_from(REDUCTIONS),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    weighted=st.booleans(),
)
def test_any_shape(N, C, reduction, smoothing, weighted):
    x, targets = draw(N, C, np.float64)
    w = np.linspace(0.5, 2, C) if weighted else None
    how = {"reduction": reduction, "smoothing": smoothing}
    with cuda.emulated():
        got = results(KERNEL, x, targets, w, **how)
    want = reference.cross_entropy(x, targets, w, **params(**how))
    np.testing.assert_allclose(got[0], want, rtol=1e-12, atol=1e-12)
    assert_alike(got, results(PLAIN, x, targets, w, **how), np.float64)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_targets_of_any_integer_type(dtype):
    x, targets = draw(7, 5)
    with cuda.emulated():
        want = results(KERNEL, x, targets)
        got = results(KERNEL, x, targets.astype(dtype))
        _, saved = KERNEL.forward(x, targets.astype(dtype), None, **params())
    assert saved[1].dtype == dtype
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


@BOTH
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("wrong", [5, -1, 2**31, 2**32, 2**40 + 1, -(2**62)])
def test_a_target_that_is_no_class_is_a_loss_that_is_no_number(one, wrong, weighted, reduction):
    x, targets = draw(4, 5)
    targets[1] = wrong
    w = np.ones(5, np.float32) if weighted else None
    with cuda.emulated("checked"):
        loss, gx = results(one, x, targets, w, reduction=reduction)
    if reduction == "none":
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
    else:
        assert np.isnan(loss)
    assert np.isnan(gx[1]).all()
    # the mean is over a weight that is not known
    assert np.isnan(gx[0]).all() == (reduction == "mean")


@BOTH
@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf])
def test_what_is_in_a_row_that_does_not_count_does_not_matter(one, fill):
    x, targets = draw(4, 5)
    targets[2], x[2] = IGNORE, fill
    with cuda.emulated(), np.errstate(all="ignore"):
        loss, gx = results(one, x, targets, smoothing=0.1)
        rest, _ = results(one, np.delete(x, 2, 0), np.delete(targets, 2), smoothing=0.1)
    assert loss == pytest.approx(rest, rel=1e-6)
    assert (gx[2] == 0).all()
    assert np.isfinite(gx).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("C", [3, 40, 300])
def test_what_is_not_finite_goes_the_way_of_plain(C, smoothing):
    special = (np.nan, np.inf, -np.inf, 1e3, -1e3, 3e38, -3e38)
    x = draw(3 * len(special), C)[0].reshape(3, -1, C)
    # in the target's place, in another, and in all
    for row, value in enumerate(special):
        x[0, row, 0], x[1, row, 1], x[2, row] = value, value, value
    x, targets = x.reshape(-1, C), np.zeros(3 * len(special), int)
    how = {"reduction": "none", "smoothing": smoothing}
    with cuda.emulated(), np.errstate(all="ignore"):
        got, want = (results(one, x, targets, **how) for one in (KERNEL, PLAIN))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_a_class_of_weight_0_adds_nothing_however_improbable_it_is(smoothing):
    x, targets = draw(4, 5)
    targets[:2] = 0
    w = np.array([0, 1, 2, 1, 1], np.float32)
    how = {"reduction": "none", "smoothing": smoothing}

    def losses(low):
        x[:, 0] = low
        with cuda.emulated():
            return [
                results(KERNEL, x, targets, w, **how)[0],
                results(PLAIN, x, targets, w, **how)[0],
                reference.cross_entropy(x, targets, w, **params(**how)),
            ]

    # of both, the exponential is 0
    np.testing.assert_array_equal(losses(-np.inf), losses(-900))


def test_an_ignored_class_beyond_all_others_and_among_them():
    x, targets = draw(6, 3)
    for ignore in (-1, 1, 255, 2**40):
        targets[0] = ignore
        with cuda.emulated("checked"):
            got = results(KERNEL, x, targets, ignore=ignore)
        assert_alike(got, results(PLAIN, x, targets, ignore=ignore), np.float32)


@pytest.mark.parametrize("C", [5, 100, 300])
def test_the_same_bits_in_any_order_of_threads(C):
    x, targets = draw(300, C)

    def bits(**order):
        with cuda.emulated(**order):
            return [a.tobytes() for a in results(KERNEL, x, targets, smoothing=0.1)]

    assert bits() == bits(seed=1) == bits(seed=2)


def test_it_runs_where_kernels_run_and_nowhere_else():
    x, targets = draw(6, 10)
    logits = Tensor(x, requires_grad=True)
    with cuda.emulated() as emulation:
        loss = ops.cross_entropy(logits, targets)
        loss.backward()
    assert emulation.launches == {
        "cross_entropy_forward<float, 32>": 1,
        "cross_entropy_total<float>": 1,
        "cross_entropy_backward<float, 32>": 1,
    }
    assert loss.shape == ()
    with pytest.raises(MinialexError, match="emulated"):
        results(KERNEL, x, targets)


def test_what_is_too_large_to_index_is_refused():
    x, targets = np.broadcast_to(np.float32(0), (2**16, 2**15)), np.zeros(2**16, int)
    with (
        cuda.emulated(),
        pytest.raises(ValueError, match="cross_entropy: x has 2147483648 elements"),
    ):
        KERNEL.forward(x, targets, None, **params())
