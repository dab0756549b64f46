"""A checkpoint gives back what was saved, or says what is wrong with it."""

import json
import zlib

import numpy as np
import pytest

from minialex import nn
from minialex.errors import MinialexError
from minialex.weights import checkpoint, open_weights
from minialex.weights.checkpoint import load, optimizer_tensors, save
from minialex.weights.safetensors import HEADER_CHECKSUM, write_safetensors
from tests.weights.reading import read_safetensors

MANIFEST = {
    "model": "alexnet-mini",
    "num_classes": 3,
    "image_size": 64,
    "classes": ["cat", "dog", "œuf"],
    "position": {"epoch": 2, "batch": 7, "step": 97},
    "optimizer": {"name": "rmsprop", "lr": 0.1 + 0.2, "momentum": 0.9},
    "schedule": {"name": "cosine", "warmup": 100},
    "random": {"numpy": {"state": 2**127 + 1}, "seed": 0},
    "settings": {"batch_size": 32, "flip": None},
}
PARAMETERS = {
    "features.0.weight": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2),
    "classifier.6.weight": np.linspace(0, 7, 12, dtype=np.float32).reshape(3, 4),
    "classifier.6.bias": np.array([np.nan, -0.0, 1e-45], np.float32),
}
SLOTS = {
    slot: {name: x * factor for name, x in PARAMETERS.items()}
    for slot, factor in (("square_avg", 2), ("momentum_buffer", 3))
}
TENSORS = {**PARAMETERS, **optimizer_tensors(SLOTS)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "last.safetensors"
    save(path, tensors=TENSORS, manifest=MANIFEST)
    return path


def equal(xs, ys):
    return xs.keys() == ys.keys() and all(xs[k].tobytes() == ys[k].tobytes() for k in xs)


def rewrite(path, *, manifest=None, metadata=None, tensors=None):
    """Change a checkpoint behind its back, its checksums staying those of what was saved."""
    old_tensors, old = read_safetensors(path)
    if manifest is not None:
        text = json.dumps({**json.loads(old[checkpoint.MANIFEST_KEY]), **manifest})
        old[checkpoint.MANIFEST_KEY] = text
    old.update(metadata or {})
    kept = {name: x.copy() for name, x in old_tensors.items()} | (tensors or {})
    write_safetensors(path, kept, {k: v for k, v in old.items() if v is not None})


def test_all_comes_back(path):
    read = load(path)
    assert equal(read.tensors, TENSORS)
    assert equal(read.parameters, PARAMETERS)
    assert read.optimizer_state.keys() == SLOTS.keys()
    assert all(equal(read.optimizer_state[slot], SLOTS[slot]) for slot in SLOTS)
    assert read.path == path
    assert read.manifest == {**MANIFEST, "format": checkpoint.FORMAT}


def test_equal_content_gives_equal_bytes(path, tmp_path):
    backwards = {k: MANIFEST[k] for k in reversed(MANIFEST)}
    save(tmp_path / "b", tensors=dict(reversed(TENSORS.items())), manifest=backwards)
    assert (tmp_path / "b").read_bytes() == path.read_bytes()
    read = load(path)
    save(tmp_path / "again", tensors=read.tensors, manifest=read.manifest)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_strided_parameters_are_stored_rightly(path):
    turned = {name: np.asfortranarray(x) for name, x in TENSORS.items()}
    assert not turned["classifier.6.weight"].flags.c_contiguous
    before = path.read_bytes()
    save(path, tensors=turned, manifest=MANIFEST)
    assert path.read_bytes() == before


def test_opened_as_weights_it_has_no_optimizer_state(path):
    content = bytearray(path.read_bytes())
    where = content.find(SLOTS["square_avg"]["classifier.6.weight"].tobytes())
    assert where > 0
    content[where + 5] ^= 1
    path.write_bytes(content)
    read = open_weights(path)
    assert equal(read.tensors, PARAMETERS)
    assert read.optimizer_state == {}
    with pytest.raises(MinialexError, match=r"checksum of tensor 'optimizer\.square_avg\.class"):
        load(path)


def test_a_damaged_weight_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[content.find(PARAMETERS["classifier.6.weight"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    for read in (load, open_weights):
        with pytest.raises(MinialexError, match=r"checksum of tensor 'classifier\.6\.weight'"):
            read(path)


def test_a_failed_save_keeps_the_last_one(path, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("minialex.files.os.fsync", refuse)
    with pytest.raises(MinialexError, match="disk is full"):
        save(path, tensors=TENSORS, manifest={**MANIFEST, "image_size": 32})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_model_must_be_the_expected(path):
    load(path).check_model("alexnet-mini")
    with pytest.raises(MinialexError, match="checkpoint of 'alexnet-mini', not of 'alexnet'"):
        load(path).check_model("alexnet")


def test_every_truncation_is_noticed(path):
    content = path.read_bytes()
    for length in (1, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(MinialexError, match=r"truncated|not a checkpoint") as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_what_is_no_checkpoint(path, tmp_path):
    write_safetensors(tmp_path / "weights", PARAMETERS, {"format": "pt"})
    (tmp_path / "text").write_text("hello, this is text")
    (tmp_path / "zip").write_bytes(b"PK\x03\x04" + bytes(100))
    for name in ("weights", "text", "zip"):
        with pytest.raises(MinialexError, match=r"not a checkpoint of a run: .* pretrained"):
            load(tmp_path / name)
    with pytest.raises(MinialexError, match="no such file"):
        load(tmp_path / "missing")
    with pytest.raises(MinialexError, match="it is a folder"):
        load(tmp_path)


def test_a_newer_format_asks_for_an_upgrade(path):
    # What a newer format holds is not for this version to say.
    ours = checkpoint.FORMAT
    rewrite(path, manifest={"format": ours + 1, "model": None, "num_classes": "many"})
    words = rf"format {ours + 1}, of a newer.* {ours} alone: upgrade minialex$"
    with pytest.raises(MinialexError, match=words):
        load(path)


@pytest.mark.parametrize(("number", "changes"), [(1, {HEADER_CHECKSUM: None}), (2, {}), (3, {})])
def test_an_older_format_says_what_to_do(path, number, changes):
    # 1 had no checksum of its header, 2 other words in its manifest, 3 neither split nor groups.
    rewrite(path, manifest={"format": number, "position": None}, metadata=changes)
    words = rf"format {number}, of an older .* {checkpoint.FORMAT} alone: train anew, or"
    with pytest.raises(MinialexError, match=words):
        load(path)


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", None, True, 2**70])
def test_a_format_that_is_none(path, number):
    rewrite(path, manifest={"format": number})
    with pytest.raises(MinialexError, match=r"damaged .its format number"):
        load(path)


BAD = [
    ("model", None, "'model' is missing or not str"),
    ("model", ["alexnet"], "'model' is missing or not str"),
    ("num_classes", 10**9, "'num_classes' fits no tensor"),
    ("num_classes", -3, "'num_classes' fits no tensor"),
    ("num_classes", True, "'num_classes' is missing or not int"),
    ("num_classes", 3.0, "'num_classes' is missing or not int"),
    ("image_size", 0, "'image_size' is not between"),
    ("image_size", 4097, "'image_size' is not between 1 and 4096"),
    ("classes", ["a", "b"], "'classes' are not as many"),
    ("classes", ["a", "b", 3], "'classes' are not all names"),
    ("classes", ["a", "b", ""], "'classes' are not all names"),
    ("classes", ["a", "b", "a"], "'classes' have a name twice"),
    ("classes", "abc", "'classes' is missing or not list"),
    ("position", {"epoch": 1, "batch": 2}, "'position' lacks"),
    ("position", {"epoch": 1, "batch": -2, "step": 3}, "'position' lacks"),
    ("position", {"epoch": 1, "batch": 2, "step": "3"}, "'position' lacks"),
    ("optimizer", None, "'optimizer' is missing"),
    ("schedule", 3, "'schedule' is missing"),
    ("random", [], "'random' is missing"),
    ("settings", "x", "'settings' is missing"),
    ("settings", {"variant": "alexnet"}, "'variant' is not what its settings say"),
    ("settings", {"image_size": 32}, "'image_size' is not what its settings say"),
    ("settings", {"warmup": 99}, "'warmup' is not what its settings say"),
    ("fold", [4, 3], "'fold' is not a fold"),
    ("fold", [0, 3], "'fold' is not a fold"),
    ("fold", [True, 3], "'fold' is not a fold"),
    ("fold", "12", "'fold' is not a fold"),
    ("fold", [1, 2, 3], "'fold' is not a fold"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_bad_manifest_is_neither_read_nor_written(path, tmp_path, key, value, words):
    rewrite(path, manifest={key: value})
    with pytest.raises(MinialexError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match=words):
        save(tmp_path / "new", tensors=TENSORS, manifest={**MANIFEST, key: value})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("size", [1, 4096])
@pytest.mark.parametrize("fold", [[1, 1], [1, 3], [3, 3]])
def test_the_least_and_the_most_that_a_manifest_may_say(path, size, fold):
    save(path, tensors=TENSORS, manifest={**MANIFEST, "image_size": size, "fold": fold})
    read = load(path)
    assert (read.manifest["image_size"], read.fold) == (size, tuple(fold))


def test_without_cross_validation_there_is_no_fold(path):
    assert load(path).fold is None


def test_another_networks_tensors_are_not_loaded(path):
    network = nn.Linear(2, 2)
    words = r"is damaged \(its tensors are not those of 'alexnet-mini'\): use another copy"
    with pytest.raises(MinialexError, match=words):
        load(path).load_into(network)


def test_a_model_without_a_run_is_no_checkpoint_to_go_on_from(path):
    model = {k: v for k, v in MANIFEST.items() if k in ("model", "num_classes", "image_size")}
    save(path, tensors=PARAMETERS, manifest={**model, "classes": [], "settings": {}})
    assert open_weights(path).manifest["num_classes"] == 3
    with pytest.raises(MinialexError, match="not a checkpoint of a run"):
        load(path)


def test_a_tensor_without_axes_is_kept(path):
    save(path, tensors=TENSORS | {"steps": np.array(7)}, manifest=MANIFEST)
    assert load(path).tensors["steps"] == 7


def test_empty_tensors_say_nothing_of_the_number_of_classes(path):
    rewrite(path, manifest={"num_classes": 2**40}, tensors={"x": np.zeros((2**40, 0), np.float32)})
    with pytest.raises(MinialexError, match="'num_classes' fits no tensor"):
        load(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900])
@pytest.mark.parametrize("key", [checkpoint.MANIFEST_KEY, checkpoint.CHECKSUMS_KEY])
def test_a_manifest_that_cannot_be_read(path, text, key):
    rewrite(path, metadata={key: text})
    with pytest.raises(MinialexError, match="is damaged"):
        load(path)


def test_a_checkpoint_without_checksums_is_not_trusted(path):
    rewrite(path, metadata={checkpoint.CHECKSUMS_KEY: None})
    with pytest.raises(MinialexError, match="checksum"):
        load(path)


def test_a_checkpoint_without_a_checksum_of_its_header_is_not_trusted(path):
    rewrite(path, metadata={HEADER_CHECKSUM: None})
    with pytest.raises(MinialexError, match="its header has no checksum"):
        load(path)


def test_the_headers_checksum_is_computed_with_zeros_in_its_place(path):
    content = path.read_bytes()
    header = content[: 8 + int.from_bytes(content[:8], "little")]
    checksum = read_safetensors(path)[1][HEADER_CHECKSUM].encode()
    assert header[8:].startswith(b'{"__metadata__":{"minialex.crc32":"' + checksum)
    assert int(checksum, 16) == zlib.crc32(header.replace(checksum, b"00000000", 1))


def test_the_safetensors_package_reads_it(path):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors package")
    assert equal(numpy.load_file(path), TENSORS)


@pytest.fixture
def least(tmp_path):
    """A checkpoint with as short a header as there can be, and where its tensors begin."""
    path = tmp_path / "least"
    manifest = {**MANIFEST, "classes": [], "num_classes": 1}
    manifest |= {key: {} for key in ("optimizer", "schedule", "random", "settings")}
    tensors = {"w": np.ones(1, np.float32), "optimizer.m.w": np.zeros(1, np.float32)}
    save(path, tensors=tensors, manifest=manifest)
    return path, 8 + int.from_bytes(path.read_bytes()[:8], "little")


def refusal(read, path):
    """Return the words with which a file is refused."""
    with pytest.raises(MinialexError) as caught:
        read(path)
    return str(caught.value)


def test_a_flipped_bit_of_any_byte_is_noticed(least):
    """Of the header and of the tensors, and where a checkpoint is read for its weights alone."""
    path, start = least
    content = path.read_bytes()
    assert len(content) == start + 8
    with path.open("r+b", buffering=0) as file:
        for at in range(len(content)):
            file.seek(at)
            file.write(bytes([content[at] ^ 1 << at % 8]))
            words = refusal(load, path)
            assert str(path) in words
            assert "\n" not in words
            if at < start:
                assert "\n" not in refusal(open_weights, path)
            file.seek(at)
            file.write(content[at : at + 1])
    assert load(path).parameters["w"].tolist() == [1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"num_classes\\":1', b'"num_classes\\":2'),
        (b'"dtype":"F32"', b'"dtype":"I32"'),
        (b'"w":', b'"v":'),
    ],
)
def test_a_header_that_was_edited_is_noticed(least, old, new):
    path, start = least
    header, tensors = path.read_bytes()[:start], path.read_bytes()[start:]
    assert old in header
    path.write_bytes(header.replace(old, new) + tensors)
    assert "damaged" in refusal(load, path)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.float32(1), object()])
def test_a_manifest_that_json_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match="save: the manifest cannot be written as JSON"):
        save(tmp_path / "new", tensors=TENSORS, manifest={**MANIFEST, "extra": value})


def test_no_classes_need_be_known(path):
    save(path, tensors=TENSORS, manifest={**MANIFEST, "classes": []})
    assert load(path).manifest["classes"] == []
