"""How many launches a training step takes: counted, with real shapes, but nothing is run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from minialex import Tensor, cuda, emulated, models, ops, optim
from minialex.cuda import emulator
from minialex.nn import layers

BATCH, CLASSES, MOST = 32, 1000, 55


@pytest.fixture
def launched(monkeypatch):
    """Return a counter of launches, by kernel, that replaces them."""
    counter = Counter()

    def count(plan, values):
        counter[plan.signature.name] += 1

    monkeypatch.setattr(emulator, "launch", count)
    monkeypatch.setattr(layers, "he_normal", lambda shape, *_, **__: np.zeros(shape, np.float32))
    return counter


def table(launched):
    rows = "\n".join(f"{count:4}  {name}" for name, count in launched.most_common())
    return f"{launched.total()} launches\n{rows}"


def step(model, optimizer):
    images = Tensor(np.empty((BATCH, 3, 227, 227), np.float32))
    optimizer.zero_grad()
    ops.cross_entropy(model(images), np.zeros(BATCH, int)).backward()
    optimizer.step()


def test_a_training_step_of_alexnet_takes_few_launches(launched):
    model = models.alexnet("alexnet", CLASSES, dropout=0.5, seed=1)
    optimizer = optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)
    with emulated():
        step(model, optimizer)
    assert launched.total() <= MOST, table(launched)
    # every layer and the update are among them
    assert launched["rmsprop"] == 1, table(launched)
    for kernel in ("conv2d_forward", "conv2d_weight_gradient"):
        assert launched[f"{kernel}_implicit_gemm"] == 5, table(launched)
    for kernel in ("linear_forward", "linear_data_gradient", "linear_weight_gradient"):
        assert launched[f"{kernel}_register_blocked"] == 3, table(launched)
    # those that a launch of another kernel takes care of
    for kernel in ("conv2d_bias_gradient", "linear_bias_gradient", "adaptive_avg_pool2d_forward"):
        assert kernel not in launched, table(launched)


def test_an_empty_grid_is_no_launch(launched):
    x = np.empty(0, np.float32)
    with emulated():
        cuda.kernel("relu.cu", "relu_forward")(0, 32, x, x.copy(), 0)
    assert not launched
