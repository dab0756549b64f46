"""`gradcheck`: all that a function depends on is checked, and what is not checked does not pass."""

import numpy as np
import pytest

from minialex import Tensor, nn
from minialex.check import gradcheck
from tests.check.reports import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    broken,
    images,
    reasons,
    report_of,
    tensor,
    verdicts,
)

# What the function is not given -------------------------------------------------------------------


def test_captured_tensors_are_checked_by_the_names_they_go_by():
    w, m = tensor(4), nn.Linear(4, 4).to(dtype=np.float64)
    scales = {"a": [tensor(4, seed=1)]}
    report = report_of(lambda x: m(x * w) * scales["a"][0], tensor(2, 4))
    assert verdicts(report) == {
        "input 0": PASS,
        "captured w": PASS,
        "captured m.weight": PASS,
        "captured m.bias": PASS,
        "captured scales['a'][0]": PASS,
    }


def test_a_wrong_gradient_of_a_captured_tensor_fails():
    w, op = tensor(3), broken("multiply", 1, np.negative)
    assert verdicts(report_of(lambda x: op(x, w), tensor(3, seed=1)))["captured w"] is FAIL


def test_what_no_name_leads_to_is_checked_too():
    class Holder:
        def __init__(self):
            self.w = tensor(3)

    holder, op = Holder(), broken("multiply", 1, np.negative)
    report = report_of(lambda x: op(x, holder.w), tensor(3, seed=1))
    assert verdicts(report) == {"input 0": PASS, "captured Tensor 1 of shape (3,)": FAIL}


def test_what_fn_makes_itself_is_its_own_affair():
    report = report_of(lambda x: x * Tensor(np.ones(3), requires_grad=True), tensor(3))
    assert verdicts(report) == {"input 0": PASS}


def test_what_was_computed_before_is_out_of_reach():
    w = tensor(3)
    h = w * 2
    report = report_of(lambda x: x * h, tensor(3, seed=1))
    assert report.verdict is INCONCLUSIVE
    assert "multiply made before fn ran" in str(report)
    (found,) = (f for f in report.findings if f.verdict is INCONCLUSIVE)
    assert (found.error, found.bound, found.compared, found.excluded) == (0, 0, 0, 0)
    assert w.grad is None
    assert report_of(lambda x: x * h.detach(), tensor(3, seed=1))


def test_a_graph_that_was_made_before_stays_as_it_was():
    w = tensor(3)
    before = w * w
    expected = 2 * w.data
    report_of(lambda x: x.exp() - 1.5 * before, tensor(3))
    before.backward(np.ones(3))
    assert w.grad.tolist() == expected.tolist()


def test_a_gradient_for_what_no_output_depends_on_fails():
    w = tensor(3)
    h = w * 2
    assert verdicts(report_of(lambda x, w: x * h, tensor(3, seed=1), w))["input 1"] is FAIL


def test_an_input_that_is_not_used_is_inconclusive():
    report = report_of(lambda x, unused: x * x, tensor(3), tensor(3, seed=1))
    assert verdicts(report) == {"input 0": PASS, "input 1": INCONCLUSIVE}
    assert reasons(report) == ["no output depends on it, and no gradient reaches it"]


def test_inputs_in_lists_and_dicts_are_found():
    op = broken("multiply", 1, np.negative)
    nested = {"a": tensor(3)}, [tensor(3, seed=1), (tensor(3, seed=2),)]
    report = report_of(lambda d, s: op(d["a"], s[0]) * s[1][0], *nested)
    assert verdicts(report) == {"input 0['a']": PASS, "input 1[0]": FAIL, "input 1[1][0]": PASS}


def test_a_tensor_given_twice_is_one():
    x = tensor(3)
    assert verdicts(report_of(lambda a, b: a * b, x, x)) == {"input 0 = input 1": PASS}


def test_an_input_that_requires_no_gradient_is_said():
    report = report_of(lambda x, c, n: x * c, tensor(3), tensor(3, requires_grad=False), 3)
    assert report
    assert report.remarks == ("not checked, requiring no gradient: input 1",)
    assert str(report).endswith(report.remarks[0])


@pytest.mark.parametrize(
    ("fn", "shape", "verdict", "reason"),
    [
        (lambda x: x * 2, (0,), INCONCLUSIVE, "fn returns no elements"),
        (lambda x: x[:0], (3,), INCONCLUSIVE, "fn returns no elements"),
        (lambda x: x.sum(), (0,), INCONCLUSIVE, "it has no elements"),
        (lambda x: Tensor(np.ones(3)), (3,), INCONCLUSIVE, "no output depends on it"),
        (lambda x: x * 0, (3,), INCONCLUSIVE, "no output depends on it"),
        (
            lambda x: x * 1e-20 + 1,
            (3,),
            INCONCLUSIVE,
            "no output changes with it by more than rounding",
        ),
        (lambda x: x * x.detach() - x * x, (3,), FAIL, "must be"),
        (lambda x: x.softmax(1).sum(), (3, 4), INCONCLUSIVE, "zeros for it would pass too"),
        (lambda x: x.detach() * 2, (3,), FAIL, "no gradient reaches it"),
        (lambda x: Tensor(x.numpy() * 2), (3,), FAIL, "no gradient reaches it"),
        (lambda x: (x * 2, x.detach()), (3,), FAIL, "must be"),
        (lambda x: {"y": [x * 2, (x.detach(),)]}, (3,), FAIL, "must be"),
    ],
)
@pytest.mark.parametrize("fast_mode", [False, True])
def test_what_shows_nothing_does_not_pass(fn, shape, verdict, reason, fast_mode):
    report = report_of(fn, tensor(*shape), fast_mode=fast_mode)
    assert report.verdict is verdict
    assert any(reason in line for line in reasons(report)), report


def test_a_softmax_whose_backward_returns_zeros_does_not_pass_by_its_sum():
    op = broken("softmax", 0, np.zeros_like)
    report = report_of(lambda x: op(x, dim=1).sum(), tensor(3, 4))
    assert report.verdict is INCONCLUSIVE


def test_an_output_that_is_no_tensor_is_said():
    report = report_of(lambda x: (x * 2, (x * 3).numpy()), tensor(3))
    assert report.remarks == ("not checked, being no Tensor: output[1]",)


def test_a_reference_that_is_not_given_everything_is_refused():
    w = tensor(3)
    with pytest.raises(ValueError, match="reference is not given captured w"):
        gradcheck(lambda x: x * w, tensor(3), reference=np.square)
    with pytest.raises(ValueError, match="reference is not given weight"):
        gradcheck(nn.Linear(4, 4), images(3, 4), reference=np.square)


def test_a_reference_sees_nested_inputs():
    def product(pair):
        return pair[0] * pair[1]

    pair = [tensor(3), tensor(3, seed=1)]
    assert report_of(product, pair, reference=product)
    wrong = report_of(product, pair, reference=lambda pair: pair[0] * pair[0])
    assert wrong.verdict is FAIL
    assert "it is made from input 0[0] in [" in str(wrong)


# float32 ------------------------------------------------------------------------------------------


class Hidden:
    """A constant in float32 that cannot be found, beside which float64 is refused."""

    __slots__ = ("c",)

    def __init__(self):
        self.c = Tensor(np.array([2.0, -3.0, 0.5], np.float32))


@pytest.mark.parametrize(("factor", "verdict"), [(1, PASS), (1.02, FAIL)])
def test_differences_in_float32_where_fn_takes_nothing_else(factor, verdict):
    hidden, op = Hidden(), broken("tanh", 0, lambda g: g * g.dtype.type(factor))
    report = report_of(lambda x: op(x * hidden.c), tensor(3, dtype=np.float32))
    assert report.verdict is verdict, report
    assert "differences are taken in float32" in report.remarks[0]
    assert "multiply: inputs of different types" in report.remarks[0]


def test_arrays_among_the_inputs_go_to_float64_with_the_others():
    c = np.array([2.0, -3.0, 0.5], np.float32)
    report = report_of(lambda x, s: x * Tensor(s["c"]), tensor(3, dtype=np.float32), {"c": c})
    assert report
    assert report.remarks == ("not checked, requiring no gradient: input 1['c']",)
    assert c.dtype == np.float32


def test_float32_inside_is_seen_for_what_it_is():
    """The bound is that of the coarsest type on the way, not of the input's or the output's."""
    assert report_of(lambda x: x.astype(np.float32).exp(), tensor(5))
    assert report_of(lambda x: x.astype(np.float32).exp().astype(np.float64), tensor(5))
    wrong = broken("exp", 0, lambda g: g * g.dtype.type(1.02))
    assert report_of(lambda x: wrong(x.astype(np.float32)), tensor(5)).verdict is FAIL


def test_what_float32_alone_does_wrong_fails():
    op = broken("exp", 0, lambda g: g * np.float32(1.01) if g.dtype == np.float32 else g)
    report = report_of(op, tensor(5, dtype=np.float32))
    verdict = {f.what: f.verdict for f in report.findings if f.what.startswith("gradient")}
    assert verdict == {
        "gradient of input 0 in float64": PASS,
        "gradient of input 0 in float32": FAIL,
    }
