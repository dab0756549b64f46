"""Summaries: every figure counted again by hand."""

import numpy as np
import pytest

from minialex import nn
from minialex.models import alexnet
from minialex.study import LayerSummary, Summary, summarise


def test_the_rows_of_alexnet():
    rows = {row.name: row for row in summarise(alexnet()).rows}
    conv = rows["features.3"]
    assert conv.layer == "Conv2d(64, 192, 5x5, padding=2)"
    assert conv.shape == (192, 27, 27)
    assert conv.parameters == 192 * 64 * 25 + 192
    # a product and a sum for each weight at each output, and the bias
    macs = 192 * 27 * 27 * 64 * 25
    assert 2 * macs <= conv.flops <= 2 * macs + 192 * 27 * 27
    assert conv.activation_bytes == 4 * 192 * 27 * 27
    fc = rows["classifier.1"]
    assert (fc.shape, fc.parameters) == ((4096,), 9216 * 4096 + 4096)
    # a copy: in memory, convolutions leave their channels last
    assert rows["flatten"].activation_bytes == 4 * 9216
    assert rows["classifier.0"].activation_bytes == 0


def test_totals_and_verdicts():
    summary = summarise(alexnet())
    assert summary.parameters == 61_100_840
    # 714,188,480 multiplications at 224 pixels are published; 227 has the same layers
    assert summary.flops == pytest.approx(2 * 714_188_480, rel=0.01)
    assert summary.verdict().startswith("exactly the published 61,100,840 parameters")
    assert summarise(alexnet("alexnet-2012")).verdict().startswith("exactly the published 60,965")
    assert "fewer" in summarise(alexnet("alexnet-article", 10)).verdict()
    assert summarise(alexnet("alexnet-mini", 10)).published is None


def test_a_network_that_lost_a_parameter_is_called_out():
    model = alexnet()
    model.classifier[6].bias = None
    assert summarise(model).verdict().startswith("NOT the published 61,100,840")


def test_the_model_is_left_as_it_was():
    model = alexnet("alexnet-mini", 10)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.classifier[0].eval()
    summarise(model, (3, 80, 80))
    assert model.training
    # a layer that its user set apart
    assert [m.training for m in model.classifier.children()].count(False) == 1
    for kind in "_forward_hooks", "_forward_pre_hooks":
        assert not any(vars(module).get(kind) for module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_image_that_is_too_small_names_the_layer():
    with pytest.raises(ValueError, match=r"max_pool2d|conv2d"):
        summarise(alexnet("alexnet-mini", 10), (3, 6, 6))


class Residual(nn.Module):
    """A layer used twice, an op outside of layers, a parameter outside of layers."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.last = nn.Linear(6, 2)
        self.scale = nn.Parameter(np.ones(2, np.float32))

    def forward(self, x):
        x = x + self.fc(self.fc(x))
        return self.last(x) * self.scale


def test_any_module_is_summarised():
    summary = summarise(Residual(), (6,))
    assert [(row.name, row.layer, row.shape, row.parameters) for row in summary.rows] == [
        ("fc", "Linear(6, 6)", (6,), 42),
        ("fc", "Linear(6, 6)", (6,), 0),
        ("", "add()", (6,), 0),
        ("last", "Linear(6, 2)", (2,), 14),
        ("", "multiply()", (2,), 0),
    ]
    assert (summary.name, summary.parameters) == ("Residual", 58)
    assert [row.flops for row in summary.rows] == [78, 78, 6, 26, 2]
    assert summary.verdict() == ""
    assert summarise(nn.Sequential(nn.ReLU()), (2, 3)).parameters == 0
    assert summarise(nn.Linear(3, 1), (3,)).rows[0].name == "Linear"


def test_a_shape_is_asked_for_where_it_is_not_known():
    with pytest.raises(TypeError, match="give the shape of one input"):
        summarise(nn.Linear(3, 1))


def test_a_cell_of_a_notebook_shows_a_table():
    assert repr(summarise(nn.Sequential(nn.Linear(3, 1000), nn.ReLU()), (3,))).splitlines() == [
        "Sequential, input 3",
        "",
        "name   layer            output  parameters  MFLOPs  activations",
        "0      Linear(3, 1000)    1000       4,000     0.0        4 KiB",
        "1      ReLU()             1000                 0.0        4 KiB",
        "total                                4,000     0.0        8 KiB",
    ]


def test_figures_are_thousands_millions_and_kibibytes():
    row = LayerSummary("a", "Conv2d()", (64, 9, 8), 1234, 5_678_901_234, 3 << 20)
    assert row.cells() == ["a", "Conv2d()", "64x9x8", "1,234", "5,678.9", "3,072 KiB"]
    nothing = LayerSummary("b", "Flatten()", (4608,), 0, 0, 0)
    assert nothing.cells() == ["b", "Flatten()", "4608", "", "", ""]
    whole = Summary("c", (3, 4), [row, nothing, row], 2000)
    assert whole.cells()[-1] == ["total", "", "", "2,000", "11,357.8", "6,144 KiB"]
    assert whole.activation_bytes == 6 << 20


class Parts(nn.Module):
    """A layer with two outputs, one of which is a view of its input."""

    def forward(self, x):
        return x[:, :2], x * x


def test_a_layer_with_several_outputs_has_the_shape_of_the_first_and_the_bytes_of_all():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = Parts()

        def forward(self, x):
            return self.parts(x)[1]

    (row,) = summarise(Both(), (5,)).rows
    assert (row.name, row.layer, row.shape) == ("parts", "Parts()", (2,))
    assert row.activation_bytes == 5 * 4


def test_an_input_has_the_type_of_the_parameters():
    model = nn.Sequential(nn.Linear(3, 2))
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    assert summarise(model, (3,)).activation_bytes == 2 * 8
