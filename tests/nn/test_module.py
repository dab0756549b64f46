"""Modules: names, modes, moving, and what they print."""

import numpy as np
import pytest

from minialex import Tensor, nn, optim
from tests.nn.models import names, small


def test_parameters_are_found_by_the_path_to_them():
    names = [name for name, _ in small().named_parameters()]
    assert names == ["0.weight", "0.bias", "3.1.weight", "3.1.bias"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.blocks = [nn.Linear(3, 3), (nn.ReLU(), nn.Linear(3, 3, bias=False))]
        self.heads = {"cat": nn.Linear(3, 1), "dog": nn.Parameter(np.ones(3))}

    def forward(self, x):
        x = self.a(x)
        for layer in (self.blocks[0], *self.blocks[1]):
            x = layer(x)
        return self.heads["cat"](x) + (x * self.heads["dog"].astype(np.float32)).sum()


def test_layers_in_lists_tuples_and_dictionaries_are_found():
    net = Net()
    expected = ["heads.dog", "a.weight", "a.bias", "blocks.0.weight", "blocks.0.bias"]
    expected += ["blocks.1.1.weight", "heads.cat.weight", "heads.cat.bias"]
    assert names(net) == expected
    net.eval()
    assert not any(module.training for _, module in net.named_modules())
    net(Tensor(np.ones((4, 2), np.float32))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_what_is_taken_away_or_replaced_is_gone():
    net = Net()
    net.blocks.pop()
    net.heads = None
    assert names(net) == ["a.weight", "a.bias", "blocks.0.weight", "blocks.0.bias"]
    del net.blocks
    net.a.bias = None
    assert names(net) == ["a.weight"]
    net.a.weight = nn.Linear(5, 5, bias=False)
    assert names(net) == ["a.weight.weight"]
    net.a = nn.Parameter(np.ones(2))
    assert names(net) == ["a"]
    net.a = None
    assert names(net) == []
    assert [module for _, module in net.named_modules()] == [net]


@pytest.mark.parametrize(
    "value", [Tensor([1.0]), np.ones(1), [nn.Parameter([1.0])], 1.0], ids=lambda v: type(v).__name__
)
def test_a_parameter_is_not_replaced_by_what_is_not_trained(value):
    layer = nn.Linear(1, 1)
    for name, change in (("weight", setattr), ("bias", setattr)):
        with pytest.raises(TypeError, match=rf"Linear\.{name} is a Parameter, .* assign nn\.Param"):
            change(layer, name, value)
    with pytest.raises(TypeError, match=r"as Tensor: assign nn.Parameter"):
        layer.weight = layer.weight * 0.5
    layer.weight = new = nn.Parameter([[3.0]])
    assert next(layer.parameters()) is new
    layer.extra, layer.extra = value, 0


def test_a_subclass_need_not_call_init():
    class Bare(nn.Module):
        def __init__(self):
            self.layer = nn.Dropout(0.5)

        def forward(self, x):
            return self.layer(x)

    model = Bare()
    assert model.training
    with model.register_forward_hook(lambda module, args, y: y + 1):
        assert model.eval()(Tensor([1.0])).item() == 2
    assert not model.training
    assert nn.Module().training


def test_apply_goes_to_children_first_and_once():
    model, seen = small(), []
    model.again, model[3].above = model[0], [model]
    assert model.apply(seen.append) is model
    assert seen == [model[0], model[1], model[2], model[3][0], model[3][1], model[3], model]


def test_requires_grad_of_a_part():
    model = small()
    assert model[3].requires_grad_(False) is model[3]
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    assert wanted == {"0.weight": True, "0.bias": True, "3.1.weight": False, "3.1.bias": False}
    model(Tensor(np.ones((1, 3, 7, 6), np.float32))).sum().backward()
    assert [p.grad is not None for p in model.parameters()] == [True, True, False, False]
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_what_stands_in_two_places_is_found_once():
    net = Net()
    net.again, net.tied = net.blocks, net.a.weight
    net.parent = [net]
    assert names(net)[:3] == ["heads.dog", "tied", "a.bias"]
    assert len(names(net)) == len(names(Net()))
    assert len(list(net.named_modules())) == len(list(Net().named_modules()))
    relu = nn.ReLU()
    model = nn.Sequential(relu, relu)
    assert (len(model), list(model.children()), list(model.modules())) == (2, [relu], [model, relu])
    assert repr(model).count("ReLU()") == 2


def test_a_parameter_takes_no_misspelt_attribute():
    with pytest.raises(AttributeError, match="gard"):
        nn.Parameter(np.ones(2)).gard = None


def test_the_mode_is_true_or_false():
    model = nn.Sequential(nn.Dropout())
    with pytest.raises(TypeError, match=r"^Sequential: mode is 'no'; give True or False$"):
        model.train("no")
    assert model[0].training
    assert not model.train(np.False_)[0].training


def test_train_and_eval_reach_the_whole_tree():
    model = small()
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32))
    assert model.training
    assert (model(x).data != model(x).data).any()
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)
    assert not model[3][0].training
    model.train()
    assert model[3][0].training


def test_to_changes_the_type_of_every_parameter():
    model = small().to(dtype=np.float64)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    x = np.zeros((1, 3, 7, 6))
    assert model(Tensor(x)).dtype == np.float64


def test_to_takes_a_type_by_its_name_alone():
    with pytest.raises(
        TypeError, match=r"to: <class 'numpy.float64'> is no device; .*dtype=\.\.\."
    ):
        small().to(np.float64)


def test_to_refuses_once_an_optimizer_holds_the_parameters():
    model = small()
    optim.SGD(model.parameters())
    with pytest.raises(RuntimeError, match=r"an optimizer holds 0\.weight; move the model before"):
        model.to(dtype=np.float64)


def test_zero_grad_forgets():
    model = small()
    model(Tensor(np.ones((1, 3, 7, 6), np.float32))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_repr_shows_the_tree():
    text = repr(small())
    assert "(0) Conv2d(3, 4, 3x2, stride=2, padding=1)" in text
    assert "    (1) Linear(64, 5)" in text


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(Tensor([1.0]))
