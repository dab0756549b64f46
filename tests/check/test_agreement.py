"""Two functions that should be the same are compared, forward and backward."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, using
from minialex.check import GradientError, Verdict, compare

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def tensor(*shape, dtype=np.float64, seed=0, scale=1.0):
    x = scale * np.random.default_rng(seed).standard_normal(shape)
    return Tensor(x.astype(dtype), requires_grad=True)


def verdicts(a, b, *inputs, **options):
    report = compare(a, b, inputs, raise_exception=False, **options)
    return {f.what: f.verdict for f in report.findings}


def convolution(name):
    def convolve(x, w):
        with using(conv2d=name):
            return ops.conv2d(x, w, padding=1)

    return convolve


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_implementations_of_an_op_agree_as_far_as_rounding_lets_them(dtype):
    inputs = tensor(2, 3, 7, 7, dtype=dtype), tensor(4, 3, 3, 3, dtype=dtype, seed=1)
    report = compare(convolution("plain"), convolution("winograd"), inputs)
    types = dict.fromkeys((np.float64, dtype))
    assert len(report.findings) == 3 * len(types)
    assert all(f.bound < 1e-3 for f in report.findings)


def test_a_factor_is_seen_in_the_output_and_in_the_gradient():
    found = verdicts(ops.tanh, lambda x: x.tanh() * (1 + 1e-9), tensor(5))
    assert found == {"output in float64": FAIL, "gradient of input 0 in float64": FAIL}


def test_a_gradient_alone_that_differs_is_told_with_both_numbers():
    with pytest.raises(GradientError, match=r"worst at \[\d\]: a gives 0, b gives -?\d"):
        compare(lambda x: x.detach() * 2, lambda x: x * 2, tensor(3))


def test_cancelling_one_way_and_not_the_other_is_no_fault():
    """Near 0 the first is off by 1e-16, which is a share of 1e-8: more than the model allows."""

    def exact(x):
        return x * (1 + x * (0.5 + x * (1 / 6 + x / 24)))

    found = verdicts(lambda x: x.exp() - 1, exact, tensor(5, scale=1e-8))
    assert set(found.values()) <= {PASS, INCONCLUSIVE}
    assert verdicts(lambda x: x.exp() - 1, lambda x: exact(x) * 1.1, tensor(5, scale=1e-8)) == {
        "output in float64": FAIL,
        "gradient of input 0 in float64": FAIL,
    }


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (lambda x: x * 0, lambda x: x - x, "both are 0"),
        (lambda x: x[:0], lambda x: x[:0] * 2, "there are no elements"),
    ],
)
def test_what_shows_nothing_does_not_pass(a, b, reason):
    report = compare(a, b, tensor(3), raise_exception=False)
    output, _ = report.findings
    assert (output.verdict, output.detail) == (INCONCLUSIVE, (reason,))


def test_noise_as_large_as_the_outputs_decides_nothing():
    found = verdicts(lambda x: (x + 1e16) - 1e16, lambda x: (x + 1e16) - 1e16, tensor(3))
    assert found["output in float64"] is INCONCLUSIVE


def test_outputs_of_other_sizes_fail():
    (finding,) = compare(lambda x: x, lambda x: x[:2], tensor(3), raise_exception=False).findings
    line = "a gives output of shape (3,); b gives output of shape (2,)"
    assert (finding.verdict, finding.detail) == (FAIL, (line,))


def test_outputs_of_other_names_fail():
    found = compare(lambda x: x * 2, lambda x: {"y": x * 2}, tensor(3), raise_exception=False)
    line = "a gives output of shape (3,); b gives output['y'] of shape (3,)"
    assert (found.verdict, found.findings[0].detail) == (FAIL, (line,))
    assert compare(lambda x: {"y": x + x}, lambda x: {"y": x * 2}, tensor(3))


def test_outputs_of_a_dictionary_are_compared_by_their_names():
    def one(x):
        return {"a": x * 1, "b": x * 2}

    assert compare(one, lambda x: {"b": x * 2, "a": x * 1}, tensor(3))
    swapped = compare(one, lambda x: {"b": x * 1, "a": x * 2}, tensor(3), raise_exception=False)
    assert swapped.verdict is FAIL


def test_modules_are_compared_by_the_names_of_their_parameters():
    one, other = nn.Linear(4, 3), nn.Linear(4, 3)
    other.load_state_dict(one.state_dict())
    x = tensor(2, 4, dtype=np.float32)
    report = compare(one, other, x)
    assert {f.what.removesuffix(" in float32") for f in report.findings[4:]} == {
        "output", "gradient of input 0", "gradient of weight", "gradient of bias",
    }  # fmt: skip
    assert report.remarks == ()
    other.weight.data[0, 0] += 1e-3
    assert compare(one, other, x, raise_exception=False).verdict is FAIL
    report = compare(one, lambda x: x @ one.weight.data.T + one.bias.data, x, raise_exception=False)
    assert report.remarks == ("not compared, as a alone has them: weight, bias",)
    assert [f.verdict for f in report.findings] == [PASS] * 4


def test_tolerances_allow_what_they_say():
    near = (lambda x: x * 2, lambda x: x * 2 + 1e-6)
    assert verdicts(*near, tensor(3))["output in float64"] is FAIL
    assert verdicts(*near, tensor(3), atol=2e-6)["output in float64"] is PASS
    assert verdicts(*near, tensor(3), rtol=1e-3)["output in float64"] is PASS
    assert verdicts(*near, tensor(3), atol=1.0)["output in float64"] is INCONCLUSIVE
