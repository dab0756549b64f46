"""Sequential, as a list of layers."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops
from tests.nn.models import names, small


def test_sequential_is_indexed_assigned_and_cut():
    model = small()
    assert list(model) == [model[i] for i in range(4)] == list(model.children())
    assert model[-1] is model[3]
    assert model[3] in model
    assert names(model[2:]) == ["3.1.weight", "3.1.bias"]
    assert list(model[::2]) == [model[0], model[2]]
    x = Tensor(np.ones((1, 3, 7, 6), np.float32))
    model.eval()
    np.testing.assert_array_equal(model[2:](model[:2](x)).data, model(x).data)
    model[1] = tanh = nn.Flatten()
    assert model[1] is tanh
    assert [name for name, _ in model.named_children()] == ["0", "1", "2", "3"]
    for wrong in (lambda: model[4], lambda: model.__setitem__(-5, tanh)):
        with pytest.raises(IndexError):
            wrong()
    with pytest.raises(TypeError, match="element 1 is the class ReLU"):
        model[1] = nn.ReLU


def test_elements_of_a_sequential_are_deleted():
    """As in PyTorch the numbers close up, so that state_dict has those of one made without."""
    model = small()
    kept = [module for i, module in enumerate(model) if i != 1]
    del model[1]
    assert list(model) == kept
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    del model[-2:]
    assert list(model) == kept[:1]
    assert model.append(kept[1])[1] is kept[1]
    with pytest.raises(IndexError):
        del model[2]


def test_sequential_grows():
    model, last = small(), nn.ReLU()
    assert model.append(last) is model
    assert (len(model), model[4]) == (5, last)
    part = model[3:].append(last)
    assert [name for name, _ in part.named_children()] == ["3", "4"]
    assert len(part) == 3
    assert nn.Sequential().append(last)[0] is last
    with pytest.raises(TypeError, match="element 5 is a list"):
        model.append([last])


def test_a_replaced_layer_keeps_its_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 5))
    setattr(model, "2", nn.Linear(2, 3))
    assert names(model) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model(Tensor(np.ones((1, 2), np.float32))).shape == (1, 3)
    delattr(model, "2")
    assert len(model) == 2
    assert model(Tensor(np.ones((1, 2), np.float32))).shape == (1, 2)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([nn.ReLU()], r"element 0 is a list, not a Module: write Sequential\(\*layers\)"),
        (iter([nn.ReLU()]), r"write Sequential\(\*layers\)"),
        (ops.relu, r"element 0 is relu, not a Module: write a layer such as nn.ReLU\(\)"),
        (nn.ReLU, r"element 0 is the class ReLU, not a Module: write ReLU\(...\)"),
        (None, "element 0 is NoneType, not a Module"),
    ],
    ids=["list", "generator", "function", "class", "None"],
)
def test_sequential_refuses_what_is_no_module(what, message):
    with pytest.raises(TypeError, match=message):
        nn.Sequential(what, nn.ReLU())
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match=message):
        setattr(model, "0", what)
