"""Verdicts on numbers whose errors and bounds are known."""

import dataclasses

import numpy as np
import pytest

from minialex.check import comparison, numeric
from minialex.check.derivatives import Derivative, DirectionalDerivatives, ElementwiseDerivatives
from minialex.check.verdict import Finding, Verdict

PASS, INCONCLUSIVE, FAIL = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL
INF, NAN = np.inf, np.nan


def rng():
    return np.random.default_rng(0)


# Outputs ------------------------------------------------------------------------------------------


def test_distances():
    got = np.array([1.0, INF, INF, -INF, NAN, NAN, 1.0], np.float32)
    want = np.array([3.5, INF, -INF, 1.0, NAN, 1.0, NAN])
    assert comparison.distance(got, want).tolist() == [2.5, 0, INF, INF, 0, INF, INF]


@pytest.mark.parametrize(("off", "verdict"), [(0.5, PASS), (0.75, FAIL)])
def test_values_may_be_off_by_a_share_of_the_largest_finite_size(off, verdict):
    want = np.array([[1.0, 2.0], [INF, 4.0]])
    got = want + np.array([[0.0, 0.625], [0.0, -off]] if verdict is FAIL else [[0, 0], [0, off]])
    found = comparison.values("y", got, want, np.array([[1.0, 4.0], [INF, 2.0]]), 0.125)
    lines = "worst at [1, 1]: got 3.25, it must be 4", "2 of 4 elements are off"
    assert found == Finding("y", verdict, off, 0.5, 4, 0, lines if verdict is FAIL else ())


def test_values_of_another_shape_and_of_none():
    found = comparison.values("y", np.zeros(2), np.zeros((1, 2)), np.ones((1, 2)), 1.0)
    detail = ("the shape is (2,), it must be (1, 2)",)
    assert found == Finding("y", FAIL, INF, 0.0, 0, 0, detail)
    empty = np.zeros(0)
    assert comparison.values("y", empty, empty, empty, 1.0) == Finding("y", PASS, 0.0, 0.0, 0)


def identity(size, n=16):
    """Return the problem of an output of `n` numbers of 1 and -1, of that size."""
    x = np.where(np.arange(n) % 2, 1.0, -1.0)
    p = numeric.make_problem(lambda x: 1.0 * x, (x,), rng(), 0)
    return dataclasses.replace(p, size=np.full(n, float(size)))


@pytest.mark.parametrize(
    ("outwards", "line"),
    [
        (0.79, None),
        (-0.79, None),
        (0.81, "the elements are off away from zero"),
        (-0.81, "the elements are off towards zero: are sums cut, and not rounded?"),
    ],
)
def test_an_output_may_be_off_by_less_on_the_average(outwards, line):
    """A size of 2, a share of 1, 16 elements, and 0.15 in common: (0.15 + 1 / 4) 2."""
    p = identity(2)
    found = comparison.output(p.y * (1 + outwards), p, 1.0, 0.15)
    if line is None:
        assert found == Finding("output", PASS, pytest.approx(abs(outwards)), 2.0, 16)
    else:
        error = pytest.approx(abs(outwards))
        bound = pytest.approx(0.8)
        assert found == Finding("output, on the average", FAIL, error, bound, 16, 0, (line,))


def test_an_output_of_no_size_is_right_where_it_is_the_same():
    p = identity(0)
    assert comparison.output(p.y, p, 1.0, 0.15) == Finding("output", PASS, 0.0, 0.0, 16)


def test_zeros_are_off_in_no_direction():
    p = identity(2)
    p.y[:8] = 0
    found = comparison.output(np.where(p.y == 0, 1.75, 1.75 * p.y), p, 1.0, 0.0)
    assert (found.verdict, found.error) == (PASS, 1.75)
    found = comparison.output(np.where(p.y == 0, 1.75, 2.25 * p.y), p, 1.0, 0.0)
    assert (found.what, found.error) == ("output, on the average", 0.625)


def test_the_average_is_that_of_what_is_finite():
    p = identity(2)
    p.y[0] = p.size[1] = INF
    got = p.y * 1.85
    got[0] = INF
    # 14 elements are left, of size 2
    found = comparison.output(got, p, 1.0, 0.15)
    assert (found.what, found.compared) == ("output, on the average", 14)
    assert found.bound == pytest.approx((0.15 + 14**-0.5) * 2)
    p.size[2:] = INF
    assert comparison.output(got, p, 1.0, 0.15).verdict is PASS


def test_an_output_that_is_off_says_what_it_is_made_from():
    p = identity(0, 4)
    found = comparison.output(p.y + np.array([0, 0, 0.75, 0]), p, 1.0, 0.0)
    assert found == Finding(
        "output",
        FAIL,
        0.75,
        0.0,
        4,
        0,
        (
            "worst at [2]: got -0.25, it must be -1",
            "1 of 4 elements are off",
            "it is made from input 0 in [2]",
            "first guess: one element alone is off: a loop's end, or an index?",
        ),
    )
    other = comparison.output(np.zeros((2, 2)), p, 0.5, 0.0)
    assert other.detail == ("the shape is (2, 2), it must be (4,)",)


# Gradients, element by element --------------------------------------------------------------------


def elementwise(value, uncertainty=0.0, kink=False):
    """Return a problem of which this is found out, whatever its function."""
    value = np.asarray(value, float)
    p = numeric.make_problem(lambda x: 1.0 * x, (np.ones(value.shape),), rng(), 0)
    parts = (
        np.full(value.shape, part, kind)
        for part, kind in ((uncertainty, float), (kink, bool), (1, int))
    )
    p._truths[0] = ElementwiseDerivatives(value, *parts)
    # no second opinion, and a typical gradient of 1
    object.__setattr__(p, "second_opinion", lambda k, v, value: 0.0)
    object.__setattr__(p, "closer", lambda k, v, value: None)
    object.__setattr__(p, "typical_gradient", lambda k: 1.0)
    return p


def gradient(g, p, allowed, **options):
    g = np.asarray(g, float)
    return comparison.gradient("g", g, p, 0, np.broadcast_to(allowed, g.shape), rng(), **options)


def test_the_worst_element_is_that_which_takes_most_of_its_bound():
    """The bound: what is allowed, and `atol`, the truth's own doubt, and a share of the truth."""
    p = elementwise([1.0, -8.0, 4.0], uncertainty=[0.0, 2.0, 0.0])
    found = gradient([1.25, -7.0, 4.125], p, [0.25, 0.0, 0.125], atol=0.25, rtol=0.25)
    # of 0.75, of 4.5 and of 1.5
    assert (found.error, found.bound) == (0.25, 0.75)
    found = gradient([1.0, -7.0, 4.125], p, [0.25, 0.0, 0.125], atol=0.25, rtol=0.25)
    assert (found.error, found.bound, found.verdict) == (1.0, 4.5, INCONCLUSIVE)
    found = gradient([1.0, -7.0, 5.75], p, [0.25, 0.0, 0.125], atol=0.25, rtol=0.25)
    assert (found.error, found.bound, found.verdict) == (1.75, 1.5, FAIL)
    assert found.detail[0] == "worst at [2]: got 5.75, it must be 4"
    assert gradient([1.0, -7.0, 5.5], p, 0.25, atol=0.25, rtol=0.25).verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("uncertainty", "errors", "worst"),
    [
        # beside a bound of 0 every error is endless
        ([0.0, 0.5], [0.25, 0.75], 0),
        ([0.5, 0.0], [0.75, 0.25], 1),
        ([1.0, 0.5], [0.5, 0.375], 1),
        ([0.0, 0.5], [0.0, 0.25], 1),
    ],
)
def test_which_element_is_the_worst(uncertainty, errors, worst):
    found = gradient(1 + np.array(errors), elementwise([1.0, 1.0], uncertainty), 0.0)
    assert (found.error, found.bound) == (errors[worst], uncertainty[worst])


@pytest.mark.parametrize(
    ("uncertainty", "verdict", "detail"),
    [
        (0.02, PASS, ()),
        (0.0201, INCONCLUSIVE, ("at 2 elements more than 1% of 2 is allowed",)),
    ],
)
def test_a_comparison_that_allows_a_percent_decides_nothing(uncertainty, verdict, detail):
    p = elementwise([2.0, 1.0, -1.0, 5.0], [uncertainty, uncertainty, 0.0, 9.0], [0, 0, 0, 1])
    found = gradient([2.0, 1.0, -1.0, 9.0], p, 0.0)
    assert found == Finding("g", verdict, 0.0, uncertainty, 3, 1, detail)


def test_a_percent_of_the_typical_gradient_where_that_is_larger():
    p = elementwise([0.5, 0.25], [0.01, 0.0])
    assert gradient([0.5, 0.25], p, 0.0).verdict is PASS
    p = elementwise([0.5, 0.25], [0.0101, 0.0])
    assert gradient([0.5, 0.25], p, 0.0).detail == ("at 1 elements more than 1% of 1 is allowed",)


def test_what_no_derivative_is_known_of():
    p = elementwise([1.0, NAN, NAN, 3.0], [0.0, INF, INF, 0.0], [0, 0, 1, 0])
    found = gradient([1.0, 2.0, 2.0, 3.0], p, 0.0)
    line = "at 1 elements no derivative was found"
    assert found == Finding("g", INCONCLUSIVE, 0.0, 0.0, 2, 1, (line,))
    p = elementwise([1.0, NAN], [0.0, INF], [1, 0])
    found = gradient([1.0, 2.0], p, 0.0)
    line = "every element stands at a kink, or where fn is not finite on both sides of it"
    assert found == Finding("g", INCONCLUSIVE, 0.0, 0.0, 0, 1, (line,))


def test_a_gradient_of_no_elements_and_of_another_shape():
    empty = elementwise(np.zeros((0, 3)))
    assert gradient(np.zeros((0, 3)), empty, 0.0) == Finding("g", PASS, 0.0, 0.0, 0)
    found = gradient(np.zeros(2), elementwise([1.0]), 0.0)
    detail = ("the shape is (2,), that of the input is (1,)",)
    assert found == Finding("g", FAIL, INF, 0.0, 0, 0, detail)


def test_each_element_that_is_off_has_a_second_opinion_till_one_stays_off():
    p = elementwise([1.0, 1.0, 0.5, 0.25], uncertainty=[2.0**-13] * 3 + [2.0**-15])
    asked = []

    def opinion(k, v, value):
        asked.append((k, int(v.argmax()), value))
        return 0.0 if v[1] else 0.0078125

    object.__setattr__(p, "second_opinion", opinion)
    found = gradient([1.0, 1.0009765625, 0.50390625, 0.251953125], p, 0.0)
    # 64, 32 and 8 times the bound
    assert asked == [(0, 3, 0.25), (0, 2, 0.5), (0, 1, 1.0)]
    assert (found.verdict, found.error, found.bound) == (FAIL, 0.0009765625, 2.0**-13)
    assert found.detail[:2] == (
        "worst at [1]: got 1.00097656, it must be 1",
        "1 of 4 elements looked at are off",
    )
    # what is doubted more already stays doubted
    doubted = elementwise([1.0], uncertainty=0.0009765625)
    object.__setattr__(doubted, "second_opinion", lambda k, v, value: 1e-9)
    found = gradient([1.001953125], doubted, 0.0)
    assert (found.verdict, found.bound) == (FAIL, 0.0009765625)


# Gradients, along directions ----------------------------------------------------------------------


def directional(*found, n=4):
    """Return a problem of which these derivatives are found, along 1 and along 2 everywhere."""
    p = elementwise(np.ones(n))
    vectors = [np.full(n, 1.0 + i) for i in range(len(found))]
    derivatives = [Derivative(*d, np.ones(n, bool)) for d in found]
    p._truths[0] = DirectionalDerivatives(vectors, derivatives)
    return p


@pytest.mark.parametrize(
    ("sizes", "verdict"), [(1.0, PASS), (1.02, FAIL), (0.98, FAIL)], ids=["right", "more", "less"]
)
def test_along_a_direction(sizes, verdict):
    """The bound: the norm of what is allowed times the direction, the doubt, and a share."""
    p = directional((4.0, 0.0078125, False), (8.0, 0.0078125, False))
    g = np.full(4, sizes)
    found = gradient(g, p, 0.00390625, atol=0.001953125, rtol=0.0009765625)
    first = 2 * 0.005859375 + 0.0078125 + 4 * 0.0009765625
    second = 4 * 0.005859375 + 0.0078125 + 8 * 0.0009765625
    ratios = [4 * abs(sizes - 1) / first, 8 * abs(sizes - 1) / second]
    bound = (first, second)[ratios.index(max(ratios))]
    assert (found.verdict, found.bound) == (verdict, bound)
    assert found.compared == 4
    assert found.excluded == 0


@pytest.mark.parametrize(
    ("derivative", "reason"),
    [
        ((4.0, 4.0, True), "the direction meets a kink: move the inputs a little, so that they"),
        ((NAN, INF, False), "no derivative was found"),
    ],
)
def test_a_direction_that_tells_nothing(derivative, reason):
    found = gradient(np.ones(4), directional((4.0, 0.0, False), derivative), 0.0)
    assert (found.verdict, found.compared, found.excluded) == (INCONCLUSIVE, 0, 4)
    (line,) = found.detail
    assert line.startswith(reason)


def test_what_is_no_derivative_from_either_side_nor_between_fails_at_a_kink():
    found = gradient(np.ones(4), directional((4.0, 0.0, False), (4.0, 3.75, True)), 0.0)
    assert (found.verdict, found.error, found.bound) == (FAIL, 4.0, 3.75)
    truth = elementwise([3.0, 0.5], uncertainty=[0.0, 0.5], kink=[0, 1])
    assert gradient(np.array([3.0, 1.0]), truth, 0.0).verdict is PASS
    found = gradient(np.array([3.0, 1.25]), truth, 0.0)
    assert (found.verdict, found.error, found.bound) == (FAIL, 0.75, 0.5)
    assert (found.compared, found.excluded) == (1, 1)


@pytest.mark.parametrize(
    ("uncertainty", "size", "verdict"),
    [(0.1, 1.0, PASS), (0.101, 1.0, INCONCLUSIVE), (0.2, 2.0, PASS), (0.201, 2.0, INCONCLUSIVE)],
)
def test_a_direction_has_to_show_one_element(uncertainty, size, verdict):
    """A tenth of the typical gradient, 1, or of the root of the mean square of this one."""
    p = directional((4.0 * size, uncertainty, False))
    found = gradient(np.full(4, size), p, 0.0)
    line = f"one element of 4 that is off by {size:.2g} might not show"
    assert found == Finding("g", verdict, 0.0, uncertainty, 4, 0, (line,) * (verdict is not PASS))


@pytest.mark.parametrize(
    ("opinion", "verdict"), [(0.0, FAIL), (0.0625, PASS)], ids=["agrees", "doubts"]
)
def test_a_direction_that_is_off_has_a_second_opinion(opinion, verdict):
    p = directional((4.0, 0.015625, False), (8.03125, 0.015625, False))
    asked = []

    def second(k, v, value):
        asked.append((k, float(v[0]), value))
        return opinion

    object.__setattr__(p, "second_opinion", second)
    found = gradient(np.ones(4), p, 0.0)
    assert asked == [(0, 2.0, 8.03125)]
    assert (found.verdict, found.error, found.bound) == (
        verdict, 0.03125, max(opinion, 0.015625),
    )  # fmt: skip


# Zeros --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "would"),
    [
        (elementwise([0.0, 0.25]), True),
        (elementwise([0.0, 0.5]), False),
        (elementwise([0.0, 0.5], uncertainty=0.5, kink=[0, 1]), True),
        (elementwise([0.0, -0.75], uncertainty=0.5), True),
        (directional((0.25, 0.0, False), (0.5, 0.5, False), n=1), True),
        (directional((0.25, 0.0, False), (1.5, 0.5, False), n=1), False),
        (directional((0.5, 0.0, False), (0.5, 0.5, False), n=1), False),
    ],
)
def test_whether_zeros_would_do(p, would):
    assert comparison.zeros_would_do(p, 0, np.full(p.input(0).shape, 0.25), rng()) is would
    assert comparison.zeros_would_do(p, 0, np.zeros(p.input(0).shape), rng(), atol=0.25) is would
    assert comparison.zeros_would_do(p, 0, np.zeros(p.input(0).shape), rng(), rtol=1.0)


# What is said -------------------------------------------------------------------------------------


def test_a_finding_in_words_and_as_json():
    found = Finding("g", INCONCLUSIVE, 0.00125, 0.5, 7, 2, ("why", "and where"))
    assert str(found) == repr(found)
    assert str(found).splitlines() == [
        "INCONCLUSIVE g: 7 compared, 2 excluded at kinks (non-differentiable), "
        "largest error 0.0013 of 0.5 allowed",
        "    why",
        "    and where",
    ]
    assert (
        str(Finding("g", PASS, 0.0, 0.5, 7)) == "PASS g: 7 compared, largest error 0 of 0.5 allowed"
    )
    assert found.record() == {
        "verdict": "INCONCLUSIVE",
        "what": "g",
        "error": 0.00125,
        "bound": 0.5,
        "compared": 7,
        "excluded": 2,
        "left_out": 0,
        "too_small": 0,
        "detail": ["why", "and where"],
    }
    endless = Finding("g", FAIL, INF, NAN, 7).record()
    assert (endless["error"], endless["bound"], endless["excluded"]) == (None, None, 0)
