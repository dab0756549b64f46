"""Which elements are taken by themselves, and what is said of the others."""

import numpy as np
import pytest

from minialex import Tensor, nn
from minialex.autograd import Cost, Implementation, Op
from minialex.check import Verdict, gradcheck
from tests.check.reports import PASS, report_of, tensor


def gradients(report):
    return {f.what: f for f in report.findings if f.what.startswith("gradient of")}


def last_is_wrong():
    """Return x * x, whose gradient for the last element of all is twice what it must be."""

    def backward(gy, saved):
        g = 2 * gy * saved[0]
        g.reshape(-1)[-1] *= 2
        return (g,)

    own = Implementation(lambda x: (x * x, (x,)), backward)
    return Op("own", {"plain": own}, lambda shapes: Cost(1, 4))


def x_of(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize(
    ("elements", "compared", "verdict"),
    [
        (None, 24, Verdict.FAIL),
        ("all", 24, Verdict.FAIL),
        (5, 5, None),
        (100, 24, Verdict.FAIL),
        ({"input 0": [0, (3, 1), -2]}, 3, Verdict.PASS),
        ({"input 0": [0, (3, 5)]}, 2, Verdict.FAIL),
        ({"input 0": [-1]}, 1, Verdict.FAIL),
    ],
)
def test_so_many_are_compared_and_the_others_are_counted(elements, compared, verdict):
    report = gradcheck(last_is_wrong(), x_of(4, 6), elements=elements, raise_exception=False)
    (found,) = gradients(report).values()
    assert (found.compared, found.left_out) == (compared, 24 - compared)
    assert verdict in (None, report.verdict)
    assert (f", {24 - compared} left out" in str(found)) == (compared < 24)
    assert found.record()["left_out"] == 24 - compared


def test_every_element_of_what_would_be_taken_along_directions():
    x = x_of(600)
    found = gradients(gradcheck(lambda x: x.tanh(), x, elements="all"))
    assert found["gradient of input 0"].compared == 600
    report = gradcheck(last_is_wrong(), x, elements={"input 0": range(10)})
    assert gradients(report)["gradient of input 0"].left_out == 590


def test_parameters_are_named():
    layer, x = nn.Linear(5, 3), Tensor(np.ones((2, 5), np.float32))
    found = gradients(gradcheck(layer, x, elements={"weight": [0, (2, 4)]}))
    counts = {what: (f.compared, f.left_out) for what, f in found.items()}
    assert counts == {
        f"gradient of {name} in {kind}": n
        for name, n in (("weight", (2, 13)), ("bias", (3, 0)))
        for kind in ("float64", "float32")
    }


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"w": [0]}, "unknown input 'w'; known: weight, bias"),
        ({"weight": [15]}, r"weight, of shape \(3, 5\), has no element 15"),
        ({"weight": [(3, 0)]}, r"has no element \(3, 0\)"),
        ({"weight": [0.5]}, "has no element 0.5"),
        (0, "elements is 0; give 'all'"),
        ("some", "elements is 'some'; give 'all'"),
    ],
)
def test_what_is_not_there_is_refused(elements, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(nn.Linear(5, 3), Tensor(np.ones((2, 5), np.float32)), elements=elements)


def test_elements_smaller_than_what_is_allowed_are_counted():
    x = Tensor(np.array([1.0, 1e-9, 2.0, -1e-10]), requires_grad=True)
    (found,) = gradients(gradcheck(lambda x: x * x * x, x)).values()
    assert (found.compared, found.too_small) == (4, 2)
    assert "4 compared, 2 of them smaller than what is allowed" in str(found)
    assert found.record()["too_small"] == 2


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (abs, "every element stands at a kink: move"),
        (lambda x: x**1.5, "fn is not finite on both sides of any element"),
        (lambda x: (abs(x[:1]), x[1:] ** 1.5), "every element stands at a kink, or where fn is"),
    ],
)
def test_why_nothing_is_known(fn, reason):
    report = gradcheck(fn, Tensor(np.zeros(2), requires_grad=True), raise_exception=False)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any(line.startswith(reason) for f in report.findings for line in f.detail), report


@pytest.mark.parametrize(
    ("slope", "verdict"), [(0.3, "INCONCLUSIVE"), (1.01, "FAIL"), (1e9, "FAIL")]
)
def test_at_a_kink_a_slope_from_neither_side_nor_between_fails(slope, verdict):
    own = Implementation(lambda x: (abs(x), (x,)), lambda gy, saved: (slope * gy,))
    op = Op("own", {"plain": own}, lambda shapes: Cost(1, 4))
    x = Tensor(np.zeros(3), requires_grad=True)
    assert gradcheck(op, x, raise_exception=False).verdict.name == verdict


def test_a_kink_is_said_with_what_the_slope_may_be():
    own = Implementation(lambda x: (abs(x), (x,)), lambda gy, saved: (9 * gy,))
    op = Op("own", {"plain": own}, lambda shapes: Cost(1, 4))
    report = gradcheck(op, Tensor(np.zeros(()), requires_grad=True), raise_exception=False)
    (line,) = report.findings[-1].detail
    assert line.startswith("worst at [], a kink: got ")
    assert ", it must be from " in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atol": -1.0}, "atol is -1.0; give a number that is 0 or more"),
        ({"rtol": float("nan")}, "rtol is nan"),
        ({"nondet_tol": -1e-9}, "nondet_tol is -1e-09"),
        ({"eps": 0}, "eps is 0; give a step above 0"),
        ({"reference": lambda x: x.sum()}, "reference returns 1 numbers, fn 3"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(lambda x: x * 2, x_of(3), **options)


def weighted(weights, claimed):
    """Return an op that adds up what it is given, with a backward that claims other weights."""
    w, c = np.array(weights, float), np.array(claimed, float)
    plain = Implementation(lambda x: (np.asarray((w * x).sum()), ()), lambda gy, saved: (gy * c,))
    return Op("weighted", {"plain": plain})


@pytest.mark.parametrize("seed", range(5))
def test_what_is_lost_beside_something_large_is_counted(seed):
    report = report_of(weighted([1e10, 1, 1e-6], [1e10, 1, 0]), tensor(3, seed=seed))
    assert report.findings[-1].too_small == 1
    assert "1 of them smaller than what is allowed" in str(report.findings[-1])
    report = report_of(weighted([1e10, 1, 0], [1e10, 1, 0]), tensor(3, seed=seed))
    assert report.findings[-1].too_small == 0


def test_many_that_are_lost_are_counted_or_noticed():
    weights, claimed = np.full(4000, 1e-6), np.zeros(4000)
    weights[0] = claimed[0] = 1e14
    (found,) = report_of(weighted(weights, claimed), tensor(4000)).findings[2:]
    assert (found.verdict, found.too_small) == (PASS, 3999)
    weights[1:] = 1e6
    assert report_of(weighted(weights, claimed), tensor(4000)).verdict is Verdict.FAIL


def test_gates_that_are_shut_are_not_counted():
    x = Tensor(np.array([1.0, -1e-3, -1.0, 2.0, -5.0]), requires_grad=True)
    report = report_of(lambda x: x.relu() * 3, x)
    assert (report.verdict, report.findings[-1].too_small) == (PASS, 0)
