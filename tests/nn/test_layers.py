"""Layers give what their op gives, with the arguments that they were made with."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops

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


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_runs_its_op(text):
    layer, op = LAYERS[text]
    assert repr(layer) == text
    np.testing.assert_array_equal(layer(Tensor(X)).data, op(Tensor(X)).data)
