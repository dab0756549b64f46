"""Layers give what their op gives with their arguments; the weights that they begin with."""

import inspect

import numpy as np
import pytest

from minialex import Tensor, nn, ops
from minialex.philox import Generator

X = np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)
POOL = {"kernel_size": 3, "stride": (2, 4), "padding": 1, "ceil_mode": True}

LAYERS = {
    "Tanh()": (nn.Tanh(), ops.tanh),
    "Sigmoid()": (nn.Sigmoid(), ops.sigmoid),
    "MaxPool2d(2, stride=2)": (nn.MaxPool2d(2), lambda x: ops.max_pool2d(x, 2)),
    "MaxPool2d(3, stride=(2, 4), padding=1, ceil_mode=True)": (
        nn.MaxPool2d(3, (2, 4), 1, ceil_mode=True),
        lambda x: ops.max_pool2d(x, **POOL),
    ),
    "AvgPool2d(3, stride=(2, 4), padding=1, ceil_mode=True, count_include_pad=False)": (
        nn.AvgPool2d(3, (2, 4), 1, True, False),
        lambda x: ops.avg_pool2d(x, **POOL, count_include_pad=False),
    ),
}


@pytest.mark.parametrize(
    ("layer", "op", "shared"),
    [
        (nn.Conv2d, ops.conv2d, {"stride", "padding", "dilation", "groups"}),
        (nn.MaxPool2d, ops.max_pool2d, {"kernel_size", "stride", "padding", "ceil_mode"}),
        (
            nn.AvgPool2d,
            ops.avg_pool2d,
            {"kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"},
        ),
        (nn.LocalResponseNorm, ops.local_response_norm, {"size", "alpha", "beta", "k"}),
        (nn.Dropout, ops.dropout, {"p"}),
        (
            nn.CrossEntropyLoss,
            ops.cross_entropy,
            {"weight", "ignore_index", "reduction", "label_smoothing"},
        ),
    ],
)
def test_layers_have_the_defaults_of_their_ops(layer, op, shared):
    ours, theirs = inspect.signature(layer).parameters, inspect.signature(op).parameters
    assert shared <= ours.keys() & theirs.keys()
    assert {n: ours[n].default for n in shared} == {n: theirs[n].default for n in shared}


def test_cross_entropy_loss_runs_its_op():
    logits, classes, weight = Tensor(X[:, :, 0, 0]), np.array([2, 0]), np.float32([1, 2, 3])
    settings = {"ignore_index": 0, "reduction": "sum", "label_smoothing": 0.1}
    loss = nn.CrossEntropyLoss(weight, **settings)
    want = ops.cross_entropy(logits, classes, weight, **settings)
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert repr(loss) == "CrossEntropyLoss(ignore_index=0, reduction=sum, label_smoothing=0.1)"
    assert loss(logits, classes).item() == want.item()
    even = np.full((2, 3), 1 / 3)
    assert nn.CrossEntropyLoss()(logits, even).item() == ops.cross_entropy(logits, even).item()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: nn.Linear(n, 3), "Linear: in_features"),
        (lambda n: nn.Linear(3, n), "Linear: out_features"),
        (lambda n: nn.Conv2d(n, 3, 2), "Conv2d: in_channels"),
        (lambda n: nn.Conv2d(3, n, 2), "Conv2d: out_channels"),
    ],
)
def test_sizes_of_layers_are_whole_numbers_of_1_and_more(make, name):
    for wrong in (True, 2.0, "2", None):
        with pytest.raises(TypeError, match=f"^{name} is .*; give a whole number"):
            make(wrong)
    with pytest.raises(ValueError, match=f"^{name} is 0; it must be 1 or more"):
        make(0)
    assert repr(make(np.int64(3))) == repr(make(3))


WRONG = {
    "MaxPool2d: kernel_size": lambda: nn.MaxPool2d(2.5),
    "MaxPool2d: padding": lambda: nn.MaxPool2d(2, padding=2),
    "MaxPool2d: ceil_mode": lambda: nn.MaxPool2d(2, ceil_mode=1),
    "AvgPool2d: stride": lambda: nn.AvgPool2d(2, 0),
    "AvgPool2d: count_include_pad": lambda: nn.AvgPool2d(2, count_include_pad=None),
    "AdaptiveAvgPool2d: output_size": lambda: nn.AdaptiveAvgPool2d(0),
    "LocalResponseNorm: size": lambda: nn.LocalResponseNorm(4),
    "LocalResponseNorm: beta": lambda: nn.LocalResponseNorm(5, beta="1"),
    "LocalResponseNorm: alpha": lambda: nn.LocalResponseNorm(5, alpha=10**400),
    "LocalResponseNorm: k": lambda: nn.LocalResponseNorm(5, k=np.nan),
    "CrossEntropyLoss: ignore_index": lambda: nn.CrossEntropyLoss(ignore_index=1.0),
    "CrossEntropyLoss: reduction": lambda: nn.CrossEntropyLoss(reduction="average"),
    "CrossEntropyLoss: label_smoothing": lambda: nn.CrossEntropyLoss(label_smoothing=2),
    "CrossEntropyLoss: weight": lambda: nn.CrossEntropyLoss([1.0, -2.0]),
    "Dropout: p": lambda: nn.Dropout(1.5),
    "Dropout: generator": lambda: nn.Dropout(generator=np.random.default_rng()),
    "Linear: bias": lambda: nn.Linear(3, 2, bias="no"),
    "Conv2d: bias": lambda: nn.Conv2d(3, 2, 1, bias="zeros"),
    "he_normal: gain": lambda: nn.Linear(3, 2, gain=-1),
    "he_normal: generator": lambda: nn.Linear(3, 2, generator=np.random.default_rng()),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_that_the_op_would_refuse_is_refused_where_it_is_given(name):
    with pytest.raises((TypeError, ValueError), match=f"^{name} (is|must) "):
        WRONG[name]()


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, "op"])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -2, 1], "weight is -2 for a class; give finite numbers from 0"),
        ([1, np.nan, 1], "weight is nan for a class"),
        ([1, 1, np.inf], "weight is inf for a class"),
        ([[1, 1, 1]], r"weight is \(1, 3\); give a number for each class"),
    ],
)
def test_weights_of_classes_are_finite_and_from_0(loss, weight, message):
    name = "cross_entropy" if loss == "op" else "CrossEntropyLoss"
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        ops.cross_entropy(X[:, :, 0, 0], [0, 1], weight) if loss == "op" else loss(weight)


def test_a_layer_without_bias_says_so():
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(3, 2, bias=False)"
    assert repr(nn.Conv2d(3, 2, 1, groups=1, bias=False)) == "Conv2d(3, 2, 1x1, bias=False)"


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_runs_its_op(text):
    layer, op = LAYERS[text]
    assert repr(layer) == text
    np.testing.assert_array_equal(layer(Tensor(X)).data, op(Tensor(X)).data)


def test_weights_depend_on_the_seed_alone():
    def weights(seed):
        return nn.Linear(50, 40, generator=Generator(seed)).weight.data

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).mean() > 0.99


def test_he_normal_has_the_variance_it_states():
    w = nn.he_normal((400, 30, 5, 5), Generator(1), gain=2.0)
    assert w.dtype == np.float32
    assert w.var() == pytest.approx(2 / (30 * 25), rel=0.02)
    assert abs(w.mean()) < 4 * np.sqrt(2 / 750 / w.size)


def test_weights_begin_as_he_normal_has_them_for_relu():
    def as_stated(*shape, **gain):
        return nn.he_normal(shape, Generator(1), **gain)

    np.testing.assert_array_equal(as_stated(8, 6), as_stated(8, 6, gain=2.0))
    np.testing.assert_array_equal(as_stated(8, 6, gain=0.5), as_stated(8, 6) / 2)
    assert not as_stated(8, 6, gain=0).any()
    for layer, shape in (
        (nn.Linear(6, 8, generator=Generator(1)), (8, 6)),
        (nn.Conv2d(6, 8, (3, 2), groups=2, generator=Generator(1)), (8, 3, 3, 2)),
    ):
        np.testing.assert_array_equal(layer.weight.data, as_stated(*shape))
        assert layer.bias.data.tolist() == [0] * 8
    small = nn.Linear(6, 8, generator=Generator(1), gain=0.5)
    np.testing.assert_array_equal(small.weight.data, as_stated(8, 6, gain=0.5))


def test_conv2d_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="groups 2 must divide in_channels 3"):
        nn.Conv2d(3, 4, 1, groups=2)
