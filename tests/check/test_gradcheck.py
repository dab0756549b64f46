"""`gradcheck`, as people use it on functions of their own."""

import numpy as np
import pytest

from minialex import Tensor, check, emulated, ops, using
from minialex.autograd import OPS, Cost, Implementation, Op
from minialex.check import Finding, GradientError, Verdict, gradcheck
from minialex.check.gradcheck import _affordable
from minialex.check.subject import RunCost, Subject

FLOAT32 = np.dtype(np.float32)


def tensor(*shape, dtype=np.float64, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(values.astype(dtype), requires_grad=True)


@pytest.fixture
def make_op():
    def make(backward, forward=lambda x: (x * x, (x,)), name="own"):
        return Op(name, {"plain": Implementation(forward, backward)}, lambda s: Cost(1, 4))

    return make


def square_back(gy, saved):
    return (2 * gy * saved[0],)


def verdict(fn, inputs, **options):
    return gradcheck(fn, inputs, raise_exception=False, **options).verdict


def test_a_right_function_passes():
    report = gradcheck(lambda x, w: ops.linear(x, w).tanh(), (tensor(3, 4), tensor(5, 4)))
    assert report
    assert report.verdict is Verdict.PASS
    assert str(report).count("PASS") == 4


def test_one_tensor_needs_no_tuple():
    assert gradcheck(ops.tanh, tensor(3))


def test_other_arguments_are_passed_on():
    targets = np.array([1, 0, 2])
    assert gradcheck(ops.cross_entropy, (tensor(3, 4), targets))
    assert gradcheck(ops.power, (tensor(3), 2))


def test_tensors_without_gradient_are_left_alone():
    c = Tensor(np.arange(3.0))
    report = gradcheck(lambda x, c: x * c, (tensor(3), c))
    assert [f.what for f in report.findings][2:] == ["gradient of input 0"]
    assert c.grad is None


def test_the_inputs_keep_their_gradients():
    x = tensor(3)
    gradcheck(ops.exp, x)
    assert x.grad is None


def test_several_outputs():
    assert gradcheck(lambda x: (x.exp(), x.sum(), x.reshape(1, 3)), tensor(3))


def test_all_outputs_count():
    """A graph cut off at the second output is noticed, though the first is right."""
    assert verdict(lambda x: (x.exp(), (x * x).detach()), tensor(3)) is Verdict.FAIL


def test_float32():
    assert gradcheck(lambda x: x.softmax(1), tensor(3, 5, dtype=np.float32))


def test_float32_shows_a_thousandth(make_op):
    op = make_op(lambda gy, saved: (gy * saved[0] * gy.dtype.type(2.002),))
    assert verdict(op, tensor(5, dtype=np.float32)) is Verdict.FAIL


@pytest.mark.parametrize("shape", [(), (1,), (3,), (31, 33)])
def test_shapes(shape):
    assert gradcheck(lambda x: x * x.tanh(), tensor(*shape))


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_wrong_function_fails(make_op, fast_mode):
    op = make_op(lambda gy, saved: (gy * saved[0],))
    assert verdict(op, tensor(4), fast_mode=fast_mode) is Verdict.FAIL


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_zero_gradient_fails(make_op, fast_mode):
    op = make_op(lambda gy, saved: (np.zeros_like(gy),))
    assert verdict(op, tensor(4), fast_mode=fast_mode) is Verdict.FAIL


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails(make_op, value):
    op = make_op(lambda gy, saved: (np.full_like(gy, value),))
    assert verdict(op, tensor(4)) is Verdict.FAIL


def test_a_gradient_that_never_arrives_fails():
    assert verdict(lambda x: x.detach() * x.detach(), tensor(3)) is Verdict.FAIL


def test_a_gradient_as_small_as_a_tolerance_must_still_be_right(make_op):
    """Absolute or relative below 1e-6, as checkers elsewhere ask, passes a zero gradient here."""
    op = make_op(lambda gy, saved: (np.zeros_like(gy),), lambda x: (1e-7 * x, ()))
    assert verdict(op, tensor(4)) is Verdict.FAIL


def test_a_cast_to_float32_on_the_way_back_fails(make_op):
    op = make_op(lambda gy, saved: (2 * gy.astype(np.float32).astype(gy.dtype) * saved[0],))
    assert verdict(op, tensor(4)) is Verdict.FAIL
    # as accurate as that type is
    assert verdict(op, tensor(4, dtype=np.float32)) is Verdict.PASS


def test_failure_raises_and_explains(make_op):
    op = make_op(lambda gy, saved: (gy * saved[0],))
    with pytest.raises(GradientError) as raised:
        gradcheck(op, tensor(2, 3))
    text = str(raised.value)
    for words in ("FAIL gradient of input 0", "worst at [", "it comes from", "2 times too small"):
        assert words in text


def test_a_backward_that_writes_to_what_it_was_given_is_refused(make_op):
    def backward(gy, saved):
        gy *= 2 * saved[0]
        return (gy,)

    with pytest.raises(GradientError, match=r"backward wrote to gy, .*: compute into a new array"):
        gradcheck(make_op(backward), tensor(3))


def test_the_sum_of_a_softmax_passes_no_zero_backward(make_op):
    """Why cotangents are random: that of ones gives a softmax the gradient zero."""
    softmax = OPS["softmax"].implementations["plain"].forward
    op = make_op(lambda gy, saved: (np.zeros_like(gy),), lambda x: softmax(x, dim=1))
    assert verdict(op, tensor(3, 4)) is Verdict.FAIL


def test_kinks_are_left_out_and_counted():
    x = Tensor(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    report = gradcheck(ops.relu, x)
    assert [f.excluded for f in report.findings] == [0, 0, 1]


def test_nothing_but_kinks_is_inconclusive():
    x = Tensor(np.zeros(3), requires_grad=True)
    assert verdict(ops.relu, x) is Verdict.INCONCLUSIVE
    with pytest.raises(GradientError, match="INCONCLUSIVE"):
        gradcheck(ops.relu, x)


def test_nan_at_a_kink_fails(make_op):
    def back(gy, saved):
        return (np.where(saved[0] > 0, gy, np.where(saved[0] < 0, 0, np.nan)),)

    op = make_op(back, lambda x: (np.maximum(x, 0), (x,)))
    x = Tensor(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    assert verdict(op, x) is Verdict.FAIL


def test_tolerances_that_would_hide_a_fault_are_inconclusive(make_op):
    op = make_op(square_back)
    assert verdict(op, tensor(4)) is Verdict.PASS
    assert verdict(op, tensor(4), atol=10.0) is Verdict.INCONCLUSIVE
    assert verdict(op, tensor(4), rtol=0.5) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("atol", "expected"), [(1e-3, "PASS"), (1e-2, "INCONCLUSIVE")])
def test_a_sum_over_many_elements_shows_one_of_them(atol, expected):
    report = gradcheck(ops.tanh, tensor(2000), atol=atol, raise_exception=False)
    *_, along = report.findings
    assert (along.verdict.name, along.compared) == (expected, 2000)
    loose = [line for line in along.detail if "one element of 2000 that is off by 0.68" in line]
    assert len(loose) == (expected == "INCONCLUSIVE")


def test_tolerances_allow_what_they_say(make_op):
    op = make_op(lambda gy, saved: (2 * gy * saved[0] + 1e-6,))
    assert verdict(op, tensor(4)) is Verdict.FAIL
    assert verdict(op, tensor(4), atol=1e-5) is Verdict.PASS


def test_a_step_may_be_given():
    assert gradcheck(ops.tanh, tensor(4), eps=1e-5)
    seen = []

    def noted(x):
        seen.append(x.item())
        return 3 * x

    assert gradcheck(noted, Tensor(np.array([2.0]), requires_grad=True), eps=0.25, fast_mode=False)
    # besides the numbers that rounding is measured with
    assert {2.25, 1.75, 2.0625, 1.9375} == {v for v in seen if abs(v - 2) > 1e-6}
    # so coarse that truncation hides everything
    assert verdict(lambda x: (x * 20).tanh(), tensor(4), eps=1.0) is Verdict.INCONCLUSIVE


def test_a_reference_proves_the_output_too(make_op):
    assert gradcheck(ops.tanh, tensor(4), reference=np.tanh)
    wrong = make_op(square_back, lambda x: (x * x * 1.001, (x,)))
    report = gradcheck(wrong, tensor(4), reference=np.square, raise_exception=False)
    assert [f.verdict for f in report.findings[2:]] == [Verdict.FAIL, Verdict.PASS]


def test_what_changes_by_itself_fails():
    rng = np.random.default_rng(0)
    x = tensor(4)
    report = gradcheck(lambda x: x * Tensor(rng.random(4)), x, raise_exception=False)
    assert report.verdict is Verdict.FAIL
    assert "seed and offset" in str(report)


def test_how_far_two_runs_are_apart():
    """Each runs backward, and then forward alone: two steps of 1/4 between their outputs."""

    def first(tolerance):
        runs = []

        def drifting(x):
            runs.append(0)
            return x * 2 + 0.25 * len(runs)

        report = gradcheck(drifting, tensor(3), nondet_tol=tolerance, raise_exception=False)
        return report.findings

    again = "the same output and gradients when run again"
    assert first(0.5)[0] == Finding(again, Verdict.PASS, 0.5, 0.5, 6)
    found, _ = first(0.25)
    assert (found.what, found.verdict) == (again, Verdict.FAIL)
    assert found.detail[0].startswith("two runs differ by 0.5; put a module in eval() mode, or")
    same, *_ = gradcheck(ops.exp, tensor(3)).findings
    assert same == Finding(again, Verdict.PASS, 0.0, 0.0, 6)


def test_outputs_may_share_what_they_are_made_from():
    def two(x):
        h = x.tanh()
        return h.exp(), h * 2, h

    assert gradcheck(two, tensor(3))


def test_an_output_may_be_an_input():
    assert gradcheck(lambda x: x, tensor(3))
    assert gradcheck(lambda x: [x, x * 2], tensor(3, dtype=np.float32))


def test_an_infinite_output_leaves_nothing_to_compare():
    """Its gradients are no numbers, and no run of backward is refused for them."""
    x = Tensor(np.array([0.0, 1.0]), requires_grad=True)
    with np.errstate(divide="ignore"):
        report = gradcheck(lambda x: 1 / x, x, raise_exception=False)
    assert report.verdict is Verdict.FAIL
    assert "first at [0]: got" in str(report)


def test_where_fn_is_no_number_its_gradient_need_be_none():
    x = Tensor(np.array([-1.0, 1.0]), requires_grad=True)
    with np.errstate(all="ignore"):
        report = gradcheck(lambda x: x.log().log(), x, raise_exception=False)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "fn is NaN here, and its gradient not finite" in str(report)


def test_a_function_may_refuse_what_is_far_from_its_inputs():
    table = np.arange(5.0)
    plain = Implementation(
        lambda x: (x * table[x.astype(int)], (x,)),
        lambda gy, saved: (gy * table[saved[0].astype(int)],),
    )
    x = Tensor(np.array([0.5, 1.5, 2.5]), requires_grad=True)
    assert gradcheck(Op("looked_up", {"plain": plain}), x)


@pytest.mark.parametrize(
    ("cost", "sizes", "affordable"),
    [
        # 24 evaluations an element, of 10^6 operations and ten calls worth 10^5
        (RunCost(1e6, 10, FLOAT32, 0.0), [100, 300, 200], 200),
        (RunCost(1e6, 10, FLOAT32, 0.0), [417], 0),
        (RunCost(1e6, 10, FLOAT32, 0.0), [416], 416),
        (RunCost(1.0, 1, FLOAT32, 0.0), [512, 513, 7], 512),
        (RunCost(1e9, 1, FLOAT32, 0.0), [1], 0),
        (RunCost(1.0, 1, FLOAT32, 0.0), [], 0),
    ],
)
def test_up_to_which_size_one_by_one_is_affordable(cost, sizes, affordable):
    assert _affordable(cost, sizes) == affordable


def test_what_a_run_takes():
    x, w = tensor(3, 4, dtype=np.float32), tensor(5, 4, dtype=np.float32)
    subject = Subject(lambda x, w: ops.linear(x, w).tanh(), (x, w), None)
    flops = OPS["linear"].cost(((3, 4), (5, 4), None)).flops + 15
    assert subject.as_given == RunCost(flops, 2, FLOAT32, 0.0)
    assert subject.work == RunCost(flops, 2, np.dtype(np.float64), 0.0)


def test_what_an_op_without_a_cost_takes():
    """As if each of its outputs depended on all of its inputs."""
    one = Implementation(lambda x, y: (x * y.sum(), (x, y)), lambda gy, saved: (gy, gy))
    op = Op("own", {"plain": one})
    subject = Subject(op, (tensor(2, 3), tensor(4)), None)
    assert subject.work == RunCost(6 * (6 + 4), 1, np.dtype(np.float64), 0.0)


def test_a_tremble_may_be_allowed():
    rng = np.random.default_rng(0)

    def trembling(x):
        return x + Tensor(1e-13 * rng.random(4))

    assert verdict(trembling, tensor(4)) is Verdict.FAIL
    assert verdict(trembling, tensor(4), nondet_tol=1e-12) is Verdict.PASS


def test_no_input_that_requires_a_gradient():
    with pytest.raises(ValueError, match="no input requires a gradient"):
        gradcheck(ops.exp, Tensor(np.ones(3)))


def test_no_tensor_comes_back():
    with pytest.raises(ValueError, match="must return Tensors, not ndarray"):
        gradcheck(lambda x: x.data, tensor(3))


def test_outside_the_domain_is_inconclusive():
    x = Tensor(np.array([0.5, 0.0]), requires_grad=True)
    assert verdict(lambda x: x**1.5, x) is Verdict.INCONCLUSIVE


def test_small_inputs_have_steps_as_small():
    x = Tensor(np.array([0.5, 1e-9]), requires_grad=True)
    assert verdict(ops.log, x) is Verdict.PASS
    assert verdict(lambda x: x.log(), Tensor(x.data * 1e-6, requires_grad=True)) is Verdict.PASS


def test_a_network():
    def net(x, w, b, v):
        h = ops.relu(ops.conv2d(x, w, b, stride=2, padding=1))
        h = ops.local_response_norm(h, size=3, alpha=0.5)
        return ops.cross_entropy(ops.linear(h.flatten(1), v), np.array([1, 0]))

    inputs = (tensor(2, 2, 5, 4, seed=1), tensor(3, 2, 3, 3), tensor(3, seed=2), tensor(4, 18))
    assert gradcheck(net, inputs)


# Ops of one's own ---------------------------------------------------------------------------------


def gelu_forward(x):
    return 0.5 * x * (1 + np.tanh(0.8 * x)), (x,)


def gelu_back(gy, saved):
    (x,) = saved
    t = np.tanh(x.dtype.type(0.8) * x)
    return (gy * (0.5 * (1 + t) + 0.4 * x * (1 - t * t)),)


def own_row(op, **options):
    def reference(x):
        return np.array([0.5 * v * (1 + np.tanh(0.8 * v)) for v in x])

    case = check.Case("33", lambda rng: (rng.standard_normal(33),))
    return check.check_case(next(check.pairs(op, "float64")), case, reference=reference)


def test_an_op_of_ones_own_is_checked(make_op):
    assert own_row(make_op(gelu_back, gelu_forward)).verdict is Verdict.PASS


def test_an_op_of_ones_own_is_caught(make_op):
    op = make_op(lambda gy, saved: (gelu_back(gy, saved)[0] * 1.001,), gelu_forward)
    assert own_row(op).verdict is Verdict.FAIL


def test_an_op_without_a_reference_fails_by_name(make_op):
    case = check.Case("33", lambda rng: (rng.standard_normal(33),))
    pair = next(check.pairs(make_op(gelu_back, gelu_forward, "gelu"), "float64"))
    with pytest.raises(LookupError, match="'gelu' has no reference"):
        check.check_case(pair, case)


def test_rounded_operands_are_allowed_for_and_compared_with_a_reference_alone():
    rng = np.random.default_rng(0)
    x, w = (
        Tensor(rng.standard_normal(shape, np.float32), requires_grad=True)
        for shape in [(3, 9), (5, 9)]
    )
    with emulated(), using("tf32"):
        report = gradcheck(ops.linear, (x, w), reference=lambda x, w: x @ w.T)
        # the rounding is really there: more than a float's is allowed, and taken
        assert max(f.error for f in report.findings) > 1e-5
        with pytest.raises(ValueError, match="differences tell nothing: give a reference, or use"):
            gradcheck(ops.linear, (x, w))
        with pytest.raises(TypeError, match=r"linear_forward_tf32: argument x points to float "):
            ops.linear(x.astype(np.float64), w.astype(np.float64))
