"""Modules: names, modes, moving, loading, hooks."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, optim
from minialex.philox import Generator
from tests.autograd.leaves import Foreign


def small() -> nn.Sequential:
    g = Generator(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=2, padding=1, generator=g),
        nn.ReLU(),
        nn.Flatten(),
        nn.Sequential(nn.Dropout(0.5, g), nn.Linear(4 * 4 * 4, 5, generator=g)),
    )


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


def names(model):
    found = [name for name, _ in model.named_parameters()]
    assert list(model.state_dict()) == found
    return found


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


def test_a_replaced_layer_keeps_its_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 5))
    setattr(model, "2", nn.Linear(2, 3))
    assert names(model) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model(Tensor(np.ones((1, 2), np.float32))).shape == (1, 3)
    delattr(model, "2")
    assert len(model) == 2
    assert model(Tensor(np.ones((1, 2), np.float32))).shape == (1, 2)


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


# Sequential ---------------------------------------------------------------------------------------


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


def test_two_parameters_of_one_name_are_refused():
    model = nn.Module()
    model.layers = {1: nn.Linear(2, 2), "1": nn.Linear(2, 2)}
    with pytest.raises(ValueError, match=r"two parameters are named layers\.1\.weight: rename"):
        model.state_dict()


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


def test_a_parameter_takes_no_misspelt_attribute():
    with pytest.raises(AttributeError, match="gard"):
        nn.Parameter(np.ones(2)).gard = None


def test_state_dict_holds_the_arrays_themselves():
    model = small()
    model.state_dict()["3.1.bias"][2] = 7
    assert model[3][1].bias.data[2] == 7


def test_load_state_dict_copies():
    model, other = small(), small()
    state = {name: array + 1 for name, array in other.state_dict().items()}
    before = model.state_dict()["0.weight"]
    model.load_state_dict(state)
    assert model.state_dict()["0.weight"] is before
    np.testing.assert_array_equal(before, state["0.weight"])
    state["0.weight"][:] = 0
    assert before.any()


def test_load_state_dict_takes_the_models_own_arrays():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = {name: a.copy() for name, a in model.state_dict().items()}
    own = model.state_dict()
    model.load_state_dict({f"{1 - int(n[0])}{n[1:]}": a for n, a in own.items()})
    for name, a in model.state_dict().items():
        np.testing.assert_array_equal(a, before[f"{1 - int(name[0])}{name[1:]}"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), "missing 0.bias$"),
        (lambda s: s.update(more=s["0.bias"]), "unexpected more$"),
        (lambda s: s.update({"0.bias": np.zeros(9)}), r"0.bias has the shape \(9,\), not \(4,\)"),
    ],
)
def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing(change, message):
    model = small()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_names_a_few():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(4)])
    with pytest.raises(
        ValueError, match=r"missing 0.weight, 0.bias, 1.weight, 1.bias and 4 more, "
    ):
        model.load_state_dict({"state_dict": {}, 3: 4})
    with pytest.raises(TypeError, match=r"takes a mapping from names to arrays, .*, not str"):
        model.load_state_dict("weights.safetensors")


@pytest.mark.parametrize(
    "given",
    [
        Tensor,
        nn.Parameter,
        Foreign,
        np.ndarray.tolist,
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.int16),
        np.asfortranarray,
    ],
    ids=["Tensor", "Parameter", "DLPack", "list", "float64", "int16", "Fortran"],
)
def test_load_state_dict_takes_other_kinds_of_arrays(given):
    model = nn.Linear(2, 3)
    w, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(3, np.float32)
    model.load_state_dict({"weight": given(w), "bias": given(b)})
    np.testing.assert_array_equal(model.weight.data, w)
    assert model.weight.dtype == np.float32
    assert not np.shares_memory(model.weight.data, w)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("weights", "a Tensor holds numbers, not str"),
        (None, "a Tensor holds numbers, not NoneType"),
        (np.ones((3, 2), complex), "a Tensor holds numbers, not ndarray"),
        ([[1.0, 2.0], [3.0]], "inhomogeneous"),
    ],
)
def test_load_state_dict_names_what_it_cannot_read(value, words):
    model = nn.Linear(2, 3)
    before = model.bias.data.copy()
    with pytest.raises(TypeError, match=f"load_state_dict: weight cannot be read: .*{words}"):
        model.load_state_dict({"bias": np.ones(3), "weight": value})
    np.testing.assert_array_equal(model.bias.data, before)


@pytest.mark.torch
def test_what_pytorch_has_is_loaded_and_behaves_likewise(torch):
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    ours = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    ours.load_state_dict(theirs.state_dict())
    for name, a in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], a)
    half = {name: a.to(torch.bfloat16) for name, a in theirs.state_dict().items()}
    with pytest.raises(TypeError, match=r"0\.weight cannot be read"):
        ours.load_state_dict(half)
    with pytest.raises(TypeError, match=r"0\.weight cannot be read: .*detach"):
        ours.load_state_dict(dict(theirs.named_parameters()))
    for model in (ours, theirs):
        assert list(model[1:].state_dict()) == ["2.weight", "2.bias"]
        seen = []
        model.apply(lambda m, seen=seen: seen.append(type(m).__name__))
        assert seen == ["Linear", "ReLU", "Linear", "Sequential"]
        assert [type(m).__name__ for m in model.children()] == seen[:3]
        with pytest.raises(TypeError):
            model[0].weight = model[0].weight * 2


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


def test_conv2d_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="groups 2 must divide in_channels 3"):
        nn.Conv2d(3, 4, 1, groups=2)


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(Tensor([1.0]))
