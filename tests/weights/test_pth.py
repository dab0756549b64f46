"""PyTorch's files are read exactly, and hostile ones do nothing at all."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import MinialexError
from minialex.weights import unpickle
from minialex.weights.pth import read_pth
from tests.weights import pth_writer as w

ARRAYS = {
    "features.0.weight": np.arange(24, dtype="<f4").reshape(2, 3, 2, 2) / 7,
    "double": np.linspace(0, 1, 5),
    "half": np.array([[1.5, -2]], "<f2"),
    "long": np.array([2**62, -1]),
    "int": np.array([2**31 - 1, -(2**31)], "<i4"),
    "short": np.array([-3, 4], "<i2"),
    "char": np.array([-128, 127], "i1"),
    "byte": np.array([0, 255], "u1"),
    "bool": np.array([True, False, True]),
    "scalar": np.array(2.5, "<f4"),
    "empty": np.empty((2, 0, 3), "<f4"),
}


@pytest.fixture
def path(tmp_path):
    # The name says nothing: content decides.
    return tmp_path / "weights.bin"


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs PyTorch")


def same(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def refusal(path):
    """Return the one line that reading `path` ends in, having cost next to no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(MinialexError) as caught:
            read_pth(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


class TestReading:
    @pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
    def test_all_dtypes(self, path, write):
        write(path, ARRAYS)
        read = read_pth(path)
        assert list(read) == list(ARRAYS)
        assert all(same(read[name], ARRAYS[name]) for name in ARRAYS)

    @pytest.mark.parametrize("write", [w.write_zip, w.write_legacy])
    def test_bfloat16_is_widened(self, path, write):
        write(path, {"x": np.array([0x3F80, 0xC000, 0x4049, 0xFF80], "<u2")})
        x = read_pth(path)["x"]
        assert x.dtype == np.float32
        assert x.tolist() == [1.0, -2.0, 3.140625, -np.inf]

    def test_strides_offsets_and_shared_storages(self, path):
        base = np.arange(12, dtype="<f4")
        stored = w.storage("7", "FloatStorage", 12)
        tree = {
            "turned": w.tensor(stored, 0, (4, 3), (1, 4)),
            "middle": w.tensor(stored, 5, (2, 2), (3, 1)),
            "stepped": w.tensor(stored, 1, (4,), (3,)),
            "expanded": w.tensor(stored, 2, (3, 2), (0, 1)),
            "scalar": w.tensor(stored, 11, (), ()),
            "one": w.tensor(stored, 3, (1, 1), (2**61, 9)),
        }
        w.zip_file(path, w.pickle_of(tree), {"7": base.tobytes()})
        read = read_pth(path)
        assert np.array_equal(read["turned"], base.reshape(3, 4).T)
        assert np.array_equal(read["middle"], [[5, 6], [8, 9]])
        assert np.array_equal(read["stepped"], [1, 4, 7, 10])
        assert np.array_equal(read["expanded"], [[2, 3]] * 3)
        assert read["scalar"] == 11
        assert read["one"].tolist() == [[3]]
        assert np.shares_memory(read["turned"], read["middle"])

    def test_parameters_sizes_and_old_tensors(self, path):
        stored = w.storage("0", "FloatStorage", 4, module="torch.storage")
        size = w.call("torch.Size", [2, 2])
        plain = w.call("torch._utils._rebuild_tensor", stored, 0, size, (2, 1))
        tree = {"w": w.call("torch._utils._rebuild_parameter", plain, True, w.ordered({}))}
        w.zip_file(path, w.pickle_of(tree), {"0": np.arange(4, dtype="<f4").tobytes()})
        assert read_pth(path)["w"].tolist() == [[0, 1], [2, 3]]

    def test_an_ordered_dict_of_python_2(self, path):
        one = w.whole("0", np.ones(2, "<f4"))
        old_text = w.Raw(b"U\x01b")
        tree = w.call("collections.OrderedDict", [["a", one], [old_text, one]])
        w.zip_file(path, w.pickle_of(tree), {"0": bytes(8)})
        assert list(read_pth(path)) == ["a", "b"]

    def test_a_later_pickle_protocol(self, path):
        one = w.whole("0", np.ones(2, "<f4"))
        program = b"\x80\x04\x95" + bytes(8) + b"}\x94\x8c\x01a\x94" + w.say(one) + b"s."
        w.zip_file(path, program, {"0": np.ones(2, "<f4").tobytes()})
        assert read_pth(path)["a"].tolist() == [1, 1]

    @pytest.mark.parametrize("key", ["state_dict", "model", "anything"])
    def test_weights_among_other_things(self, path, key):
        tree = {
            "epoch": 3,
            "best": w.whole("1", np.ones(2, "<f4")) if key != "anything" else 0.5,
            key: w.ordered({"a": w.whole("0", np.ones(2, "<f4"))}),
            "optimizer": {"state": {0: {"step": 3}}, "groups": [{"lr": 0.1, "betas": (1, 2)}]},
        }
        w.zip_file(path, w.pickle_of(tree), {"0": bytes(8), "1": bytes(8)})
        assert list(read_pth(path)) == ["a"]

    def test_arrays_are_neither_copied_nor_writable(self, path):
        big = np.zeros((1000, 500), "<f4")
        w.write_zip(path, {"x": big})
        tracemalloc.start()
        read = read_pth(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < big.nbytes / 4
        assert not read["x"].flags.writeable

    def test_checksums_may_be_left_out(self, path):
        w.write_zip(path, {"x": np.arange(4.0)})
        content = path.read_bytes()
        for info in zipfile.ZipFile(path).infolist():
            content = content.replace(struct.pack("<I", info.CRC), bytes(4))
        path.write_bytes(content)
        assert read_pth(path)["x"].tolist() == [0, 1, 2, 3]


class TestPyTorch:
    KINDS = (
        "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()  # noqa: SIM905
    )

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("protocol", [2, 4])
    def test_what_it_saves_is_read(self, torch, path, zipped, protocol):
        base = (torch.arange(24) - 5).reshape(2, 3, 4)
        saved = {kind: base.to(getattr(torch, kind)) for kind in self.KINDS}
        saved |= {
            "turned": saved["float32"].permute(2, 0, 1),
            "part": saved["float32"][1, 1:, ::2],
            "expanded": saved["float64"][:1].expand(5, 3, 4),
            "parameter": torch.nn.Parameter(torch.randn(3, 2)),
            "scalar": torch.tensor(3.5),
            "empty": torch.empty(0, 3),
        }
        options = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
        torch.save({"state_dict": saved, "epoch": 3, "lr": [0.1]}, path, **options)
        read = read_pth(path)
        assert list(read) == list(saved)
        for name, x in saved.items():
            wide = x.detach().float() if x.dtype == torch.bfloat16 else x.detach()
            assert same(np.ascontiguousarray(read[name]).reshape(x.shape), wide.numpy().copy("C"))

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_networks_state_dict(self, torch, path, zipped):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.Linear(4, 2))
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
        read = read_pth(path)
        assert list(read) == ["0.weight", "0.bias", "1.weight", "1.bias"]
        assert all(same(read[k], v.numpy()) for k, v in network.state_dict().items())

    def test_a_training_checkpoint(self, torch, path):
        network = torch.nn.Linear(4, 2)
        optimizer = torch.optim.Adam(network.parameters())
        network(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        saved = {"optimizer": optimizer.state_dict(), "state_dict": network.state_dict()}
        torch.save(saved, path)
        assert list(read_pth(path)) == ["weight", "bias"]

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_whole_network_is_refused_by_name(self, torch, path, zipped):
        torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
        message = refusal(path)
        assert "torch.nn.modules.linear.Linear" in message
        assert "model.state_dict()" in message

    def test_checksums_left_out_by_it(self, torch, path):
        torch.serialization.set_crc32_options(False)
        try:
            torch.save({"x": torch.ones(3)}, path)
        finally:
            torch.serialization.set_crc32_options(True)
        assert read_pth(path)["x"].tolist() == [1, 1, 1]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


ONE = w.whole("0", np.ones(2, "<f4"))
STORED = w.storage("0", "FloatStorage", 4)


class TestExecution:
    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize("where", ["top", "value", "attribute", "legacy", "alone"])
    def test_nothing_is_executed(self, path, tmp_path, protocol, where):
        trap = tmp_path / "trap"
        evil = pickle.dumps(Evil(trap), protocol)
        if where == "alone":
            path.write_bytes(evil)
        elif where == "legacy":
            path.write_bytes(w.legacy_bytes(evil, {}))
        else:
            inner = w.Raw(evil[2:-1] if protocol > 1 else evil[:-1])
            built = w.Raw(w.ordered({"a": ONE}) + inner + b"b")
            tree = {"top": inner, "value": {"a": ONE, "b": inner}, "attribute": built}[where]
            w.zip_file(path, w.pickle_of(tree), {"0": bytes(8)})
        message = refusal(path)
        assert not trap.exists()
        if where != "alone" and protocol == 2:
            assert f"{os.name}.mkdir" in message
        # The trap works: Python's own reader walks into it.
        pickle.loads(evil)
        assert trap.exists()

    @pytest.mark.parametrize(
        "asked",
        [
            "os.system",
            "builtins.eval",
            "torch.load",
            "torch._utils._rebuild_tensor_v2.__globals__",
            "numpy._core.multiarray.scalar",
            "torch.jit._pickle.restore_type_tag",
            "torchvision.models.alexnet.AlexNet",
        ],
    )
    def test_what_is_refused_is_named(self, path, asked):
        w.zip_file(path, w.pickle_of({"a": ONE, "b": w.call(asked, "x")}), {"0": bytes(8)})
        message = refusal(path)
        assert repr(asked) in message
        assert "torch.save(model.state_dict(), 'weights.pth')" in message

    @pytest.mark.parametrize(
        "program",
        [
            b"(S'echo'\nios\nsystem\n.",
            b"(cos\nsystem\nS'echo'\no.",
            b"cos\nsystem\n(X\x04\x00\x00\x00echot\x81.",
            b"\x82\x01.",
            b"cos\nsystem\nX\x04\x00\x00\x00echo\x85R.",
            b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93X\x04\x00\x00\x00echo\x85R.",
            # A call of what a call returned.
            w.say(w.call("collections.OrderedDict")) + b"(tR.",
            # Attributes for a tensor, for a name, for a tuple.
            w.say(ONE) + b"}b.",
            w.name("os", "environ") + b"}b.",
            b")}b.",
            # A persistent identifier written out, and one that is no storage.
            b"P0\n.",
            b"X\x01\x00\x00\x000Q.",
            w.say(("module", w.name("os", "system"), "x", "y", 3)) + b"Q.",
            w.say(("storage", w.name("os", "system"), "0", "cpu", 3)) + b"Q.",
            w.say(("storage", w.name("torch", "system"), "0", "cpu", 3)) + b"Q.",
        ],
    )
    def test_every_other_way_to_call(self, path, program):
        w.zip_file(path, b"\x80\x02" + program, {"0": bytes(8)})
        assert "is refused" in refusal(path)
        path.write_bytes(w.legacy_bytes(b"\x80\x02" + program, {"0": (2, bytes(8))}))
        assert "is refused" in refusal(path)


def deep(count, opening, closing=b""):
    return b"\x80\x02" + opening * count + closing + b"."


class TestAbsurdity:
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
            (0, (2**25,), (0,)),
            (0, (2**61, 0), (1, 1)),
            (0, (2**40, 2**40, 0), (0, 0, 0)),
            (0, (1,) * 70, (0,) * 70),
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
        "program",
        [
            b"",
            b"\x80",
            b".",
            b"]e.",
            b"t.",
            b"}(X\x01\x00\x00\x00au.",
            b"(X\x01\x00\x00\x00a)u.",
            b"]X\x01\x00\x00\x00a]s.",
            b")a.",
            b"h\x00.",
            b"q\x00.",
            b"0.",
            b"cno newline",
            b"c\xff\n\xff\n.",
            b"X\x04\x00\x00\x00\xff\xff\xff\xff.",
            b"X\xff\xff\xff\x7fa.",
            b"\x8d" + struct.pack("<Q", 2**62) + b"a.",
            b"\x8d" + struct.pack("<Q", 2**64 - 1) + b"a.",
            b"\x96" + struct.pack("<Q", 2**40) + b"a.",
            b"\x8b\xff\xff\xff\x7fa.",
            b"\x95" + struct.pack("<Q", 2**62) + b"}.",
            b"I" + b"9" * 5000 + b"\n.",
            # A list that is a key, and one that holds itself.
            b"}]Ns.",
            b"]q\x00h\x00a.",
            # Python's own reader makes room for 2**31 memo entries here.
            b"}r\xff\xff\xff\x7f.",
        ],
    )
    def test_pickles_that_are_none(self, path, program):
        w.zip_file(path, b"\x80\x02" + program, {})
        assert "is refused" in refusal(path)
        path.write_bytes(w.legacy_bytes(b"\x80\x02" + program, {}))
        refusal(path)

    @pytest.mark.parametrize(
        "program",
        [
            deep(50_000, b"]", b"a" * 49_999),
            deep(50_000, b")", b"\x86" * 49_999),
            deep(50_000, b"("),
            deep(1, b"}" + b"]" * 20_000 + b"a" * 19_999 + b"Ns"),
            deep(1, b"}" + b")" + b"\x85" * 20_000 + b"Ns"),
            w.pickle_of({"a": ONE, "b": w.Raw(b")" + b"\x85" * 20_000)}),
            w.pickle_of(w.Raw(w.name("os", "system") + b")" + b"\x85" * 20_000 + b"R")),
            w.pickle_of({"a": w.tensor(w.Raw(b")" + b"\x85" * 20_000), 0, (1,), (1,))}),
            w.pickle_of({"a": w.tensor(STORED, 0, w.Raw(b")" + b"\x85" * 20_000), (1,))}),
            w.pickle_of(w.Raw(b")" + b"\x85" * 20_000 + b"Q")),
        ],
    )
    def test_nested_containers(self, path, program):
        w.zip_file(path, program, {"0": bytes(16)})
        assert "is refused" in refusal(path)

    @pytest.mark.parametrize("program", [b"N\x86.", b"}(N\x86u.", b"(\x85.", b"Q.", b"R."])
    def test_nothing_is_taken_from_an_empty_stack(self, program):
        with pytest.raises(unpickle.RefusedError, match="it is malformed"):
            unpickle.load_pickle(io.BytesIO(program), {}, pytest.fail)

    def test_endless_pickles(self, path, monkeypatch):
        monkeypatch.setattr(unpickle, "_MOST_INSTRUCTIONS", 1000)
        w.zip_file(path, deep(2000, b"]"), {})
        assert "more than 1000 instructions" in refusal(path)

    def test_long_pickles(self, path, monkeypatch):
        monkeypatch.setattr("minialex.weights.pth._LONGEST_PICKLE", 1000)
        w.zip_file(path, w.pickle_of("x" * 1000), {})
        assert "pickle is too long" in refusal(path)

    @pytest.mark.parametrize(
        ("tree", "words"),
        [
            ({}, "no tensors"),
            ([ONE], "not hold a table"),
            (ONE, "not hold a table"),
            ("text", "not hold a table"),
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
            assert "is not where it must be" in refusal(path)

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
