"""Hostile pickles are refused, and nothing in them is executed."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from minialex.weights import unpickle
from tests.weights import pth_writer as w
from tests.weights.reading import refusal

ONE = w.whole("0", np.ones(2, "<f4"))
STORED = w.storage("0", "FloatStorage", 4)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


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

    @pytest.mark.parametrize(
        "program", [b"NNa.", b"N(Ne.", b"NN\x93.", b"K\1\x8c\1a\x93.", b"\x8c\1aN\x93."]
    )
    def test_what_an_opcode_works_on_is_of_its_kind(self, program):
        """A list to append to, two texts for a name."""
        with pytest.raises(unpickle.RefusedError, match="it is malformed"):
            unpickle.load_pickle(io.BytesIO(program), {}, pytest.fail)

    def test_names_have_five_hundred_bytes_at_most(self):
        longest = b"c" + b"m" * 500 + b"\n" + b"n" * 500 + b"\n."
        found = unpickle.load_pickle(io.BytesIO(longest), {}, pytest.fail)
        assert str(found) == "m" * 500 + "." + "n" * 500
        with pytest.raises(unpickle.RefusedError, match="a name of more than 500 bytes"):
            unpickle.load_pickle(io.BytesIO(longest.replace(b"mm", b"mmm", 1)), {}, pytest.fail)

    def test_the_longest_pickle_is_read(self, monkeypatch):
        monkeypatch.setattr(unpickle, "_MAX_OPCODES", 5)
        assert unpickle.load_pickle(io.BytesIO(b"NNNN."), {}, pytest.fail) is None
        with pytest.raises(unpickle.RefusedError, match="more than 5 opcodes"):
            unpickle.load_pickle(io.BytesIO(b"NNNNN."), {}, pytest.fail)

    def test_endless_pickles(self, path, monkeypatch):
        monkeypatch.setattr(unpickle, "_MAX_OPCODES", 1000)
        w.zip_file(path, deep(2000, b"]"), {})
        assert "more than 1000 opcodes" in refusal(path)

    def test_long_pickles(self, path, monkeypatch):
        monkeypatch.setattr("minialex.weights.pth._MAX_PICKLE_BYTES", 1000)
        w.zip_file(path, w.pickle_of("x" * 1000), {})
        assert "pickle is too long" in refusal(path)

    @pytest.mark.parametrize("key", [2**61 - 1, 3 * (2**61 - 1), -1, 2**200, True, 1.0, None])
    def test_keys_that_could_share_a_hash(self, path, key):
        items = w.say(key) + w.say(ONE)
        pair = w.call("collections.OrderedDict", [(key, ONE)])
        for program in (b"}" + items + b"s.", b"}(" + items + b"u.", w.say(pair) + b"."):
            w.zip_file(path, b"\x80\x02" + program, {"0": bytes(8)})
            message = refusal(path)
            assert "neither text nor plain numbers" in message or "malformed ordered" in message

    def test_no_two_keys_that_are_taken_have_one_hash(self):
        keys = [0, 1, 2**31, 2**60, 2**61 - 2]
        assert [hash(key) for key in keys] == keys
        assert all(map(unpickle.is_key, keys))

    @pytest.mark.parametrize(
        "call",
        [
            w.name("collections", "OrderedDict") + b"h\x00\x85R",
            w.name("torch._utils", "_rebuild_parameter") + b"h\x01R",
        ],
    )
    def test_a_list_that_is_handed_over_again_and_again(self, path, monkeypatch, call):
        monkeypatch.setattr(unpickle, "_MAX_OPCODES", 5000)
        pairs = w.say([(i, None) for i in range(100)]) + b"q\x00" + w.say((None,) * 100) + b"q\x01"
        w.zip_file(path, b"\x80\x02]" + pairs + call * 100 + b".", {})
        assert "calls functions with more than 5000 arguments" in refusal(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_python_writes_of_plain_values_is_read(protocol):
    # more than 256 remembered values, twice each: their numbers take four bytes
    names = [f"layer.{i}" for i in range(300)]
    numbers = [0, 255, 256, 65536, -1, 2**31 - 1, -(2**31), 2**70, -(2**70), 0.5, True, False, None]
    value = {"names": [*names, *names], "numbers": numbers, "pairs": {n: (n, [n]) for n in names}}
    value |= {"empty": [{}, [], ()], "tuples": [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]}
    read = unpickle.load_pickle(io.BytesIO(pickle.dumps(value, protocol)), {}, lambda _: None)
    assert read == value
    assert list(map(type, read["numbers"])) == list(map(type, numbers))
