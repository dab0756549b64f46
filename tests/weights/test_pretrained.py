"""Weights are fitted to a network or refused with the likely cause."""

import numpy as np
import pytest

from minialex.errors import MinialexError
from minialex.weights import open_weights
from minialex.weights.pretrained import fit_weights, replacement_note
from tests.weights.writers import SHAPES, make

LAST = "classifier.6"


def test_weights_that_fit_come_in_the_networks_order():
    weights = make()
    fitted, replaced = fit_weights(dict(reversed(weights.items())), SHAPES, last_layer=LAST)
    assert list(fitted) == list(SHAPES)
    assert all(fitted[name] is weights[name] for name in SHAPES)
    assert replaced == []
    assert replacement_note(weights, SHAPES, replaced) == ""


@pytest.mark.parametrize(
    ("classes", "shown"), [(1, "1 class"), (9, "9 classes"), (1000, "1,000 classes")]
)
def test_another_number_of_classes_replaces_the_last_layer(classes, shown):
    shapes = {"classifier.6.weight": (classes, 5), "classifier.6.bias": (classes,)}
    weights = make({**SHAPES, **shapes})
    fitted, replaced = fit_weights(weights, SHAPES, last_layer=LAST)
    assert replaced == ["classifier.6.weight", "classifier.6.bias"]
    assert list(fitted) == list(SHAPES)[:-2]
    note = replacement_note(weights, SHAPES, replaced)
    assert f"for {shown} and the data has 10" in note
    assert "classifier.6" in note


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        # Only the number of classes may differ in the last layer, and in all of it.
        ("classifier.6.weight", (10, 7), "another image size"),
        ("classifier.6.weight", (9, 5), "another variant"),
        ("classifier.6.weight", (5, 10), "transposed"),
        ("classifier.6.bias", (9,), "another variant"),
        ("classifier.6.bias", (), "another network"),
        ("features.0.weight", (5, 5, 3, 4), r"TensorFlow.*transpose it with axes \(3, 2, 0, 1\)"),
        ("features.0.weight", (4, 5, 5, 3), r"channels-last.*axes \(0, 3, 1, 2\)"),
        ("features.0.weight", (4, 1, 5, 5), "images of 1 channel:"),
        ("features.0.weight", (9, 3, 5, 5), "another variant"),
        ("features.0.weight", (4, 3, 6, 6), "another variant"),
        ("features.0.weight", (300,), "another network"),
        ("features.3.weight", (6, 2, 3, 3), "the file has 2 groups there, as alexnet-2012"),
        ("features.3.weight", (6, 8, 3, 3), "the network has 2 groups there, as alexnet-2012"),
        ("features.3.weight", (6, 5, 3, 3), "another variant"),
        ("classifier.1.weight", (24, 5), "transposed"),
        ("classifier.1.weight", (5, 25), "another image size"),
        ("classifier.1.weight", (7, 30), "another variant"),
    ],
)
def test_a_wrong_shape_names_tensor_shapes_and_cause(name, shape, words):
    with pytest.raises(MinialexError, match=words) as caught:
        fit_weights(make({**SHAPES, name: shape}), SHAPES, last_layer=LAST)
    message = str(caught.value)
    assert repr(name) in message
    assert f"shape {shape} in the file and {SHAPES[name]} in the network" in message
    assert "\n" not in message


def test_another_number_of_classes_excuses_nothing_else():
    shapes = {"classifier.6.weight": (9, 5), "classifier.6.bias": (9,), "features.0.bias": (5,)}
    with pytest.raises(MinialexError, match=r"'features\.0\.bias' has shape \(5,\)"):
        fit_weights(make({**SHAPES, **shapes}), SHAPES, last_layer=LAST)


def test_a_last_layer_of_other_classes_and_other_inputs_is_not_replaced():
    shapes = {"classifier.6.weight": (9, 7), "classifier.6.bias": (9,)}
    with pytest.raises(MinialexError, match=r"'classifier\.6\.weight' has shape \(9, 7\)"):
        fit_weights(make({**SHAPES, **shapes}), SHAPES, last_layer=LAST)


def test_missing_names():
    weights = make()
    del weights["features.3.weight"], weights["features.3.bias"]
    with pytest.raises(MinialexError, match=r"lack tensor 'features\.3\.weight' of shape \(6, 4"):
        fit_weights(weights, SHAPES, last_layer=LAST)
    weights["conv2.weight"] = np.ones(1)
    with pytest.raises(MinialexError, match=r"and 1 more\), but have 'conv2.weight': .*variant"):
        fit_weights(weights, SHAPES, last_layer=LAST)


def test_surplus_names():
    weights = make() | {"features.1.running_mean": np.ones(4)}
    with pytest.raises(MinialexError, match=r"'features\.1\.running_mean' of shape \(4,\), which"):
        fit_weights(weights, SHAPES, last_layer=LAST)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([1, 2, np.nan, 3], "f4"), "not finite"),
        (np.array([1, -np.inf, 2, 3], "f2"), "not finite"),
        (np.array([1, 2, 3, np.inf]), "not finite"),
        (np.array([1, 2, 3, 4]), "int64, not a float"),
        (np.ones(4, bool), "bool, not a float"),
    ],
)
def test_values_that_are_no_weights(x, words):
    with pytest.raises(MinialexError, match=f"'features.0.bias' .*{words}"):
        fit_weights(make() | {"features.0.bias": x}, SHAPES, last_layer=LAST)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_does(dtype):
    weights = {name: x.astype(dtype) for name, x in make().items()}
    assert fit_weights(weights, SHAPES, last_layer=LAST)[1] == []


def test_the_last_layer_must_be_one_of_the_network():
    with pytest.raises(ValueError, match="fit_weights: last_layer 'head' is not in shapes"):
        fit_weights(make(), SHAPES, last_layer="head")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorchs_alexnet_saves_is_fitted(torch, path, zipped):
    saved = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    wrapped = {f"module.{name}": x for name, x in saved.items()}
    torch.save({"state_dict": wrapped}, path, _use_new_zipfile_serialization=zipped)
    fitted, replaced = fit_weights(open_weights(path).parameters, SHAPES, last_layer=LAST)
    assert replaced == []
    assert all(np.array_equal(fitted[name], saved[name].numpy()) for name in SHAPES)
