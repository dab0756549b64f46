"""A file of weights is read by what it is, whatever its name, opened once and parsed once."""

import numpy as np
import pytest

from minialex.errors import MinialexError
from minialex.weights import open_weights
from minialex.weights.safetensors import write_safetensors
from tests.weights.writers import SHAPES, WRITERS, make


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("kind", WRITERS)
def test_content_decides_how_a_file_is_read(tmp_path, kind, suffix):
    path = tmp_path / f"weights{suffix}"
    WRITERS[kind](path, make())
    read = open_weights(path).parameters
    assert read.keys() == SHAPES.keys()
    assert all(np.array_equal(read[name], x) for name, x in make().items())


def test_no_length_of_a_header_hides_that_it_is_safetensors(tmp_path):
    starts = set()
    for length in range(0, 256, 8):
        write_safetensors(tmp_path / "file", {"a": np.ones(1, "f4")}, {"padding": "x" * length})
        starts.add((tmp_path / "file").read_bytes()[:1])
        assert open_weights(tmp_path / "file").parameters.keys() == {"a"}
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
    write_safetensors(path, {prefixed(name): x for name, x in make().items()}, {})
    assert open_weights(path).parameters.keys() == SHAPES.keys()


def test_a_first_part_that_not_all_names_have_stays(tmp_path):
    write_safetensors(tmp_path / "file", {"model.a": np.ones(1), "net.a": np.ones(1)}, {})
    assert open_weights(tmp_path / "file").parameters.keys() == {"model.a", "net.a"}
    write_safetensors(tmp_path / "file", {"model": np.ones(1)}, {})
    assert open_weights(tmp_path / "file").parameters.keys() == {"model"}


def test_two_networks_in_one_file(tmp_path):
    write_safetensors(tmp_path / "file", {"module.a": np.ones(1), "a": np.ones(1)}, {})
    with pytest.raises(MinialexError, match="holds several networks"):
        open_weights(tmp_path / "file")


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
        open_weights(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(MinialexError, match="no such file"):
        open_weights(tmp_path / "missing.pth")
