"""Summaries: every figure counted again by hand."""

import numpy as np
import pytest

from minialex.models import alexnet
from minialex.study import summarise


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
    assert rows["flatten"].activation_bytes == rows["classifier.0"].activation_bytes == 0


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
    summarise(model, image_size=80)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_image_that_is_too_small_names_the_layer():
    with pytest.raises(ValueError, match=r"max_pool2d|conv2d"):
        summarise(alexnet("alexnet-mini", 10), image_size=6)
