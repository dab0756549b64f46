"""Differences: which steps are taken, what is made of them, and how far they are trusted."""

import dataclasses
import math

import numpy as np
import pytest

from minialex.check import derivatives, extrapolation, noise, numeric
from minialex.check.derivatives import DirectionalDerivatives, ElementwiseDerivatives


def rng():
    return np.random.default_rng(0)


def recorded(function, x, **options):
    """Return the problem of a function, and a list that notes what it is called with."""
    seen = []

    def noted(x):
        seen.append(x.copy())
        return function(x)

    p = numeric.make_problem(noted, (np.array(x, float),), rng(), 0, **options)
    seen.clear()
    return p, seen


def linear(x):
    return 3.0 * x


# Steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "unit"), [([0.25, 0.0], 1.0), ([-3.0, 2.0], 2.0), ([-3.0, 0.0], 3.0)]
)
def test_steps_go_by_the_element_that_moves_and_end_where_the_derivative_is_known(x, unit):
    p, seen = recorded(linear, x)
    p.along(0, np.array([0.0, 1.0]))
    steps = [float(y[1] - x[1]) for y in seen]
    assert steps == [unit / 32, -unit / 32, unit / 128, -unit / 128]
    assert all(y[0] == x[0] for y in seen)


def test_what_is_not_finite_is_no_size_of_a_step():
    p, seen = recorded(lambda x: 3.0 * x[1:], [np.inf, 2.0])
    p.along(0, np.array([0.0, 1.0]))
    assert [float(y[1]) for y in seen[:2]] == [2 + 1 / 16, 2 - 1 / 16]


def test_the_other_inputs_stay_as_they_are():
    inputs = np.ones(2), np.full(2, 3.0), np.full(2, 5.0)
    p = numeric.make_problem(lambda a, b, c: a * b**2 * c, inputs, rng(), 0)
    slopes = [45.0, 30.0, 9.0]
    for k, slope in enumerate(slopes):
        assert p.along(k, np.ones(2)).value == pytest.approx(slope * float(p.gy.sum()))


def test_the_ladder_at_a_kink_has_twelve_steps_down_to_7e_9():
    p, seen = recorded(np.abs, [0.0])
    assert p.along(0, np.ones(1)).kink
    assert [float(y[0]) for y in seen[::2]] == [2.0**-5 / 4**i for i in range(12)]
    assert 7e-9 < seen[-2][0] < 8e-9


def test_steps_that_are_given_are_taken_as_they_are():
    p, seen = recorded(np.exp, [3.0], steps=(0.5, 0.125))
    p.along(0, np.ones(1))
    assert [float(y[0]) for y in seen] == [3.5, 2.5, 3.125, 2.875]


def test_a_second_opinion_has_steps_of_its_own_between_the_others():
    p, seen = recorded(linear, [2.0])
    p.second_opinion(0, np.ones(1), 0.0)
    assert [float(y[0]) - 2 for y in seen[::2]] == pytest.approx([0.4 / 16, 0.4 / 64])
    p, seen = recorded(linear, [2.0], steps=(0.5, 0.125))
    p.second_opinion(0, np.ones(1), 0.0)
    assert [float(y[0]) - 2 for y in seen[::2]] == pytest.approx([0.2, 0.05])


def test_a_second_opinion_that_is_none_says_nothing():
    p, _ = recorded(lambda x: np.where(x == 1, x, np.nan), [1.0])
    assert p.second_opinion(0, np.ones(1), 7.0) == 0.0


def test_a_second_opinion_adds_its_own_doubt():
    p, _ = recorded(linear, [1.0], nondet_tol=1e-3)
    d = p.along(0, np.ones(1), 0.4)
    assert p.second_opinion(0, np.ones(1), d.value - 2.0) == pytest.approx(2 + d.uncertainty)
    assert d.uncertainty > 0.01


def test_extrapolations_take_three_powers_of_the_step_away():
    row = []
    for h in (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 256):
        row = extrapolation.extrapolated(5 + 3 * h**2 - 7 * h**4 + 2 * h**6, row, 2)
    assert row == pytest.approx([5 + 3 / 256**2, 5, 5, 5], abs=1e-7)
    assert row[1] == pytest.approx(5 + 112 / 256**4 - 544 / 256**6, abs=1e-14)
    assert row[3] == pytest.approx(5, abs=1e-14)


def test_the_gap_between_both_sides_loses_the_first_third_and_fifth_power():
    row = []
    for h in (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 256):
        row = extrapolation.extrapolated(0.5 + 3 * h - 7 * h**3 + 2 * h**5, row, 1)
    assert row == pytest.approx([0.5 + 3 / 256, 0.5, 0.5, 0.5], abs=2e-5)
    assert row[3] == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize(
    ("row", "before", "value", "spread"),
    [
        # the only one
        ([1.0, 2.0], [1.75], 2.0, 1.0),
        ([1.75, 2.0], [1.0], 2.0, 1.0),
        # one against the order below it, and its own of the step before: not the last
        ([1.875, 2.0, 5.0], [0.0, 2.25, 7.0], 2.0, 0.25),
        # the last order has no other of its own than the one before
        ([1.0, 2.0, 3.5, 3.25], [9.0, 2.5, 3.5], 3.25, 0.25),
    ],
)
def test_the_value_is_that_which_agrees_best_with_its_neighbours(row, before, value, spread):
    assert extrapolation.settled(row, before) == (value, spread)


def test_a_kink_stays_one_where_rounding_drowns_it_at_shorter_steps():
    p, seen = recorded(lambda x: 1 + 0.01 * np.abs(x), [0.0], dtype=np.float32)
    d = p.along(0, np.ones(1))
    assert d.kink
    # till rounding alone may do more than half of what both sides differ by
    assert len(seen) == 14
    # as it was known best, with two steps
    want = (0.01 + 4 * 2.0**-24 * 128) * abs(p.gy[0])
    assert d.uncertainty == pytest.approx(want, rel=1e-4)


def test_the_ladder_ends_where_doubt_grows():
    p, seen = recorded(linear, [1.0], nondet_tol=1e-3)
    d = p.along(0, np.ones(1))
    assert len(seen) == 6
    # that of the second step, of which there is a first extrapolation
    assert d.uncertainty == pytest.approx(1e-3 * 128 * abs(p.gy[0]))


def test_where_nothing_can_be_evaluated_nothing_is_known():
    p, seen = recorded(lambda x: np.where(x == 1, x, np.nan), [1.0])
    d = p.along(0, np.ones(1))
    assert np.isnan(d.value)
    assert d.uncertainty == np.inf
    assert not d.kink
    assert not d.depends.any()
    assert len(seen) == 24


def test_a_step_out_of_the_domain_starts_the_ladder_again():
    """Between steps of which one was not taken nothing is extrapolated."""
    p, seen = recorded(lambda x: np.where(x > 1e-3, np.log(np.maximum(x, 1e-9)), np.nan), [0.01])
    d = p.along(0, np.ones(1))
    assert d.value == pytest.approx(100 * float(p.gy[0]), abs=d.uncertainty)
    assert d.uncertainty < 1e-6 * abs(d.value)
    assert len(seen) > 8


def test_smooth_functions_take_few_steps_as_differences_are_extrapolated():
    """Three times, each step a quarter: a polynomial of degree 8 is exact after four steps.

    One more shows that both sides agree.
    """
    p, seen = recorded(lambda x: x**8, [1.0])
    d = p.along(0, np.ones(1))
    assert d.value == pytest.approx(8 * float(p.gy[0]), rel=1e-12)
    assert len(seen) == 10


# Doubt --------------------------------------------------------------------------------------------


def test_the_doubt_of_a_straight_line_is_what_rounding_does_to_its_two_ends():
    p, _ = recorded(linear, [1.0, 5.0])
    d = p.along(0, np.array([1.0, 0.0]))
    h = 1 / 128
    want = abs(p.gy[0]) * 2.0**-53 * 4 * p.size[0] / h
    assert d.uncertainty == pytest.approx(want, rel=0.3, abs=0)
    assert d.depends.tolist() == [True, False]


@pytest.mark.parametrize(("x", "floor"), [(0.01, 0.01), (5.0, 1.0)])
def test_the_doubt_of_an_output_that_is_small_is_that_of_its_input_up_to_1(x, floor):
    p, _ = recorded(lambda x: 1e-3 * x, [x])
    d = p.along(0, np.ones(1))
    want = abs(p.gy[0]) * 2.0**-53 * floor * 128 / max(1, x)
    assert d.uncertainty == pytest.approx(want, rel=0.3, abs=0)


def test_what_rounding_may_do_to_outputs():
    """36 operations for four outputs: 4 times the root of 9 of the largest size, or the floor."""
    p, _ = recorded(linear, [1.0, 1.0, 1.0, 1.0])
    size, gy = np.array([8.0, 1.0, 1.0, 1.0]), np.array([1.0, -2.0, 1.0, 1.0])
    p = dataclasses.replace(p, size=size, gy=gy, operations=36.0, dtype=np.float32)
    up, down = np.array([1.0, -16.0, 1.0, 0.0]), np.array([2.0, 2.0, 4.0, 0.0])
    units = np.array([12 * 8.0, -2 * 12 * 16.0, 12 * 4.0, 36.0])
    assert (p.rounding_of(up, down, 36.0) * 2.0**24).tolist() == units.tolist()
    wide = dataclasses.replace(p, dtype=np.float64)
    assert (wide.rounding_of(up, down, 36.0) * 2.0**53).tolist() == units.tolist()
    trembling = dataclasses.replace(p, nondet_tol=0.5)
    assert (trembling.rounding_of(up, down, 36.0) - units * 2.0**-24).tolist() == [
        0.5,
        -1,
        0.5,
        0.5,
    ]


@pytest.mark.parametrize(
    ("operations", "size", "each"), [(0, 4, 1), (100, 4, 25), (2, 4, 1), (100, 0, 100), (0, 1, 4)]
)
def test_operations_are_shared_out_and_each_output_takes_one(operations, size, each):
    p, _ = recorded(linear, np.ones(4))
    assert dataclasses.replace(p, operations=operations).operations_of(size) == each


@pytest.mark.parametrize(
    ("x", "size", "typical"),
    [
        ([3.0, 4.0], [1.0, 2.0], 4.0),
        # an input of 0 has no size, and an output that stays 0 passes on what it gets
        ([0.0, 0.0], [1.0, 2.0], 20.0),
        ([3.0, 4.0], [0.0, 0.0], 208**0.5),
    ],
)
def test_the_typical_gradient_is_what_the_input_can_change(x, size, typical):
    p, _ = recorded(linear, x)
    p = dataclasses.replace(p, size=np.array(size), gy=np.array([12.0, 8.0]))
    assert p.typical_gradient(0) == pytest.approx(typical)


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, OverflowError])
def test_outside_its_domain_a_function_may_raise(error):
    def root(x):
        if (x < 0).any():
            raise error
        return np.sqrt(x)

    p, _ = recorded(root, [0.001])
    assert np.isnan(p.with_input(0, np.array([-1.0]))).all()
    assert p.along(0, np.ones(1)).value == pytest.approx(0.5 * p.gy[0] / 0.001**0.5)


def test_other_errors_of_a_function_are_its_own():
    p, _ = recorded(lambda x: x[:, 0], np.ones((2, 2)))
    with pytest.raises(IndexError):
        p.with_input(0, np.ones(2))


# One by one, or along directions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "size", "kind"),
    [
        (linear, 64, ElementwiseDerivatives),
        (linear, 65, DirectionalDerivatives),
        (np.abs, 512, ElementwiseDerivatives),
        (np.abs, 513, DirectionalDerivatives),
    ],
)
def test_how_inputs_are_taken(function, size, kind):
    """Up to 64 elements one by one, and up to 512 where a direction meets a kink."""
    x = np.zeros(size)
    x[1:] = 1
    p = numeric.make_problem(function, (x,), rng(), 0)
    truth = p.truth(0, rng())
    assert isinstance(truth, kind)
    assert p.truth(0, rng()) is truth
    if isinstance(truth, ElementwiseDerivatives):
        assert np.flatnonzero(truth.kink).tolist() == ([0] if function is np.abs else [])
        assert truth is p.elements(0)
    else:
        assert len(truth.vectors) == len(truth.derivatives) == 2
        assert not np.array_equal(*truth.vectors)
        for v, d in zip(truth.vectors, truth.derivatives, strict=True):
            assert bool(d.kink) == (function is np.abs)
            if not d.kink:
                assert d.value == pytest.approx(3 * float((p.gy * v).sum()), rel=1e-9)


def test_elements_that_are_not_taken_are_not_known():
    p, _ = recorded(lambda x: x.cumsum(), np.ones(4))
    found = derivatives.elements(lambda v: p.along(0, v), (4,), [1, 3])
    assert found.value[[1, 3]] == pytest.approx([p.gy[1:].sum(), p.gy[3]])
    assert np.isnan(found.value[[0, 2]]).all()
    assert found.fan_out.tolist() == [0, 3, 0, 1]
    assert found.uncertainty[[0, 2]].tolist() == [0, 0]
    assert not found.kink.any()


# Sizes --------------------------------------------------------------------------------------------


def root_mean_square(a):
    return math.sqrt(float((a * a).mean()))


def test_what_rounding_may_do():
    """16 times the roundoff and the root of the operations; a quarter of what operands lose."""
    assert noise.allowed("float32", 100) == 16 * 10 * 2.0**-24
    assert noise.allowed("float64", 0.5) == 16 * 2.0**-53
    assert noise.allowed("float32", 4, 3.0, 2.0**-11) == 3 * (2 * 2.0**-24 + 2.0**-13)
    assert noise.common("float32") == 2.0**-24
    assert noise.common("float32", 2.0**-11) == 2.0**-24 + 2.0**-13


def test_factors_are_of_both_signs_and_from_a_half_to_three_halves():
    f = noise.factors((10_000,), rng())
    assert 0.5 <= np.abs(f).min() < 0.51
    assert 1.49 < np.abs(f).max() <= 1.5
    assert abs((f > 0).mean() - 0.5) < 0.02
    assert np.abs(f).mean() == pytest.approx(1, abs=0.01)


def test_what_is_perturbed_and_by_how_much():
    x, n = np.full(100, 8.0, np.float32), np.arange(3)
    moved, other, none, text = noise.perturbed((x, n, None, "x"), rng(), 0.25)
    assert other is n
    assert (none, text) == (None, "x")
    assert moved.dtype == np.float32
    assert 1 <= np.abs(moved - x).min() < np.abs(moved - x).max() <= 3
    assert noise.perturbation("float32") == 2.0**-11.5
    assert noise.perturbation("float64") == 2.0**-26


def test_sizes_of_outputs():
    """As much as an output changes per unit of its input, or itself where that is more."""
    x = np.full(2000, 4.0)
    for dtype in ("float64", "float32"):
        size = noise.output_size(lambda x: x - 3.5, (x,), x - 3.5, rng(), dtype)
        # 4 times factors whose mean square is 13/12
        assert root_mean_square(size) == pytest.approx(4 * (13 / 12) ** 0.5, rel=0.02)
    size = noise.output_size(lambda x: x * 0 + 5, (x,), x * 0 + 5, rng())
    assert (size == 5).all()


@pytest.mark.parametrize(
    ("gradient", "square"),
    [
        # itself, and for eight cotangents times random factors
        (lambda x, gy, s: gy, 1 + 13 / 12),
        (lambda x, gy, s: gy * x, 1 + 2 * 13 / 12),
        (lambda x, gy, s: gy * s, 1 + 2 * 13 / 12),
        (lambda x, gy, s: gy * x * s, 1 + 3 * 13 / 12),
        # what jumps is no size; 0 itself
        (lambda x, gy, s: gy * (x > 1), 0),
        (lambda x, gy, s: gy * (s > 1), 0),
    ],
)
def test_sizes_of_gradients(gradient, square):
    ones = np.ones(4000)

    def of(xs, gy, perturb):
        (saved,) = perturb((ones,)) if perturb else (ones,)
        return gradient(xs[0], gy, saved), None

    size, none = noise.gradient_sizes(of, (ones, ones), ones, rng())
    assert none is None
    assert root_mean_square(size) == pytest.approx(square**0.5, rel=0.02)
