"""PyTorch's files are read exactly."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from minialex import nn
from tests.weights import pth_writer as w
from tests.weights.reading import read_pth, refusal, same

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

    def test_of_several_tables_the_likeliest_is_taken(self, path):
        keys = ["state_dict", "model_state_dict", "model", "weights", "net", "ema"]
        tables = {key: {key: w.whole("0", np.ones(2, "<f4"))} for key in reversed(keys)}
        for key in keys[:-1]:
            w.zip_file(path, w.pickle_of(tables), {"0": bytes(8)})
            assert list(read_pth(path)) == [key]
            del tables[key]

    def test_the_most_axes_and_repetitions(self, path):
        stored = w.storage("0", "FloatStorage", 2)
        tree = {
            "axes": w.tensor(stored, 0, (1,) * 31 + (2,), (7,) * 31 + (1,)),
            "expanded": w.tensor(stored, 1, (2**12, 2**12), (0, 0)),
            "empty": w.tensor(stored, 2, (2**59 - 1, 0), (1, 1)),
        }
        w.zip_file(path, w.pickle_of(tree), {"0": np.array([3, 5], "<f4").tobytes()})
        read = read_pth(path)
        assert read["axes"].shape == (1,) * 31 + (2,)
        assert read["axes"].ravel().tolist() == [3, 5]
        assert (read["expanded"].shape, read["expanded"][-1, -1]) == ((2**12, 2**12), 5)
        assert read["empty"].shape == (2**59 - 1, 0)

    def test_padding_before_a_record_and_long_names(self, path):
        """PyTorch fills a record's header up, so that storages begin at multiples of 64."""
        x = np.arange(4, dtype="<f4")
        records = {"data.pkl": w.pickle_of({"x": w.whole("0", x)}), "data/0": x.tobytes()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in records.items():
                info = zipfile.ZipInfo(f"{'a' * 300}/{name}")
                info.extra = b"FB" + struct.pack("<H", 600) + bytes(600)
                archive.writestr(info, content)
        assert read_pth(path)["x"].tolist() == [0, 1, 2, 3]

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
        *("float32", "float64", "float16", "bfloat16"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
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
    def test_arrays_of_numpy_are_saved_otherwise(self, torch, path, zipped):
        state = nn.Linear(2, 2).state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        assert "as tensors: in PyTorch with torch.save" in (message := refusal(path))
        assert message.endswith("a network of minialex with minialex.save")

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
