"""A layer that is frozen changes nothing else, to the last bit."""

import numpy as np
import pytest

from minialex import Tensor, ops, optim, using
from minialex.models import alexnet

LAYERS = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]


def stepped(*frozen):
    """Return the parameters by name after a step in which the layers `frozen` are not trained."""
    model = alexnet("alexnet-mini", num_classes=5, seed=3)
    parameters = dict(model.named_parameters())
    for name, p in parameters.items():
        p.requires_grad = name.rpartition(".")[0] not in frozen
    optimizer = optim.SGD([p for p in parameters.values() if p.requires_grad], lr=0.1)
    x = np.random.default_rng(0).standard_normal((7, 3, 64, 64), np.float32)
    ops.cross_entropy(model(Tensor(x)), np.arange(7) % 5).backward()
    optimizer.step()
    return {name: p.data for name, p in parameters.items()}


ALONE = [[layer] for layer in LAYERS]


@pytest.mark.equal_bits
@pytest.mark.parametrize("frozen", [*ALONE, LAYERS[:3], LAYERS[:-1]], ids=str)
def test_a_frozen_layer_changes_no_other(frozen):
    before = alexnet("alexnet-mini", num_classes=5, seed=3).state_dict()
    # what a CPU runs for larger networks
    with using(conv2d="winograd"):
        every, some = stepped(), stepped(*frozen)
    for name, p in some.items():
        layer = name.rpartition(".")[0]
        np.testing.assert_array_equal(p, (before if layer in frozen else every)[name], name)
        assert not np.array_equal(every[name], before[name])
