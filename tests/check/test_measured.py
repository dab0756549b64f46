"""Noise that is measured, and what rounding moves."""

import numpy as np
import pytest

from minialex import Tensor
from minialex.autograd import Cost, Implementation, Op
from minialex.check import Verdict, gradcheck, measured, noise
from minialex.check.rounding import RandomRounding
from minialex.check.subject import Subject
from tests.campaigns.compositions import draw

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def noise_of(function, x, dtype=FLOAT64):
    return measured.function_noise(function, (np.asarray(x),), np.random.default_rng(0), dtype)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("sigma", [1e-12, 1e-3])
def test_independent_errors_are_measured_beside_a_polynomial(order, sigma):
    """Up to half as much again: the estimates are those of eight numbers."""
    rng = np.random.default_rng(order)
    t = 1e-6 * np.arange(measured.POINTS)
    smooth = 1 + sum(t**power for power in range(1, order))
    found = [
        measured.line_noise((smooth + sigma * rng.standard_normal(t.size))[:, None])[0]
        for _ in range(200)
    ]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(sigma, rel=0.5)


@pytest.mark.parametrize(
    ("function", "sigma"),
    [
        (lambda x: np.exp(x) - 1, 2**-53),
        (lambda x: (x + 1e4) - 1e4, 2**-53 * 1e4),
        (lambda x: (x + 1e8) - 1e8, 2**-53 * 1e8),
        (lambda x: (np.exp(x) - 1) / x, 2**-53 * 1e3),
        (lambda x: 3 * x, 2**-53 * 3e-3),
    ],
)
def test_what_cancels_on_the_way_is_seen(function, sigma):
    """An intermediate of 1e8 leaves errors of its roundoff, on a staircase that wide."""
    x = 1e-3 * np.linspace(0.7, 1.7, 20)
    found = noise_of(function, x)
    assert sigma / 10 < np.median(found) < sigma
    assert found.max() < 3 * sigma


def test_float32_inside_is_seen_on_longer_lines():
    found = noise_of(lambda x: np.exp(x.astype(np.float32)).astype(np.float64), np.ones(20))
    assert 1e-8 < np.median(found) < 1e-6


def in_eight_digits(x):
    """Return `x` rounded as to a bfloat16."""
    share, exponent = np.frexp(x)
    return np.ldexp(np.round(share * 2**8) / 2**8, exponent)


def test_eight_digits_are_seen_on_the_longest_line():
    found = noise_of(lambda x: in_eight_digits(3 * x), np.linspace(0.7, 1.7, 20))
    assert 1e-4 < np.median(found) < 1e-2


def test_what_computes_with_eight_digits_is_not_accused():
    plain = Implementation(
        lambda x: (in_eight_digits(3 * x), ()), lambda gy, saved: (in_eight_digits(3 * gy),)
    )
    own = Op("own", {"plain": plain})
    for seed in range(6):
        x = 1e-3 * np.random.default_rng(seed).standard_normal(5)
        assert verdict_of(own, x, seed=seed) is not Verdict.FAIL


def test_what_stays_what_it_is_has_no_noise():
    assert noise_of(lambda x: np.floor(x) + 0 * x, [0.5, 3.5]).tolist() == [0, 0]
    # the line runs on one side of the kink
    assert noise_of(lambda x: np.maximum(x, 0), [0.0, -1.0]).max() < 1e-16


# Compositions -------------------------------------------------------------------------------------


def verdict_of(fn, x, **options):
    x = Tensor(np.asarray(x), requires_grad=True)
    return gradcheck(fn, x, raise_exception=False, **options).verdict


TINY = 1e-3 * np.random.default_rng(0).standard_normal(5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1e-3, 1e-4])
@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.exp() - 1,
        lambda x: x.exp() - x.exp().mean(),
        lambda x: (x + 1).sqrt() - 1,
        lambda x: x.softmax(0) - 1 / 5,
        lambda x: (x + 1e4) - 1e4,
    ],
)
def test_what_cancels_passes(fn, scale, seed):
    assert verdict_of(fn, scale * np.random.default_rng(seed).standard_normal(5)) is Verdict.PASS


@pytest.mark.parametrize("seed", range(3))
def test_what_stands_still_beside_something_large_is_not_accused(seed):
    """Its steps are 2 wide, longer than any that is tried: nothing is measured, nothing moves."""
    assert verdict_of(lambda x: (x + 1e16) - 1e16, [1.0, 2.0], seed=seed) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_is_lost_beside_something_large_is_not_accused(seed):
    """One row's product with itself is 1e24, to which one element adds what no sum can hold."""
    rows = np.array([[-4e11, 0.4, 9e11], [-1.4, 0.8, -3.8e11]])
    assert verdict_of(lambda x: x @ x.T, rows, seed=seed) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fn", [lambda x: x - x.tanh(), lambda x: (x.exp() - 1) / x])
def test_a_gradient_that_cancels_is_not_accused(fn, dtype):
    for seed in range(6):
        x = 1e-4 * np.random.default_rng(seed).standard_normal(5)
        assert verdict_of(fn, x.astype(dtype)) is not Verdict.FAIL


def test_a_wrong_op_is_no_less_wrong_beside_noise():
    plain = Implementation(lambda x: (x * x, (x,)), lambda gy, saved: (1.001 * 2 * gy * saved[0],))
    wrong = Op("own", {"plain": plain}, lambda shapes: Cost(1, 4))
    assert verdict_of(lambda x: (wrong(x) + 1e4) - 1e4, np.linspace(0.5, 2, 5)) is Verdict.FAIL
    assert verdict_of(lambda x: (wrong(x) + 1).exp() - 1, TINY) is Verdict.FAIL


def test_random_rounding_moves_gradients_by_what_cancels_and_nothing_else():
    x = Tensor(np.array([1e-3, -2e-3]), requires_grad=True)
    roundoff = 2.0**-53

    def moved(fn):
        subject = Subject(fn, (x,), None)
        rng = np.random.default_rng(0)
        (most,) = subject.moved_by_rounding(subject.arrays(), np.ones(2), rng, FLOAT64)
        return most

    assert (moved(lambda x: x * 3) <= 1.5 * 4 * 3 * roundoff).all()
    assert moved(lambda x: x * 3).any()
    # gy - gy (1 - tanh^2)
    assert (moved(lambda x: x - x.tanh()) >= roundoff).all()


def test_random_rounding_leaves_views_and_what_is_saved_alone():
    """A reshaped array is its input; max compares its own result with what it was given."""
    x = Tensor(np.array([1.0, 2.0, 2.0, 0.5]), requires_grad=True)
    before = x.data.copy()
    subject = Subject(lambda x: x.reshape(2, 2).max(), (x,), None)
    moved = subject.moved_by_rounding(
        subject.arrays(), np.ones(1), np.random.default_rng(0), FLOAT32
    )
    assert np.isfinite(moved[0]).all()
    assert x.data.tolist() == before.tolist()
    calls = RandomRounding(np.random.default_rng(0), noise.unit(FLOAT32))
    assert np.abs(calls.rounded(before) / before - 1).max() <= 6.1 * noise.unit(FLOAT32)


def test_what_an_op_gives_may_be_read_only():
    def forward(x):
        y = 2 * x
        y.flags.writeable = False
        return y, ()

    own = Implementation(forward, lambda gy, saved: (2.01 * gy,))
    assert verdict_of(Op("own", {"plain": own}), [1.0, 2.0]) is Verdict.FAIL


def test_compositions_are_drawn_again_from_their_seed():
    assert [str(draw(seed)) for seed in range(5)] == [str(draw(seed)) for seed in range(5)]
    drawn = [draw(seed) for seed in range(200)]
    assert {len(one.steps) for one in drawn} >= set(range(1, 10))
    assert {str(one.inputs[0].dtype) for one in drawn} == {"float32", "float64"}


SEED = np.random.default_rng(0).standard_normal


def layer_norm(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred * centred).mean(-1, keepdim=True).sqrt()


@pytest.mark.parametrize(
    ("fn", "x"),
    [
        (lambda x: 1 / (x - 1), [1 + 1e-7, 1 + 3e-7]),
        (lambda x: 1 / (x - 1), [1 + 1e-9, 1 + 3e-9]),
        (lambda x: ((x - 1) * 1e7).tanh(), [1, 1 + 0.5e-7]),
        (lambda x: (x - 1e7).tanh(), [1e7, 1e7 + 0.5]),
        (lambda x: 1 / x, [1e-15, 2e-15]),
        (lambda x: (x * 1e15).tanh(), [1e-15, -5e-16]),
        (lambda x: x / (x * x).sum().sqrt(), 1e-15 * SEED(4)),
        (layer_norm, 1e-8 * SEED((1, 5)) + 3),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_what_varies_on_a_scale_far_below_the_inputs_size_is_not_accused(fn, x, seed):
    assert verdict_of(fn, x, seed=seed) is not Verdict.FAIL


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.PASS), (1.01, Verdict.FAIL)])
@pytest.mark.parametrize("x", [[1e7, 2e7, 3.3e7], [0.1, 1.0, 2.0]])
def test_short_steps_tell_right_from_wrong(x, factor, verdict):
    sine = Implementation(
        lambda x: (np.sin(x), (x,)), lambda gy, saved: (factor * gy * np.cos(saved[0]),)
    )
    assert verdict_of(Op("own_sine", {"plain": sine}), x) is verdict


def test_a_function_that_registers_a_hook_is_checked():
    def fn(x):
        y = x * 2.0
        y.register_hook(lambda g: g)
        return y * y

    assert verdict_of(fn, [1.0, 2.0]) is Verdict.PASS
