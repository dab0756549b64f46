"""A writer of `torch.save` files, right ones and hostile ones, that needs no PyTorch.

Pickles are put together opcode by opcode, so that anything can be said in them.
"""

import struct
import zipfile

import numpy as np

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "<u2": "BFloat16Storage",
    "<i8": "LongStorage",
    "<i4": "IntStorage",
    "<i2": "ShortStorage",
    "|i1": "CharStorage",
    "|u1": "ByteStorage",
    "|b1": "BoolStorage",
}


class Raw(bytes):
    """Opcodes that leave one object on the stack."""


def say(value):
    """Return the opcodes that leave `value` on the stack."""
    match value:
        case Raw():
            return bytes(value)
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(raw)]) + raw
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return b"X" + struct.pack("<I", len(raw)) + raw
        case tuple():
            return b"(" + b"".join(map(say, value)) + b"t"
        case list():
            return b"](" + b"".join(map(say, value)) + b"e"
        case dict():
            return b"}(" + b"".join(say(k) + say(v) for k, v in value.items()) + b"u"
    raise TypeError(value)


def name(module, attribute):
    return Raw(f"c{module}\n{attribute}\n".encode())


def call(function, *arguments):
    module, _, attribute = function.rpartition(".")
    return Raw(name(module, attribute) + say(arguments) + b"R")


def ordered(table):
    """Return an ordered dict with attributes, as a state dict is."""
    items = b"(" + b"".join(say(k) + say(v) for k, v in table.items()) + b"u"
    return Raw(call("collections.OrderedDict") + items + say({"_metadata": {}}) + b"b")


def storage(key, kind, numel, *view, module="torch"):
    return Raw(say(("storage", name(module, kind), key, "cpu", numel, *view)) + b"Q")


def tensor(stored, offset, size, stride):
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", stored, offset, size, stride, False, hooks)


def whole(key, x, *view):
    """Return a tensor that is all of a storage."""
    stored = storage(key, STORAGES[x.dtype.str], x.size, *view)
    strides = tuple(step // x.itemsize for step in np.empty(x.shape, x.dtype).strides)
    return tensor(stored, 0, x.shape, strides)


def pickle_of(value):
    return b"\x80\x02" + say(value) + b"."


def zip_file(path, program, records, *, byteorder="little", compression=zipfile.ZIP_STORED):
    """Write the zip form: a pickle, and the bytes of storages by key."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
        for key, content in records.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")


def write_zip(path, arrays):
    """Write a state dict of contiguous arrays in the zip form."""
    tree = ordered({name: whole(str(i), x) for i, (name, x) in enumerate(arrays.items())})
    zip_file(path, pickle_of(tree), {str(i): x.tobytes() for i, x in enumerate(arrays.values())})


def legacy_bytes(program, storages, *, keys=None, little=True, magic=MAGIC):
    """Return the older form: pickles, then storages by key as (number of elements, bytes)."""
    info = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}
    head = magic + pickle_of(1001) + pickle_of(info) + program
    head += pickle_of(list(storages) if keys is None else keys)
    return head + b"".join(struct.pack("<q", n) + content for n, content in storages.values())


def write_legacy(path, arrays):
    """Write a state dict of contiguous arrays in the older form."""
    tree = ordered({name: whole(str(i), x, None) for i, (name, x) in enumerate(arrays.items())})
    storages = {str(i): (x.size, x.tobytes()) for i, x in enumerate(arrays.values())}
    path.write_bytes(legacy_bytes(pickle_of(tree), storages))
