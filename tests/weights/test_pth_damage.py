"""PyTorch's files that are damaged, or hold anything but tensors, are refused with the cause."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import MinialexError
from minialex.weights import pth
from tests.weights import pth_writer as w
from tests.weights.reading import read_pth, refusal

ONE = w.whole("0", np.ones(2, "<f4"))
STORED = w.storage("0", "FloatStorage", 4)


class TestContent:
    @pytest.mark.parametrize(
        ("offset", "size", "stride"),
        [
            (1, (4,), (1,)),
            (5, (0,), (1,)),
            (0, (2, 3), (2, 1)),
            (0, (2,), (4,)),
            (-1, (2,), (1,)),
            (0, (-2,), (1,)),
            (0, (2,), (-1,)),
            (0, (2,), ()),
            (0, (2.0,), (1,)),
            (0, (True,), (1,)),
            (0, [2], [1]),
            (0, 2, 1),
            (0, None, None),
            (0, ("2",), (1,)),
            (2**62, (1,), (1,)),
            (0, (2**70,), (0,)),
            (0, (2**40, 2**40), (0, 0)),
            (0, (2**24 + 1,), (0,)),
            (0, (2**59, 0), (1, 1)),
            (0, (2**40, 2**40, 0), (0, 0, 0)),
            (0, (1,) * 33, (0,) * 33),
        ],
    )
    def test_tensors_that_cannot_be(self, path, offset, size, stride):
        tree = {"x": w.tensor(STORED, offset, size, stride)}
        w.zip_file(path, w.pickle_of(tree), {"0": bytes(16)})
        assert "is refused: it has a" in refusal(path)

    @pytest.mark.parametrize("stored", ["0", 3, None, w.call("collections.OrderedDict")])
    def test_a_tensor_of_no_storage(self, path, stored):
        w.zip_file(path, w.pickle_of({"x": w.tensor(stored, 0, (1,), (1,))}), {"0": bytes(16)})
        assert "malformed tensor" in refusal(path)

    @pytest.mark.parametrize("numel", [5, 2**40, 2**61, -4, 2**80, True, "4"])
    def test_storages_of_another_size(self, path, numel):
        stored = w.storage("0", "FloatStorage", numel)
        w.zip_file(path, w.pickle_of({"x": w.tensor(stored, 0, (4,), (1,))}), {"0": bytes(16)})
        assert "storage" in refusal(path)

    @pytest.mark.parametrize(
        ("tree", "words"),
        [
            ({}, "no tensors"),
            ([ONE], "not hold a dict"),
            (ONE, "not hold a dict"),
            ("text", "not hold a dict"),
            ({"a": ONE, "epoch": 3}, "'epoch' is not a tensor"),
            ({"a": ONE, 3: ONE}, "'3' is not a tensor with a name"),
            ({"a": {"x": ONE}, "b": {"x": ONE}}, "'a' is not a tensor"),
            ({"state_dict": {"x": ONE, "y": [ONE]}}, "'y' is not a tensor"),
            ({"a\nb\x1b[2J": 3}, r"'a\nb\x1b[2J' is not a tensor"),
            (w.call("collections.OrderedDict", [["a"]]), "malformed"),
            (w.call("collections.OrderedDict", [[("a",), ONE]]), "malformed"),
        ],
    )
    def test_anything_but_a_table_of_tensors(self, path, tree, words):
        w.zip_file(path, w.pickle_of(tree), {"0": bytes(8)})
        assert words in refusal(path)


class TestContainers:
    def test_a_bomb_is_not_unpacked(self, path):
        numel = 2**24
        tree = {"x": w.tensor(w.storage("0", "FloatStorage", numel), 0, (numel,), (1,))}
        records = {"0": bytes(4 * numel)}
        w.zip_file(path, w.pickle_of(tree), records, compression=zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 200_000
        assert "compressed" in refusal(path)

    def test_a_missing_record(self, path):
        w.zip_file(path, w.pickle_of({"x": ONE}), {"1": bytes(8)})
        assert "record 'data/0' is missing" in refusal(path)

    @pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "\n"])
    def test_a_record_of_an_odd_name(self, path, key):
        w.zip_file(path, w.pickle_of({"x": w.whole(key, np.ones(2, "<f4"))}), {"0": bytes(8)})
        assert "is missing" in refusal(path)

    def test_big_endian(self, path):
        w.zip_file(path, w.pickle_of({"x": ONE}), {"0": bytes(8)}, byteorder="big")
        assert "big-endian" in refusal(path)
        path.write_bytes(w.legacy_bytes(w.pickle_of({"x": ONE}), {}, little=False))
        assert "big-endian" in refusal(path)

    def test_before_byte_order_was_written(self, path):
        w.zip_file(path, w.pickle_of({"x": ONE}), {"0": bytes(8)}, byteorder=None)
        assert read_pth(path)["x"].tolist() == [0, 0]

    def test_a_damaged_storage(self, path):
        w.write_zip(path, {"x": np.arange(100.0)})
        content = path.read_bytes()
        raw = np.arange(100.0).tobytes()
        path.write_bytes(content.replace(raw, b"\x01" + raw[1:]))
        assert "damaged (the checksum of its record 'archive/data/0')" in refusal(path)

    def test_an_encrypted_record(self, path):
        w.write_zip(path, {"x": np.arange(4.0)})
        content = path.read_bytes()
        # The flags stand 8 bytes into each entry of the directory.
        place = content.index(b"PK\x01\x02") + 8
        path.write_bytes(content[:place] + b"\x01\x00" + content[place + 2 :])
        assert "encrypted" in refusal(path)

    def test_a_record_that_claims_to_be_elsewhere(self, path):
        w.write_zip(path, {"x": np.arange(4.0)})
        content = path.read_bytes()
        # Where a record begins stands 42 bytes into its entry.
        place = content.index(b"PK\x01\x02") + 42
        for claim in (7, 2**31, len(content) - 2):
            path.write_bytes(content[:place] + struct.pack("<I", claim) + content[place + 4 :])
            assert "is not where the directory says" in refusal(path)

    @pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
    def test_every_truncation(self, path, write):
        write(path, {"x": np.arange(4.0), "y": np.ones(3, "<f4")})
        content = path.read_bytes()
        for length in (*range(1, len(content) - 30, 13), *range(len(content) - 30, len(content))):
            path.write_bytes(content[:length])
            assert "use" in refusal(path)

    def test_other_files(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<xml/>")
        assert "zip archive, but not one of torch.save" in refusal(path)
        path.write_bytes(pickle.dumps({"a": 3}, 2))
        assert "pickle, but not one of torch.save" in refusal(path)
        path.write_bytes(b"hello, this is text")
        assert "not a file of torch.save" in refusal(path)

    def test_no_file(self, path):
        assert "no such file" in refusal(path)
        path.mkdir()
        assert "it is a folder" in refusal(path)

    @pytest.mark.parametrize(
        ("storages", "keys"),
        [
            ({"0": (3, bytes(8))}, None),
            ({"0": (-2, bytes(8))}, None),
            ({"0": (2, bytes(7))}, None),
            ({}, None),
            ({"0": (2, bytes(8))}, ["0", "0"]),
            ({"0": (2, bytes(8))}, ["1"]),
            ({"0": (2, bytes(8))}, [["0"]]),
            ({"0": (2, bytes(8))}, "0"),
        ],
    )
    def test_legacy_storages_that_do_not_fit(self, path, storages, keys):
        program = w.pickle_of({"x": w.whole("0", np.ones(2, "<f4"), None)})
        path.write_bytes(w.legacy_bytes(program, storages, keys=keys))
        assert "truncated or damaged" in refusal(path)

    def test_one_storage_described_in_two_ways(self, path):
        two = {
            "x": w.whole("0", np.ones(2, "<f4"), None),
            "y": w.whole("0", np.ones(2, "<f8"), None),
        }
        path.write_bytes(w.legacy_bytes(w.pickle_of(two), {"0": (2, bytes(16))}))
        assert "one storage in two ways" in refusal(path)

    def test_legacy_views_of_storages(self, path):
        part = w.whole("0", np.ones(2, "<f4"), ("1", 0, 2))
        path.write_bytes(w.legacy_bytes(w.pickle_of({"x": part}), {"0": (2, bytes(8))}))
        assert "storage '0' is malformed" in refusal(path)

    @given(st.data())
    @pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
    def test_no_damage_ends_in_anything_but_an_error_or_arrays(self, tmp_path_factory, write, data):
        path = tmp_path_factory.mktemp("damaged") / "file"
        write(path, {"a.weight": np.ones((2, 3), "<f4"), "b": np.ones(3, "<i8")})
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            position = data.draw(st.integers(0, len(content) - 1))
            content[position] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            tensors = read_pth(path)
        except MinialexError:
            return
        assert all(isinstance(x, np.ndarray) for x in tensors.values())


class TestCost:
    """What a file may make its reader do, for each byte that it has."""

    @pytest.mark.parametrize("write", ["zip", "legacy"])
    def test_one_storage_under_many_sizes(self, path, write):
        sizes = range(2**20, 2**20 + 400)
        stored = {
            n: w.storage("0", "BFloat16Storage", n, *[None] * (write == "legacy")) for n in sizes
        }
        program = w.pickle_of({f"x{n}": w.tensor(s, 0, (1,), (1,)) for n, s in stored.items()})
        content = bytes(2 * sizes.stop)
        if write == "zip":
            w.zip_file(path, program, {"0": content})
        else:
            path.write_bytes(w.legacy_bytes(program, {"0": (sizes.stop, content)}))
        assert "one storage in two ways" in refusal(path)

    def test_many_records_of_the_same_bytes(self, path):
        w.write_zip(path, {"x": np.arange(1000.0)})
        content = path.read_bytes()
        start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
        place = content.index(b"archive/data/0", start) + 13
        entry = content[place - 46 - 13 : content.index(b"PK\x01\x02", place)]
        assert entry.startswith(b"PK\x01\x02")
        copies = b"".join(entry[:59] + bytes([65 + i]) + entry[60:] for i in range(20))
        for more in (copies, entry):
            counts = struct.pack("<HHII", 24, 24, end - start + len(more), start)
            path.write_bytes(content[:end] + more + content[end:][:8] + counts + bytes(2))
            assert "lists bytes twice" in refusal(path)

    def test_an_endless_directory(self, path, monkeypatch):
        w.write_zip(path, {str(i): np.ones(1) for i in range(50)})
        assert len(read_pth(path)) == 50
        monkeypatch.setattr(pth, "_MAX_DIRECTORY_BYTES", 1000)
        assert "zip directory cannot be read" in refusal(path)

    def test_a_table_in_many_places_is_looked_at_once(self, path, monkeypatch):
        looked = []
        original = pth._has_tensors
        monkeypatch.setattr(pth, "_has_tensors", lambda x: looked.append(x) or original(x))
        tables = b"".join(w.say(f"k{i}") + b"h\x00" for i in range(50))
        w.zip_file(path, b"\x80\x02}(" + w.say("a") + b"}q\x00" + tables + b"u.", {})
        assert "is refused" in refusal(path)
        # the table, and what all of them are in
        assert len(looked) == 2
