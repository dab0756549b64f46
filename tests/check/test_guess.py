"""First guesses: the sentence that each kind of mistake gets, and what gets none."""

import numpy as np
import pytest

from minialex import reference as definitions
from minialex.check import guess, numeric
from minialex.check.derivatives import Derivative, ElementwiseDerivatives, unit_vector

NONE = "no simple relation to what is right; compare the formulas term by term"
OVERWRITTEN = "only elements that feed more outputs than others are off: `=` where it must be `+=`?"
ONE = "alone is off: a loop's end, or an index?"
FACTOR = "a factor is missing or one too many: every element is"
INEXACT = "a constant is not exact: every element is"
WINDOW = "a window, or its padding?"
FILTER = "a filter or matrix?"
ROTATED = "groups, or an offset, mixed up?"
FLIPPED = "the last two axes are flipped: a filter flipped?"
REORDERED = "the elements are in the order of the transpose: a matrix transposed?"
ENDS = "a window or its padding off by one?"
EARLY, LATE = "a loop that ends one too early?", "a loop that starts one too late?"


def problem(function, *inputs):
    return numeric.make_problem(function, inputs, np.random.default_rng(0), 0)


def numbers(*shape):
    return np.random.default_rng(5).uniform(1, 2, shape) * (-1) ** np.arange(shape[-1])


def truth_of(G, fan_out=1, kink=False, uncertainty=0.0):
    parts = (uncertainty, float), (kink, bool), (fan_out, int)
    return ElementwiseDerivatives(G, *(np.full(G.shape, part, kind) for part, kind in parts))


def first(g, G, rounding=1e-12, **known):
    """Return the first guess about `g`, where `G` is right."""
    truth = truth_of(G, **known)
    off = ~truth.kink & ~(np.abs(g - G) <= rounding + truth.uncertainty)
    return guess.first(g, truth, off, rounding)


def changed(G, *places):
    """Return `G`, changed at `places` alone, each time by another number."""
    g = G.copy()
    for i, place in enumerate(places):
        g[place] += 0.3 + 0.07 * i * i
    return g


# Of every element ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (0.0, "it is zero everywhere: was it never written?"),
        (-1.0, "the sign is wrong"),
        (-1.0005, "the sign is wrong"),
        (-1.0016, f"{FACTOR} -1.002 times too large"),
        (2.0, f"{FACTOR} 2 times too large"),
        (0.25, f"{FACTOR} 4 times too small"),
        (-3.0, f"{FACTOR} -3 times too large"),
        (1.5e-6, f"{FACTOR} 6.667e+05 times too small"),
        (5e-7, NONE),
        (1.0016, f"{FACTOR} 1.002 times too large"),
        (1 + 2e-5, f"{INEXACT} 2e-05 of itself too large"),
        (1 - 2e-5, f"{INEXACT} 2e-05 of itself too small"),
        (1 + 1.5e-6, f"{INEXACT} 1.5e-06 of itself too large"),
        (1 + 5e-7, NONE),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (3, 5)])
def test_a_factor_is_named(factor, said, shape):
    G = numbers(*shape)
    assert first(factor * G, G) == said


@pytest.mark.parametrize(
    ("shift", "spread", "said"),
    [
        (0.25, 0.0, "the same number, 0.25, is added to every element"),
        (-0.25, 0.0, "the same number, -0.25, is added to every element"),
        (1.0, 0.35, "the same number, 1, is added to every element"),
        (1.0, 0.45, NONE),
    ],
)
def test_a_number_that_is_added_is_named(shift, spread, said):
    """It has to stand out twice, and to be the same, from rounding that may reach 0.1."""
    G = 100.0 * np.array([1, 2, -4, 3, -2, 5, -5])
    assert first(G + shift + spread * np.array([1, 0, 0, 0, 0, -1, 0]), G, rounding=0.1) == said


def test_two_numbers_are_enough_for_a_shift_and_one_for_nothing():
    assert first(np.array([1.5, 2.5]), np.array([1.0, 2.0])).startswith("the same number, 0.5,")
    assert first(np.ones(3), np.zeros(3)).startswith("the same number, 1,")
    assert first(np.array([2.0]), np.array([1.0])) == NONE
    assert first(np.array(2.0), np.array(1.0)) == NONE


# Of some elements ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([(0, 0)], f"the first element {ONE}"),
        ([(3, 2)], f"the last element {ONE}"),
        ([(0, 1)], f"one element {ONE}"),
        ([(1, 1), (2, 0)], NONE),
        ([(3, 0), (3, 1), (3, 2)], f"only the last of axis 0 is off: {EARLY}"),
        ([(0, 0), (0, 1), (0, 2)], f"only the first of axis 0 is off: {LATE}"),
        ([(3, 0), (3, 2)], NONE),
        ([(1, 2), (2, 2), (3, 2)], f"only the last of axis 1 is off: {EARLY}"),
        ([(1, 0), (2, 0), (3, 0)], f"only the first of axis 1 is off: {LATE}"),
        ([(0, 0), (3, 1), (3, 2)], f"only the ends of axis 0 are off: {ENDS}"),
        ([(1, 0), (2, 2), (2, 0)], NONE),
        ([(1, 0), (1, 1), (2, 2)], NONE),
    ],
)  # fmt: skip
def test_places_say_something(places, said):
    G = numbers(4, 3)
    assert first(changed(G, *places), G) == said


def test_the_ends_of_an_axis_of_two_are_all_there_is():
    G = numbers(2, 3)
    for row in (0, 1):
        assert first(changed(G, (row, 0), (row, 1), (row, 2)), G) == NONE


@pytest.mark.parametrize(
    ("fan_out", "off", "said"),
    [
        ([1, 2, 2, 1, 1, 1], (1, 2), OVERWRITTEN),
        # what feeds no output is no measure of how many others feed
        ([0, 1, 2, 2, 1, 1], (2, 3), OVERWRITTEN),
        ([0, 1, 2, 2, 1, 1], (1, 2), NONE),
        ([3, 1, 2, 2, 1, 1], (0, 2), OVERWRITTEN),
        # half of them, but not fewer
        ([2, 2, 2, 2, 1, 1], (1, 2), OVERWRITTEN),
        ([2, 2, 2, 2, 2, 1], (1, 2), NONE),
        # all feed as many
        ([2, 2, 2, 2, 2, 2], (1, 2), NONE),
    ],
)
def test_what_feeds_several_outputs_may_have_been_overwritten(fan_out, off, said):
    G = numbers(6)
    assert first(changed(G, *off), G, fan_out=fan_out) == said


def test_elements_without_a_derivative_do_not_count_for_that():
    G, fan_out = numbers(6), [2, 2, 2, 2, 2, 1]
    assert first(changed(G, 1, 2), G, fan_out=fan_out, kink=[1, 0, 0, 0, 0, 0]) == OVERWRITTEN
    # of those that feed one output nothing is known
    assert first(changed(G, 1, 2), G, fan_out=[2, 2, 2, 2, 1, 1], kink=[0, 0, 0, 0, 1, 1]) == NONE
    G[4] = 0
    assert first(changed(G, 1, 2), G, fan_out=fan_out) == OVERWRITTEN


def test_what_is_right_is_not_explained():
    assert first(numbers(6), numbers(6), fan_out=[1, 2, 2, 1, 1, 1]) == NONE


# Right numbers elsewhere --------------------------------------------------------------------------


def shifted(axes, by):
    """Return what moves an array along `axes`, filled with other numbers where nothing comes."""

    def move(G):
        g = np.full(G.shape, 9.0)
        here, there = (slice(1, None), slice(-1))[::by]
        to, of = (
            [part if a in axes else slice(None) for a in range(G.ndim)] for part in (here, there)
        )
        g[tuple(to)] = G[tuple(of)]
        return g

    return move


def along(axis, how):
    return lambda G: np.broadcast_to(how(G, axis=axis, keepdims=True), G.shape)


@pytest.mark.parametrize(
    ("shape", "move", "said"),
    [
        ((2, 2, 3, 3), lambda G: G.swapaxes(2, 3), f"the last two axes are transposed: {FILTER}"),
        ((2, 2, 3, 3), lambda G: G.swapaxes(0, 1), f"the first two axes are transposed: {FILTER}"),
        ((2, 2, 3, 3), lambda G: G[..., ::-1, ::-1], FLIPPED),
        ((3, 3), np.transpose, f"the last two axes are transposed: {FILTER}"),
        ((2, 3), lambda G: G.T.reshape(2, 3), REORDERED),
        ((4,), np.flip, "axis 0 is flipped"),
        ((2, 4, 3), lambda G: np.flip(G, 1), "axis 1 is flipped"),
        ((4,), shifted([0], 1), f"off by one along axis 0: {WINDOW}"),
        ((4,), shifted([0], -1), f"off by one along axis 0: {WINDOW}"),
        ((2, 4, 3), shifted([2], 1), f"off by one along axis 2: {WINDOW}"),
        ((2, 4, 4), shifted([1, 2], 1), f"off by one along axes 1 and 2: {WINDOW}"),
        ((2, 4, 4), shifted([1, 2], -1), f"off by one along axes 1 and 2: {WINDOW}"),
        ((4, 4, 2), shifted([0, 1], -1), f"off by one along axes 0 and 1: {WINDOW}"),
        ((6,), lambda G: np.roll(G, 1), f"off by one along axis 0: {WINDOW}"),
        ((2, 6), lambda G: np.roll(G, 5, 1), f"off by one along axis 1: {WINDOW}"),
        ((2, 3), lambda G: np.roll(G, 1, 0), "axis 0 is flipped"),
        ((6,), lambda G: np.roll(G, 2), f"rotated by 2 along axis 0: {ROTATED}"),
        ((2, 6), lambda G: np.roll(G, 4, 1), f"rotated by 4 along axis 1: {ROTATED}"),
        ((3, 4), along(0, np.mean), "along axis 0 every element has the mean: a wrong axis?"),
        ((3, 4), along(1, np.mean), "along axis 1 every element has the mean: a wrong axis?"),
        ((3, 4), along(0, np.sum), "along axis 0 every element has the sum: a wrong axis?"),
        ((3, 4), along(1, np.sum), "along axis 1 every element has the sum: a wrong axis?"),
        ((3, 4), lambda G: G[::-1, [0, 2, 1, 3]], NONE),
    ],
)  # fmt: skip
def test_right_numbers_elsewhere(shape, move, said):
    G = np.random.default_rng(5).standard_normal(shape)
    assert first(move(G), G) == said


@pytest.mark.parametrize("unit", [1.0, 2.0**-10, 2.0**10])
def test_they_are_the_same_but_for_rounding(unit):
    G = unit * numbers(6)
    spread = np.array([1, -1, 1, 1, -1, -1])
    rounding = unit / 1024
    near, far = (np.flip(G) + share * np.abs(G).max() * spread for share in (0.7e-6, 1.5e-6))
    assert first(near, G, 0.0) == "axis 0 is flipped"
    assert first(far, G, 0.0) == NONE
    near, far = (np.flip(G) + times * rounding * spread for times in (3.5, 4.5))
    assert first(near, G, rounding) == "axis 0 is flipped"
    assert first(far, G, rounding) == NONE
    # what is not known of the right one is allowed for as well
    assert first(near, G, 0.0, uncertainty=rounding) == "axis 0 is flipped"
    assert first(far, G, 0.0, uncertainty=rounding) == NONE


def test_one_number_and_zeros_are_no_evidence():
    assert first(np.array([9.0, 1.0]), np.array([1.0, 2.0])) == NONE
    assert first(np.array([3.0, 0.0, 0.0]), np.array([0.0, 0.0, 5.0])) == NONE


def test_where_a_derivative_is_missing_no_order_is_guessed():
    G = numbers(6)
    assert first(np.flip(G), G, kink=[0, 1, 0, 0, 0, 0]) == NONE


# All lines ----------------------------------------------------------------------------------------


def derivatives(G):
    """Return a function of a direction: its derivative, of which output i is that of G.flat[i]."""
    return lambda v: Derivative(float((G * v).sum()), 0.0, False, v.reshape(-1) != 0)


def test_lines_about_a_gradient_that_is_known_whole():
    G = numbers(2, 3)
    g = changed(G, (0, 1), (1, 2))
    g[1, 0] = 99.0
    truth = truth_of(G, kink=[[0, 0, 0], [1, 0, 0]], uncertainty=1e-3)
    truth.value[0, 0] = np.nan
    g[1, 1] += 1.5e-3
    lines = guess.explain(g, truth, derivatives(G), 1e-3)
    assert lines == (
        f"worst at [1, 2]: got {g[1, 2]:.9g}, it must be {G[1, 2]:.9g}",
        "2 of 4 elements looked at are off",
        "it comes from 1 of 6 outputs, in [5]",
        f"first guess: {NONE}",
    )
    first_line = guess.explain(g, truth, derivatives(G), 1e-3, (0, 1))[0]
    assert first_line == f"worst at [0, 1]: got {g[0, 1]:.9g}, it must be {G[0, 1]:.9g}"


@pytest.mark.parametrize("place", [(0, 0), (7, 30), (19, 49)])
def test_the_wrong_element_of_many_is_found(place):
    G = numbers(20, 50)
    g = changed(G, place)
    worst, count, _, guessed = guess.search(g, derivatives(G), 0.0, sample=10)
    assert worst == (
        f"worst at [{place[0]}, {place[1]}]: got {g[place]:.9g}, it must be {G[place]:.9g}"
    )
    assert count == "1 of 11 elements looked at are off"
    ends = {(0, 0): "the first element", (19, 49): "the last element"}
    assert guessed == f"first guess: {ends.get(place, 'one element')} {ONE}"


def test_a_search_goes_by_what_can_be_evaluated():
    """A part of which no derivative is known is not the most wrong one."""
    G = numbers(100)
    right = derivatives(G)

    def partly(v):
        return right(v) if not v[:30].any() else Derivative(np.nan, np.inf, False, v != 0)

    assert guess.search(changed(G, 3, 70), partly, 1e-9)[0].startswith("worst at [70]: ")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (np.zeros((2, 3), bool), "it comes from no output: the right gradient is 0"),
        (np.ones((), bool), "it comes from the one output"),
        (unit_vector((4, 5), (2, 3)) > 0, "it comes from 1 of 20 outputs, in [2, 3]"),
        (np.arange(12).reshape(3, 4) > 8, "it comes from 3 of 12 outputs, in [2, 1:4]"),
        (np.arange(12).reshape(3, 4) % 8 == 2, "it comes from 2 of 12 outputs, in [0:3, 2]"),
    ],
)
def test_where_a_gradient_comes_from(outputs, said):
    assert guess.receptive_field(outputs) == said


def test_what_an_output_is_made_from_is_its_window():
    x, w = np.arange(48.0).reshape(1, 1, 6, 8), np.ones((2, 1, 3, 2))
    params = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    p = problem(lambda x, w: definitions.conv2d(x, w, None, **params), x, w)
    assert guess.sources(p, (0, 1, 1, 2)) == (
        "it is made from input 0 in [0, 0, 1:4, 3:5], input 1 in [1, 0, 0:3, 0:2]"
    )
    assert guess.sources(p, (0, 0, 0, 0)).startswith("it is made from input 0 in [0, 0, 0:2, 0]")


def test_an_output_may_be_made_from_nothing():
    p = problem(lambda x: np.where(np.arange(3) > 0, x, 1.0), np.ones(3))
    assert guess.sources(p, (0,)) == "it is made from no number of any input"
    assert guess.sources(p, (2,)) == "it is made from input 0 in [2]"


@pytest.mark.parametrize(
    ("function", "inputs", "place", "said"),
    [
        (lambda x, n, none: x[n], ([1.0, np.inf, 3.0], [1, 2], None), (0,), "input 0 in [1]"),
        (lambda x: x.sum(1), (np.zeros((2, 1, 3)),), (1, 2), "input 0 in [1, 0, 2]"),
        (lambda a, b: 3 * a, (2.0, np.zeros((0, 2))), (), "input 0"),
        (lambda a, b: b - a, (2.0, [1.0, 2.0]), (1,), "input 0, input 1 in [1]"),
        # each push differs, so that no two cancel
        (lambda x: x[:3] - x[1:], ([1.0, 1.0, 1.0, 1.0],), (1,), "input 0 in [1:3]"),
    ],
)  # fmt: skip
def test_what_outputs_are_made_from(function, inputs, place, said):
    p = problem(function, *(None if x is None else np.array(x) for x in inputs))
    assert guess.sources(p, place) == f"it is made from {said}"


def test_numbers_have_the_digits_that_tell_them_apart():
    assert guess.differ(1.5, 2.0) == "got 1.5, it must be 2"
    assert guess.differ(1 / 3, 0.5) == "got 0.333333333, it must be 0.5"
    assert guess.differ(1 + 2**-40, 1.0) == "got 1.0000000000009095, it must be 1"


def test_whoever_knows_more_adds_a_guess():
    def seventh(clues):
        return "off by sevens" if clues.off.all() and np.all(clues.g == 7) else ""

    guess.GUESSES.append(seventh)
    try:
        assert first(np.full(3, 7.0), np.array([1.0, 5.0, 2.0])) == "off by sevens"
        assert first(np.array([7.0, 7.0, 9.0]), np.array([1.0, 5.0, 2.0])) == NONE
    finally:
        guess.GUESSES.remove(seventh)
