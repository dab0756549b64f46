"""Derivatives close to kinks, as the units of a network are: neither left out nor accused."""

import numpy as np
import pytest

from minialex.check import Verdict, comparison, derivatives, numeric
from minialex.check.derivatives import DirectionalDerivatives, ElementwiseDerivatives


def problem(function, x, elementwise=64):
    return numeric.make_problem(function, (x,), np.random.default_rng(0), 0, elementwise)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-7])
def test_a_kink_beside_the_point_is_not_at_it(distance, scale):
    p = problem(lambda x: scale * np.abs(x), np.array([1.0, distance]))
    d = p.along(0, np.ones(2))
    assert not d.kink
    assert abs(d.value - scale * p.gy.sum()) <= d.uncertainty <= 0.02 * scale


def test_a_second_opinion_says_how_far_off_a_value_is():
    p = problem(np.exp, np.array([0.3]))
    true = float(p.gy[0]) * np.exp(0.3)
    v = np.ones(1)
    assert p.second_opinion(0, v, true) < 1e-8
    assert p.second_opinion(0, v, true + 1e-3) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("elementwise", [0, 64])
@pytest.mark.parametrize(("factor", "verdict"), [(1, Verdict.PASS), (1.001, Verdict.FAIL)])
def test_nobody_is_accused_on_the_word_of_one_ladder(elementwise, factor, verdict):
    """Steps agree by chance on a value that is a little off, as they do where one meets a kink."""
    p = problem(np.exp, np.linspace(-1, 1, 5), elementwise)
    rng = np.random.default_rng(0)
    truth = p.truth(0, rng)
    if isinstance(truth, ElementwiseDerivatives):
        truth.value[2] += 1e-7
    else:
        first = truth.derivatives[0]
        truth.derivatives[0] = derivatives.Derivative(
            first.value + 1e-7, first.uncertainty, False, first.depends
        )
    right = p.gy * np.exp(np.linspace(-1, 1, 5))
    finding = comparison.gradient("g", factor * right, p, 0, np.full(5, 1e-12), rng)
    assert isinstance(truth, ElementwiseDerivatives if elementwise else DirectionalDerivatives)
    assert finding.verdict is verdict


@pytest.mark.parametrize(("share", "verdict"), [
    ((1.0, 0.0, 0.0), Verdict.PASS),
    ((0.25, 0.5, 0.25), Verdict.PASS),
    ((1.0, 1.0, 0.0), Verdict.FAIL),
    ((0.0, 0.0, 0.0), Verdict.FAIL),
])  # fmt: skip
def test_elements_at_one_kink_share_a_gradient(share, verdict):
    """Each of those that are the largest may have it, but all together not more."""
    p = problem(lambda x: np.array([x[:3].max(), x[3] ** 2]), np.array([2.0, 2.0, 2.0, 1.5]))
    g = np.array([*(p.gy[0] * np.array(share)), 3 * p.gy[1]])
    finding = comparison.gradient("g", g, p, 0, np.full(4, 1e-12), np.random.default_rng(0))
    assert (finding.verdict, finding.excluded) == (verdict, 3)
    assert (verdict is Verdict.PASS) == (not finding.detail)
    if finding.detail:
        want = f"must add up to {p.gy[0]:.6g}, they do to {sum(share) * p.gy[0]:.6g}"
        assert finding.detail[0].endswith(want)


def test_elements_at_kinks_of_their_own_are_not_added_up():
    p = problem(np.abs, np.array([0.0, 0.0, 1.0]))
    finding = comparison.gradient(
        "g", p.gy * [1, 1, 1], p, 0, np.zeros(3), np.random.default_rng(0)
    )
    assert finding.verdict is Verdict.PASS
