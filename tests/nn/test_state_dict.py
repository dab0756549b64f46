"""The arrays of a module by name: given out, and loaded."""

import numpy as np
import pytest

from minialex import Tensor, nn
from tests.autograd.leaves import Foreign
from tests.nn.models import small


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


def test_two_parameters_of_one_name_are_refused():
    model = nn.Module()
    model.layers = {1: nn.Linear(2, 2), "1": nn.Linear(2, 2)}
    with pytest.raises(ValueError, match=r"two parameters are named layers\.1\.weight: rename"):
        model.state_dict()
