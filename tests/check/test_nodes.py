"""`gradcheck` of compositions: which op is wrong by itself."""

import json
import re

import numpy as np
import pytest

from minialex import Tensor, nn, ops, philox
from minialex.autograd import OPS, Implementation, Op, graph, record_calls
from minialex.check import nodes
from tests.campaigns import compositions
from tests.check.reports import (
    FAIL,
    INCONCLUSIVE,
    broken,
    failures,
    images,
    report_of,
    tensor,
    verdicts,
)
from tests.check.zoo import off_the_lists


def blamed(report):
    """Return what is said to be wrong by itself, each once."""
    start = "wrong by itself: "
    lines = [line for f in failures(report) for line in f.detail if line.startswith(start)]
    return list(
        dict.fromkeys(line.removeprefix(start).removesuffix(", as above") for line in lines)
    )


# Names --------------------------------------------------------------------------------------------


def test_calls_are_numbered_in_the_order_in_which_they_ran():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Conv2d(2, 1, 2), nn.Flatten())
    with record_calls() as calls:
        net(images(1, 1, 4, 4))
    assert nodes.call_names(calls) == [
        "conv2d, first op (first conv2d)",
        "relu, second op",
        "conv2d, third op (second conv2d)",
        "reshape, fourth op",
    ]
    assert nodes.call_names(calls[:1]) == ["conv2d, the only op"]


@pytest.mark.parametrize(
    ("n", "word"),
    [(1, "first"), (9, "ninth"), (10, "10th"), (11, "11th"), (12, "12th"), (21, "21st"),
     (22, "22nd"), (23, "23rd"), (111, "111th"), (1001, "1001st")],
)  # fmt: skip
def test_ordinals(n, word):
    assert nodes.ordinal(n) == word


def test_arguments_have_the_names_that_the_plain_forward_gives_them():
    assert nodes.argument_names(OPS["conv2d"], 3) == ("x", "w", "b")
    assert nodes.argument_names(OPS["concatenate"], 2) == ("input 0", "input 1")


# The op that is wrong -----------------------------------------------------------------------------


def chain(planted, length):
    """Return a function of `length` ops, of which the one at `planted` is wrong by a factor."""
    wrong = broken("tanh", 0, lambda g: g * g.dtype.type(1.5))
    rest = [ops.tanh, ops.exp, lambda x: ops.multiply(x, x), ops.negative]

    def fn(x):
        for i in range(length):
            x = wrong(x) if i == planted else rest[i % 4](x)
        return x

    return fn


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("planted", "length"), [(0, 3), (1, 3), (2, 3), (3, 5), (6, 8), (7, 8)])
def test_a_wrong_factor_in_one_of_several_ops(planted, length, dtype):
    x = Tensor(np.linspace(-0.3, 0.4, 5).astype(dtype), requires_grad=True)
    report = report_of(chain(planted, length), x)
    (found,) = failures(report)
    (said,) = blamed(report)
    assert said == f"{found.op}: gradient of x"
    assert found.op.startswith(f"tanh, {nodes.ordinal(planted + 1)} op")
    assert "    first guess: a factor is missing or one too many: every element is 1.5 times" in (
        str(found.detail)
    )
    assert any(line.startswith("    it comes from 1 of 5 outputs") for line in found.detail)


@pytest.mark.parametrize("length", [3, 5, 8])
def test_in_a_right_composition_nothing_is_named(length):
    x = Tensor(np.linspace(-0.3, 0.4, 5), requires_grad=True)
    report = report_of(chain(-1, length), x)
    assert report, report
    assert all(not f.op and not f.detail for f in report.findings)


class Net(nn.Module):
    """Convolves twice, the second time by an op that is given."""

    def __init__(self, second):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(2, 3, 2), nn.Conv2d(3, 2, 2), nn.Linear(8, 2)
        self.op = second

    def forward(self, x):
        x = self.first(x).tanh()
        how = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        x = self.op(x, self.second.weight, self.second.bias, **how)
        return self.last(x.flatten(1))


@pytest.fixture(autouse=True)
def _same_weights():
    philox.manual_seed(0)


@pytest.mark.parametrize(("k", "argument", "leaves"), [
    (0, "x", ["first.weight", "first.bias"]),
    (1, "w", ["second.weight"]),
    (2, "b", ["second.bias"]),
])  # fmt: skip
def test_the_argument_whose_gradient_is_wrong_is_named(k, argument, leaves):
    report = report_of(Net(broken("conv2d", k, np.negative)), images(1, 2, 4, 4))
    assert [name for name, v in verdicts(report).items() if v is FAIL] == leaves
    place = "conv2d, third op (second conv2d)"
    assert {f.op for f in failures(report)} == {place}
    assert blamed(report) == [f"{place}: gradient of {argument}"]
    full, *others = failures(report)
    assert "    first guess: the sign is wrong" in full.detail
    assert all(f.detail[-1].endswith(", as above") for f in others)
    assert report_of(Net(broken("conv2d", k, lambda g: g)), images(1, 2, 4, 4))


def test_two_wrong_ops_are_both_named():
    square = broken("multiply", 1, np.negative)
    report = report_of(lambda x: square(x.exp(), square(x, x + 2)), tensor(3))
    (found,) = failures(report)
    assert found.op == "multiply, third op (first multiply); multiply, fourth op (second multiply)"
    assert blamed(report) == [f"{place}: gradient of b" for place in found.op.split("; ")]


def test_what_is_wrong_beside_the_way_is_not_named():
    wrong, right = broken("exp", 0, np.negative), OPS["exp"]
    report = report_of(lambda x, y: wrong(x) + right(y).detach() * y, tensor(3), tensor(3, seed=1))
    found = {f.what: f for f in failures(report)}
    assert found["gradient of input 0"].op == "exp, first op (first exp)"
    assert found["gradient of input 1"].op == ""
    assert found["gradient of input 1"].detail[-1].startswith("none of the 2 ops on the way is ")


def test_an_input_of_an_op_that_gets_no_gradient():
    op = broken("multiply", 1, lambda g: None)
    report = report_of(lambda x: op(x.exp(), x.tanh()), tensor(3))
    assert blamed(report) == ["multiply, third op: gradient of b"]
    assert "    backward returned None for it" in failures(report)[0].detail


def test_what_float32_alone_does_wrong_is_named_too():
    op = broken("exp", 0, lambda g: g * np.float32(1.01) if g.dtype == np.float32 else g)
    report = report_of(lambda x: op(x.tanh()) * 2, tensor(5, dtype=np.float32))
    (found,) = failures(report)
    assert found.what == "gradient of input 0 in float32"
    assert blamed(report) == ["exp, second op: gradient of x in float32"]


def test_where_no_op_is_wrong_by_itself_what_is_left_is_said():
    report = report_of(lambda x: (x * x.detach()).tanh(), tensor(3))
    (found,) = failures(report)
    assert found.op == ""
    assert found.detail[-1] == (
        "none of the 2 ops on the way is wrong by itself; fn is not what they compute: .data, "
        "numpy(), detach() or no_grad() on the way, or code between ops?"
    )


def test_a_hook_that_changes_a_gradient_is_no_ops_fault():
    def fn(x):
        h = x.exp()
        if h.requires_grad:
            h.register_hook(lambda g: 2 * g)
        return h * 3

    line = "what they give for input 0 is not what autograd adds up: a hook on the way?"
    assert failures(report_of(fn, tensor(3)))[0].detail[-1].endswith(line)


def test_what_autograd_adds_up_wrongly_is_no_ops_fault(monkeypatch):
    def keeps_the_last(leaf, g):
        leaf.grad = g

    monkeypatch.setattr(graph, "accumulate", keeps_the_last)
    report = report_of(lambda x: x.exp() + x.tanh(), tensor(3))
    line = "what they give for input 0 is not what autograd adds up: a hook on the way?"
    assert failures(report)[0].detail[-1].endswith(line)


@pytest.mark.parametrize("seed", [3855, 6534, 7628, 7765, 8025, 8355])
def test_right_ops_put_together_right_are_not_accused(seed):
    """Such as the largest of tanh(x) / x, which is as good as 1: differences see another kink."""
    _, report = compositions.check(seed)
    assert report.verdict is INCONCLUSIVE
    line = next(f.detail[0] for f in report.findings if f.verdict is INCONCLUSIVE)
    assert re.match(r"none of the \d+ ops on the way is wrong by itself", line)
    assert line.endswith("as beside a kink")


def test_a_wrong_op_is_no_less_wrong_beside_a_hidden_kink():
    tanh = broken("tanh", 0, lambda g: g * 1.001)
    x = Tensor(1e-5 * np.linspace(2, 5, 7), requires_grad=True)
    report = report_of(lambda x: (tanh(x) / x).max(), x)
    assert blamed(report) == ["tanh, first op: gradient of x"]


def test_a_forward_that_is_not_the_reference_is_left_too():
    report = report_of(lambda x: (x * 3).exp(), tensor(3), reference=lambda x: np.exp(2 * x))
    assert "what is left is a forward that is not what reference is" in str(report)


def test_the_op_is_named_where_it_is_the_only_one_and_nothing_is_said_twice():
    report = report_of(broken("exp", 0, np.negative), tensor(3))
    (found,) = failures(report)
    assert found.op == "exp, the only op"
    assert found.detail[-1] == "first guess: the sign is wrong"
    assert found.record()["op"] == "exp, the only op"


def test_the_report_as_json_names_ops():
    report = report_of(lambda x: broken("exp", 0, np.negative)(x) * 2, tensor(3))
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert [f.get("op") for f in record["findings"]] == [None, None, "exp, first op"]


def test_an_op_that_rounds_its_operands_is_not_decided():
    whole = OPS["exp"].implementations["plain"]

    def forward(x):
        if x.dtype != np.float32:
            raise TypeError("float32 alone")
        return whole.forward(x)

    with off_the_lists("exp"):
        one = Implementation(forward, lambda gy, saved: (gy * 0,), operand_roundoff=2.0**-11)
        op = Op("exp", {"plain": one})
    x = tensor(3, dtype=np.float32)
    report = report_of(lambda x: op(x) * 2, x, reference=lambda x: 2 * np.exp(x))
    assert "of the 2 ops on the way is wrong by itself (1 of them could not be decided)" in (
        str(report)
    )
