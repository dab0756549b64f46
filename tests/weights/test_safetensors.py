"""The safetensors format: exact, frugal, readable by others, and no fault goes unnamed."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minialex.arrays import BFLOAT16
from minialex.errors import MinialexError
from minialex.weights import safetensors
from minialex.weights.safetensors import write_safetensors
from tests.weights.reading import read_safetensors, same

KINDS = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]

arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


def foreign(fields, data=b"", length=None):
    """Return the bytes of a file with any header."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@given(st.dictionaries(st.text(max_size=8), arrays, max_size=5), st.text(max_size=20))
def test_what_is_written_is_read(tmp_path_factory, tensors, text):
    path = tmp_path_factory.mktemp("any") / "file"
    write_safetensors(path, tensors, {"note": text, "": "x"})
    read, metadata = read_safetensors(path)
    assert metadata == {"note": text, "": "x"}
    assert read.keys() == tensors.keys()
    assert all(same(read[name], tensors[name]) for name in tensors)


@given(arrays, st.randoms())
def test_strides_and_byte_order_do_not_matter(tmp_path_factory, x, random):
    path = tmp_path_factory.mktemp("strided") / "file"
    axes = random.sample(range(x.ndim), x.ndim)
    strided = x.transpose(axes)[(slice(None, None, random.choice([1, 2, -1])),) * x.ndim]
    write_safetensors(path, {"x": strided, "y": strided.astype(x.dtype.newbyteorder(">"))}, {})
    read, _ = read_safetensors(path)
    assert same(read["x"], np.array(strided, order="C"))
    assert same(read["y"], np.array(strided, order="C"))


def test_equal_content_gives_equal_bytes(tmp_path):
    kinds = zip("dbca", ["f4", "f8", "f4", "f4"], strict=True)
    tensors = {name: np.arange(4, dtype=kind) for name, kind in kinds}
    write_safetensors(tmp_path / "one", tensors, {"a": "1", "b": "2"})
    write_safetensors(tmp_path / "two", dict(reversed(tensors.items())), {"b": "2", "a": "1"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_array_begins_at_a_multiple_of_its_element(tmp_path):
    tensors = {f"{kind}": np.ones(3, kind) for kind in KINDS}
    write_safetensors(tmp_path / "file", tensors, {"odd": "x" * 13})
    assert all(x.flags.aligned for x in read_safetensors(tmp_path / "file")[0].values())


def test_the_safetensors_package_reads_it(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="needs the safetensors package")
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors package")
    tensors = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS}
    tensors |= {"scalar": np.float32(3).reshape(()), "empty": np.ones((2, 0), "f4")}
    write_safetensors(tmp_path / "file", tensors, {"note": "é"})
    read = numpy.load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    assert all(same(read[name], tensors[name]) for name in tensors)
    with safetensors.safe_open(tmp_path / "file", "np") as file:
        assert file.metadata() == {"note": "é"}


def test_what_the_safetensors_package_writes_is_read(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors package")
    tensors = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS}
    numpy.save_file(tensors, tmp_path / "file", {"note": "é"})
    read, metadata = read_safetensors(tmp_path / "file")
    assert metadata == {"note": "é"}
    assert all(same(read[name], tensors[name]) for name in tensors)


def test_bfloat16_is_widened(tmp_path):
    # The upper halves of the float32 values 1, -2, 3.140625 and infinity.
    bits = np.array([0x3F80, 0xC000, 0x4049, 0x7F80], "<u2")
    (tmp_path / "file").write_bytes(foreign({"x": entry("BF16", (4,))}, bits.tobytes()))
    x = read_safetensors(tmp_path / "file")[0]["x"]
    assert x.dtype == np.float32
    assert x.tolist() == [1.0, -2.0, 3.140625, np.inf]


def test_bfloat16_is_written_as_it_is(tmp_path):
    x = np.array([1, -2, 3.140625, np.inf], BFLOAT16)
    write_safetensors(tmp_path / "file", {"x": x, "y": np.ones(3, np.float32)}, {})
    assert b'"BF16"' in (tmp_path / "file").read_bytes()
    assert read_safetensors(tmp_path / "file")[0]["x"].tolist() == x.tolist()


def test_arrays_are_neither_copied_nor_writable(tmp_path):
    x = np.zeros((1000, 1000), np.float32)
    tracemalloc.start()
    write_safetensors(tmp_path / "file", {"x": x, "y": x}, {})
    read, _ = read_safetensors(tmp_path / "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 4
    assert not read["x"].flags.writeable


def test_a_file_replaced_while_it_is_read_stays_readable(tmp_path):
    write_safetensors(tmp_path / "file", {"x": np.zeros(3)}, {})
    old = read_safetensors(tmp_path / "file")[0]["x"]
    write_safetensors(tmp_path / "file", {"x": np.ones(3)}, {})
    assert old.tolist() == [0, 0, 0]
    assert read_safetensors(tmp_path / "file")[0]["x"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "x"),
    [("x", np.zeros(2, complex)), ("x", np.array(["a"])), ("__metadata__", np.zeros(2))],
)
def test_what_cannot_be_stored(tmp_path, name, x):
    with pytest.raises(ValueError, match=r"write_safetensors: .* cannot be stored"):
        write_safetensors(tmp_path / "file", {name: x}, {})
    assert not list(tmp_path.iterdir())


def test_too_much_metadata(tmp_path):
    with pytest.raises(ValueError, match="store less"):
        write_safetensors(tmp_path / "file", {}, {"text": "x" * 2**24})


def test_a_header_that_is_just_short_enough_is_written_and_read(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_safetensors(path, {"x": np.arange(3)}, {"text": "x" * 100})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    monkeypatch.setattr(safetensors, "MAX_BYTES", length)
    write_safetensors(path, {"x": np.arange(3)}, {"text": "x" * 100})
    assert read_safetensors(path)[0]["x"].tolist() == [0, 1, 2]
    monkeypatch.setattr(safetensors, "MAX_BYTES", length - 1)
    with pytest.raises(ValueError, match=f"names and metadata take {length} bytes: store less"):
        write_safetensors(path, {"x": np.arange(3)}, {"text": "x" * 100})
    with pytest.raises(MinialexError, match="not a safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("largest", "beyond"),
    [((1,) * 31 + (2,), (1,) * 32 + (2,)), ((2**59 - 1, 0), (2**59, 0))],
    ids=["axes", "elements"],
)
def test_shapes_up_to_what_numpy_holds(tmp_path, largest, beyond):
    path = tmp_path / "file"
    for shape in (largest, beyond):
        size = 0 if 0 in shape else 8
        path.write_bytes(foreign({"x": entry(shape=shape, offsets=(0, size))}, bytes(size)))
        if shape == largest:
            assert read_safetensors(path)[0]["x"].shape == shape
    with pytest.raises(MinialexError, match=r"disagree|malformed"):
        read_safetensors(path)


EIGHT = bytes(8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, this is text", "not a safetensors file"),
        (b"\x02", "not a safetensors file"),
        (foreign(b"[]"), "not a safetensors file"),
        (foreign({}, length=2**63), "not a safetensors file"),
        (foreign({}, length=500), "truncated .498 bytes"),
        (foreign(b"{not json}"), "header cannot be read"),
        (foreign(b'{"\xff": 1}'), "header cannot be read"),
        (foreign(b'{"x":' + b"[" * 100_000), "header cannot be read"),
        (foreign(b'{"x":' + b"9" * 5000 + b"}"), "header cannot be read"),
        (foreign(b'{"x": {}, "x": {}}'), "header cannot be read"),
        (foreign({"__metadata__": 3}), "metadata is not text"),
        (foreign({"__metadata__": {"a": 3}}), "metadata is not text"),
        (foreign({"x": 3}), "'x' is malformed"),
        (foreign({"x": {}}), "'x' is malformed"),
        (foreign({"a\nb": {}}), r"'a\\nb' is malformed"),
        (foreign({"x": entry(dtype=4)}, EIGHT), "malformed"),
        (foreign({"x": entry(dtype="F8_E4M3")}, EIGHT), "'F8_E4M3', which is not supported"),
        (foreign({"x": entry(shape=(-2,))}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(2.0,))}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(True, 2))}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(2**70,))}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(1,) * 70)}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(3,))}, EIGHT), "disagree"),
        (foreign({"x": entry(shape=(2**40, 2**40, 0), offsets=(0, 0))}), "disagree"),
        (foreign({"x": entry(offsets=(0,))}, EIGHT), "disagree"),
        (foreign({"x": entry(offsets=(8, 0))}, EIGHT), "disagree"),
        (foreign({"x": entry(offsets=(-8, 0))}, EIGHT), "malformed"),
        (foreign({"x": entry(shape=(2**40,), offsets=(0, 2**42))}, EIGHT), "truncated"),
        (foreign({"x": entry(offsets=(4, 12))}, EIGHT * 2), "a gap or an overlap before tensor"),
        (foreign({"x": entry(), "y": entry()}, EIGHT), "a gap or an overlap before tensor"),
        (foreign({"x": entry()}, EIGHT + b"z"), "1 byte too many"),
        (foreign({"x": entry()}, EIGHT[1:]), "truncated .1 byte missing at its end"),
    ],
)
def test_damage_is_named(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(MinialexError, match=words) as caught:
        read_safetensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 10_000_000


@given(st.data())
def test_no_damage_ends_in_anything_but_an_error_or_arrays(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "file"
    write_safetensors(path, {"a.weight": np.ones((2, 3), "f4"), "b": np.ones(3, "i8")}, {"k": "v"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        tensors, _ = read_safetensors(path)
    except MinialexError:
        return
    assert sum(x.nbytes for x in tensors.values()) <= len(content) * 2
