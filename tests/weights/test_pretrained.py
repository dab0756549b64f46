"""Weights are read by what a file is, and fitted to a network or refused with the likely cause."""

import numpy as np
import pytest

from minialex.errors import MinialexError
from minialex.weights import checkpoint
from minialex.weights.pretrained import fit_weights, load_weights, replacement_note
from minialex.weights.safetensors import write_tensors
from tests.weights import pth_writer

WANTED = {
    "features.0.weight": (4, 3, 5, 5),
    "features.0.bias": (4,),
    "features.3.weight": (6, 4, 3, 3),
    "features.3.bias": (6,),
    "classifier.1.weight": (5, 24),
    "classifier.1.bias": (5,),
    "classifier.6.weight": (10, 5),
    "classifier.6.bias": (10,),
}
LAST = "classifier.6"


def make(shapes=WANTED):
    return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(shapes.items())}


def write_checkpoint(path, weights):
    slots = checkpoint.optimizer_tensors({"square_avg": weights})
    manifest = {"model": "m", "num_classes": 10, "image_size": 64, "classes": []}
    manifest |= {"position": {"epoch": 0, "batch": 0, "step": 0}}
    manifest |= {key: {} for key in ("optimizer", "schedule", "random", "settings")}
    checkpoint.save(path, tensors={**weights, **slots}, manifest=manifest)


WRITERS = {
    "pth": pth_writer.write_zip,
    "old pth": pth_writer.write_legacy,
    "safetensors": lambda path, weights: write_tensors(path, weights, {"format": "pt"}),
    "checkpoint": write_checkpoint,
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("kind", WRITERS)
def test_content_decides_how_a_file_is_read(tmp_path, kind, suffix):
    path = tmp_path / f"weights{suffix}"
    WRITERS[kind](path, make())
    read = load_weights(path)
    assert read.keys() == WANTED.keys()
    assert all(np.array_equal(read[name], x) for name, x in make().items())


def test_no_length_of_a_header_hides_that_it_is_safetensors(tmp_path):
    starts = set()
    for length in range(0, 256, 8):
        write_tensors(tmp_path / "file", {"a": np.ones(1, "f4")}, {"padding": "x" * length})
        starts.add((tmp_path / "file").read_bytes()[:1])
        assert load_weights(tmp_path / "file").keys() == {"a"}
    # All there can be, that of a pickle among them.
    assert len(starts) == 32
    assert b"\x80" in starts


@pytest.mark.parametrize(
    "prefixed",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"model.{name}",
        lambda name: f"net.module.{name}",
        lambda name: name.replace("features.", "features.module."),
    ],
)
def test_what_wrappers_put_into_names_is_removed(tmp_path, prefixed):
    path = tmp_path / "weights"
    write_tensors(path, {prefixed(name): x for name, x in make().items()}, {})
    assert load_weights(path).keys() == WANTED.keys()


def test_a_first_part_that_not_all_names_have_stays(tmp_path):
    write_tensors(tmp_path / "file", {"model.a": np.ones(1), "net.a": np.ones(1)}, {})
    assert load_weights(tmp_path / "file").keys() == {"model.a", "net.a"}
    write_tensors(tmp_path / "file", {"model": np.ones(1)}, {})
    assert load_weights(tmp_path / "file").keys() == {"model"}


def test_two_networks_in_one_file(tmp_path):
    write_tensors(tmp_path / "file", {"module.a": np.ones(1), "a": np.ones(1)}, {})
    with pytest.raises(MinialexError, match="holds several networks"):
        load_weights(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "run 'git lfs pull'"),
        (b"<!DOCTYPE html><html>", "is a web page.*download it again"),
        (b"\x89HDF\r\n\x1a\n", "convert it to safetensors"),
        (b"\x1f\x8b\x08\x00", "unpack it"),
        (b"hello, this is text", "neither a .pth nor a safetensors file"),
        (b"x", "neither a .pth nor a safetensors file"),
        (b"", "it is empty"),
        (b"PK\x03\x04", "truncated or damaged"),
        (b"PK\x05\x06", "is refused"),
        (b"\x80\x04.", "is refused"),
        (b"\x10\0\0\0\0\0\0\0{", "truncated"),
    ],
)
def test_other_files(tmp_path, content, words):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(MinialexError, match=words) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(MinialexError, match="no such file"):
        load_weights(tmp_path / "missing.pth")


def test_weights_that_fit_come_in_the_networks_order():
    weights = make()
    fitted, replaced = fit_weights(dict(reversed(weights.items())), WANTED, last_layer=LAST)
    assert list(fitted) == list(WANTED)
    assert all(fitted[name] is weights[name] for name in WANTED)
    assert replaced == []
    assert replacement_note(weights, WANTED, replaced) == ""


@pytest.mark.parametrize("classes", [1, 9, 1000])
def test_another_number_of_classes_replaces_the_last_layer(classes):
    shapes = {"classifier.6.weight": (classes, 5), "classifier.6.bias": (classes,)}
    weights = make({**WANTED, **shapes})
    fitted, replaced = fit_weights(weights, WANTED, last_layer=LAST)
    assert replaced == ["classifier.6.weight", "classifier.6.bias"]
    assert list(fitted) == list(WANTED)[:-2]
    note = replacement_note(weights, WANTED, replaced)
    assert f"for {classes} classes and the data has 10" in note
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
        ("features.0.weight", (4, 1, 5, 5), "images of 1 channels"),
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
        fit_weights(make({**WANTED, name: shape}), WANTED, last_layer=LAST)
    message = str(caught.value)
    assert repr(name) in message
    assert f"shape {shape} in the file and {WANTED[name]} in the network" in message
    assert "\n" not in message


def test_another_number_of_classes_excuses_nothing_else():
    shapes = {"classifier.6.weight": (9, 5), "classifier.6.bias": (9,), "features.0.bias": (5,)}
    with pytest.raises(MinialexError, match=r"'features\.0\.bias' has shape \(5,\)"):
        fit_weights(make({**WANTED, **shapes}), WANTED, last_layer=LAST)


def test_a_last_layer_of_other_classes_and_other_inputs_is_not_replaced():
    shapes = {"classifier.6.weight": (9, 7), "classifier.6.bias": (9,)}
    with pytest.raises(MinialexError, match=r"'classifier\.6\.weight' has shape \(9, 7\)"):
        fit_weights(make({**WANTED, **shapes}), WANTED, last_layer=LAST)


def test_missing_names():
    weights = make()
    del weights["features.3.weight"], weights["features.3.bias"]
    with pytest.raises(MinialexError, match=r"lack tensor 'features\.3\.weight' of shape \(6, 4"):
        fit_weights(weights, WANTED, last_layer=LAST)
    weights["conv2.weight"] = np.ones(1)
    with pytest.raises(MinialexError, match=r"nor 1 more\), but has 'conv2.weight': .*variant"):
        fit_weights(weights, WANTED, last_layer=LAST)


def test_surplus_names():
    weights = make() | {"features.1.running_mean": np.ones(4)}
    with pytest.raises(MinialexError, match=r"'features\.1\.running_mean' of shape \(4,\), which"):
        fit_weights(weights, WANTED, last_layer=LAST)


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
        fit_weights(make() | {"features.0.bias": x}, WANTED, last_layer=LAST)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_does(dtype):
    weights = {name: x.astype(dtype) for name, x in make().items()}
    assert fit_weights(weights, WANTED, last_layer=LAST)[1] == []


def test_the_last_layer_must_be_one_of_the_network():
    with pytest.raises(ValueError, match="fit_weights: last_layer 'head' is not in wanted"):
        fit_weights(make(), WANTED, last_layer="head")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorchs_alexnet_saves_is_fitted(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    saved = {name: torch.randn(shape) for name, shape in WANTED.items()}
    wrapped = {f"module.{name}": x for name, x in saved.items()}
    path = tmp_path / "alexnet.pth"
    torch.save({"state_dict": wrapped}, path, _use_new_zipfile_serialization=zipped)
    fitted, replaced = fit_weights(load_weights(path), WANTED, last_layer=LAST)
    assert replaced == []
    assert all(np.array_equal(fitted[name], saved[name].numpy()) for name in WANTED)
