"""`gradcheck` of modules: every parameter by its name, and everything left as it was."""

import json

import numpy as np
import pytest

from minialex import Tensor, models, nn, ops, optim, philox
from minialex.autograd import OPS, DeferredGradient
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
from tests.check.zoo import unlisted


@pytest.fixture(autouse=True)
def _same_weights():
    philox.manual_seed(0)


class BrokenLinear(nn.Linear):
    def __init__(self, *sizes, k=1, spoil=lambda g: 3 * g):
        super().__init__(*sizes)
        self.op = broken("linear", k, spoil)

    def forward(self, x):
        return self.op(x, self.weight, self.bias)


class BrokenConv2d(nn.Conv2d):
    def __init__(self, *sizes, k=1, spoil=lambda g: 3 * g):
        super().__init__(*sizes)
        self.op = broken("conv2d", k, spoil)

    def forward(self, x):
        window = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return self.op(x, self.weight, self.bias, groups=1, **window)


def network(second):
    """Return a small network of AlexNet's kind, with `second` for its second convolution."""
    net = nn.Sequential(
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            nn.LocalResponseNorm(3),
            nn.MaxPool2d(2),
            second,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        ),
        nn.Sequential(nn.Dropout(), nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 3)),
    )
    return net.eval()


# Right modules ------------------------------------------------------------------------------------


class Own(nn.Module):
    """Uses one parameter twice, and has a Tensor that is none."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.random.default_rng(3).standard_normal((4, 4), np.float32))
        self.mean = Tensor(np.full(4, 0.5, np.float32))

    def forward(self, x):
        return ops.linear((ops.linear(x - self.mean, self.weight)).tanh(), self.weight)


class Tied(nn.Module):
    """Two layers that share one weight, as an encoder and a decoder may."""

    def __init__(self, second=nn.Linear):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), second(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (lambda: nn.Linear(4, 3), (5, 4)),
        (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 5, 6)),
        (lambda: nn.Conv2d(3, 8, 3, padding=1, bias=False), (2, 3, 8, 8)),
        (nn.ReLU, (3, 4)),
        (lambda: nn.MaxPool2d(3, 2), (1, 2, 7, 7)),
        (lambda: nn.AvgPool2d(2), (1, 2, 6, 6)),
        (lambda: nn.AdaptiveAvgPool2d(3), (1, 2, 7, 5)),
        (lambda: nn.LocalResponseNorm(3, alpha=0.5), (1, 5, 2, 2)),
        (lambda: nn.Dropout().eval(), (3, 4)),
        (nn.Flatten, (2, 3, 2)),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (5, 4)),
        (Tied, (3, 4)),
    ],
)
def test_a_right_module_passes(module, shape, dtype):
    m = module().to(dtype=dtype)
    report = report_of(m, tensor(*shape, dtype=dtype))
    assert report, report
    names = {id(p): name for name, p in m.named_parameters()}
    assert len(verdicts(report)) == 1 + len(names)


def test_a_module_of_ones_own_passes_with_what_is_no_parameter_of_it():
    report = report_of(Own(), tensor(3, 4, dtype=np.float32))
    assert verdicts(report) == {"input 0": PASS, "weight": PASS}
    assert report.remarks == ("not checked, requiring no gradient: mean",)


def test_parameters_go_by_their_names():
    net = network(nn.Conv2d(4, 5, 2))
    assert list(verdicts(report_of(net, images(1, 3, 8, 8)))) == [
        name for name, _ in net.named_parameters()
    ]


def test_a_whole_network_passes_as_it_is_built():
    net = models.alexnet("alexnet-mini", num_classes=10).eval()
    report = report_of(net, images(1, 3, 32, 32))
    assert report, report
    assert len(verdicts(report)) == 16
    assert sum(f.compared for f in report.findings if f.what.endswith("32")) == sum(
        p.size for p in net.parameters()
    )


def test_a_network_is_decided_though_units_stand_near_their_kinks():
    net = nn.Sequential(nn.Linear(40, 400), nn.ReLU(), nn.Linear(400, 3))
    assert report_of(net, images(30, 40), fast_mode=True)


# Faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["module", "parameters", "closure"])
def test_a_weight_gradient_three_times_too_large_fails(check):
    m, x = BrokenLinear(4, 3), images(5, 4)
    if check == "module":
        report, name = report_of(m, x), "weight"
    elif check == "parameters":
        report, name = report_of(lambda *w: m(x), *m.parameters()), "input 0"
    else:
        report, name = report_of(m.__call__, tensor(5, 4, dtype=np.float32)), "captured self.weight"
    assert verdicts(report)[name] is FAIL
    assert [n for n, v in verdicts(report).items() if v is not PASS] == [name]
    assert "3 times too large" in str(report)


def one_element(g):
    g = g.copy()
    g[(1,) * g.ndim] += np.abs(g).max() / 50
    return g


SPOILT = [
    (1, lambda g: 3 * g, "0.4.weight"),
    (1, one_element, "0.4.weight"),
    (1, lambda g: g * g.dtype.type(1.0001), "0.4.weight"),
    (2, np.zeros_like, "0.4.bias"),
    (2, lambda g: None, "0.4.bias"),
]
DRAWN_SPOILT = SPOILT[::3]
"""Those that the suite has; ``tests/campaigns`` has the others."""


@pytest.mark.parametrize(("k", "spoil", "name"), DRAWN_SPOILT)
def test_a_fault_in_one_layer_of_a_network_names_its_parameter(k, spoil, name):
    assert_named(k, spoil, name)


def assert_named(k, spoil, name):
    net = network(BrokenConv2d(4, 5, 2, k=k, spoil=spoil))
    report = report_of(net, images(1, 3, 8, 8))
    assert [n for n, v in verdicts(report).items() if v is not PASS] == [name]
    assert verdicts(report)[name] is FAIL


def test_one_element_alone_is_found_in_a_large_layer():
    m = BrokenLinear(60, 70, spoil=one_element)
    report = report_of(m, images(3, 60))
    assert verdicts(report) == {"weight": FAIL, "bias": PASS}
    assert "worst at [1, 1]" in str(report)


def test_the_gradient_of_a_tied_parameter_that_counts_once_fails():
    class Once(nn.Linear):
        def forward(self, x):
            return ops.linear(x, Tensor(self.weight.data), self.bias)

    report = report_of(Tied(Once), images(3, 4))
    tied = [n for n, v in verdicts(report).items() if v is FAIL]
    assert len(tied) == 1
    assert "first.weight" in tied[0]


def test_a_parameter_used_twice_whose_second_use_is_cut_off_fails():
    class Detached(Own):
        def forward(self, x):
            return super().forward(x) + ops.linear(x, self.weight.detach())

    assert verdicts(report_of(Detached(), images(3, 4))) == {"weight": FAIL}


def test_a_parameter_read_through_data_fails():
    class Reads(nn.Linear):
        def forward(self, x):
            return x + Tensor(self.bias.data)

    report = report_of(Reads(4, 4), tensor(3, 4, dtype=np.float32))
    assert verdicts(report) == {"input 0": PASS, "weight": INCONCLUSIVE, "bias": FAIL}
    assert "no gradient reaches it: .data, numpy(), detach() or no_grad() on the way?" in reasons(
        report
    )
    assert "no output depends on it, and no gradient reaches it" in reasons(report)


def test_a_frozen_parameter_is_said_and_what_its_freezing_breaks_fails():
    right = OPS["linear"].implementations["plain"]

    def back(gy, saved, *, needs):
        grads = right.backward(gy, saved, needs=needs)
        return grads if needs[1] else (grads[0] * 2, *grads[1:])

    class Frozen(nn.Linear):
        op = unlisted("linear", right.forward, lambda gy, saved: None)

        def forward(self, x):
            return self.op(x, self.weight, self.bias)

    object.__setattr__(Frozen.op.implementations["plain"], "backward", back)
    m, x = Frozen(4, 3), tensor(5, 4, dtype=np.float32)
    assert set(verdicts(report_of(m, x)).values()) == {PASS}
    m.weight.requires_grad = False
    report = report_of(m, x)
    assert verdicts(report) == {"input 0": FAIL, "bias": PASS}
    assert report.remarks == ("not checked, requiring no gradient: weight",)


def test_dropping_is_refused_with_a_remedy():
    report = report_of(nn.Sequential(nn.Linear(4, 8), nn.Dropout()), images(3, 4))
    assert report.verdict is FAIL
    assert "eval()" in str(report)


# Everything is left as it was ---------------------------------------------------------------------


class Breaks(nn.Linear):
    """Raises when it has run so many times."""

    left = 10**9

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("enough")
        return super().forward(x)


@pytest.mark.parametrize("runs", [10**9, 0, 1, 2, 3, 4, 9, 30])
def test_arrays_gradients_and_optimizer_stay(runs):
    m, x = Breaks(4, 3), tensor(5, 4, dtype=np.float32)
    optimizer = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
    m(x).sum().backward()
    optimizer.step()
    kept = [
        (t, t.data, t.data.copy(), t.grad, t.grad.copy(), t.grad_buffer) for t in m.parameters()
    ]
    x_grad = x.grad
    m.left = runs
    if runs > 100:
        assert report_of(m, x)
    else:
        with pytest.raises(RuntimeError, match="enough"):
            gradcheck(m, x)
    for t, data, values, grad, grad_values, home in kept:
        assert t.data is data
        assert np.array_equal(data, values)
        assert t.grad is grad
        assert np.array_equal(grad, grad_values)
        assert t.grad_buffer is home
    assert x.grad is x_grad
    optimizer.step()
    assert not np.array_equal(m.weight.data, kept[0][2])


def test_a_deferred_gradient_stays_deferred():
    m = nn.Linear(4, 3)
    optimizer = optim.SGD(m.parameters(), lr=0.1)
    written = []
    m.weight.deferred_grad = deferred = DeferredGradient(
        (3, 4), m.weight.dtype, lambda rows, out: written.append(rows)
    )
    assert report_of(m, images(2, 4))
    assert m.weight.deferred_grad is deferred
    assert not written
    del optimizer


def test_a_graph_that_inputs_have_stays():
    x = tensor(3)
    y = x * 2
    assert report_of(lambda y: y.tanh(), y)
    y.sum().backward()
    assert np.array_equal(x.grad, [2.0, 2.0, 2.0])


def test_captured_tensors_keep_their_gradients():
    w = tensor(3)
    w.grad = np.ones(3)
    grad = w.grad
    assert report_of(lambda x: x * w, tensor(3, seed=1))
    assert w.grad is grad
    assert np.array_equal(grad, np.ones(3))


# JSON ---------------------------------------------------------------------------------------------


def test_the_report_as_json_names_parameters():
    report = report_of(BrokenLinear(4, 3), images(5, 4))
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["verdict"] == "FAIL"
    assert record["remarks"] == ["not checked, requiring no gradient: input 0"]
    named = [(f["what"], f["verdict"]) for f in record["findings"][2:]]
    assert named == [
        ("gradient of weight in float64", "FAIL"),
        ("gradient of bias in float64", "PASS"),
        ("gradient of bias in float32", "PASS"),
    ]
    dropped = report_of(nn.Sequential(nn.Linear(4, 8), nn.Dropout()), images(3, 4)).record()
    assert json.loads(json.dumps(dropped, allow_nan=False))["findings"][0]["error"] is None
