"""Weights saved by PyTorch, read without PyTorch and without executing anything.

`torch.save` writes a pickle, which describes tensors as views of storages (dtype, offset, size,
strides), and the storages' bytes: since version 1.6 as records of an uncompressed zip archive,
before that one after the other in a plain file. Both are read here. The pickle goes through
`minialex.weights.unpickle`, where only the globals below mean anything.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle  # for the name of an opcode alone
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, cast

import numpy as np

from minialex.errors import MinialexError
from minialex.files import quoted
from minialex.plain_json import is_count
from minialex.weights.safetensors import HostArray, bfloat16_to_float32
from minialex.weights.unpickle import Global, RefusedError, is_key, load_pickle

_ZIP_SIGNATURE = b"PK\x03\x04"
# The first number in a file of the older form.
_LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
# Of the pickles in a file, and of the zip form's directory: a thousand times what AlexNet's take.
_MAX_PICKLE_BYTES = 16 * 2**20
_MAX_DIRECTORY_BYTES = 2**20
_MAX_DIMS = 32
# A tensor may show an element of its storage many times over (`expand`), but not absurdly often.
_MAX_EXPANDED_ELEMENTS = 2**24
# NumPy counts an empty array's other sizes too, and cannot make one of absurd sizes.
_MAX_ELEMENTS = 2**59
# Under these keys, in this order, training scripts keep the weights among other things.
_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "weights", "net")

_SAVE_WEIGHTS = (
    "save the weights alone, as tensors: in PyTorch with "
    "torch.save(model.state_dict(), 'weights.pth'), a network of minialex with minialex.save"
)

_STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype("<u2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("u1"),
}
# bfloat16 is given as its bits; and NumPy may not be given bytes other than 0 and 1 as bool.
_CONVERSIONS: dict[str, Callable[[HostArray], HostArray]] = {
    "torch.BFloat16Storage": bfloat16_to_float32,
    "torch.BoolStorage": lambda x: x.astype(np.bool_),
}


class Storage(NamedTuple):
    """A run of `numel` elements in the file, known by its key."""

    type: str
    key: str
    numel: int

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.numel * _STORAGE_DTYPES[self.type].itemsize


class StorageView(NamedTuple):
    """A tensor: some elements of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


# Finds the bytes of a storage in the file.
FindBytes: TypeAlias = Callable[[Storage], memoryview]


class _DamagedError(Exception):
    """The file is not whole."""


def parse_pth(path: str | Path, data: mmap.mmap) -> dict[str, HostArray]:
    """Read the tensors that `torch.save` wrote, with no PyTorch and executing nothing.

    Parameters
    ----------
    path : str or Path
        What messages call the file.
    data : mmap
        The whole file, mapped into memory. It must hold a state dict, or a dict with a state dict
        in it (``"state_dict"``).

    Returns
    -------
    dict of str to ndarray
        Read-only views of the mapping, strided as they were saved; bfloat16 widened to float32.

    Raises
    ------
    MinialexError
        If the file is truncated, damaged, no file of PyTorch's, or holds or asks for anything but
        tensors in plain containers.
    """
    try:
        tree, find = _parse_zip(data) if data[:4] == _ZIP_SIGNATURE else _parse_legacy(data)
        views = _state_dict(tree)
        storages = dict.fromkeys(view.storage for view in views.values())
        arrays = {storage: _array(storage, find(storage)) for storage in storages}
        return {name: _strided(arrays[view.storage], view) for name, view in views.items()}
    except RefusedError as error:
        raise MinialexError(f"{path} is refused: {error}; {_SAVE_WEIGHTS}") from error
    except _DamagedError as error:
        raise MinialexError(
            f"{path} is truncated or damaged ({error}): use another copy"
        ) from error


# The zip form -------------------------------------------------------------------------------------


class _BoundedFile:
    """What `zipfile` needs of a file; it reads the directory, however long that is, in one call."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.seek, self.tell = data, data.seek, data.tell

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, and at most what a directory may have."""
        return self._data.read(
            _MAX_DIRECTORY_BYTES if size < 0 else min(size, _MAX_DIRECTORY_BYTES)
        )


def _records(data: mmap.mmap) -> dict[str, zipfile.ZipInfo]:
    """Return the records of a zip archive by name."""
    try:
        with zipfile.ZipFile(cast("IO[bytes]", _BoundedFile(data))) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise _DamagedError("its zip directory cannot be read") from error
    records = {info.filename: info for info in listed}
    # Otherwise one run of bytes could be read as many records.
    if len(records) != len(listed) or sum(info.compress_size for info in listed) > len(data):
        raise _DamagedError("its zip directory lists bytes twice")
    return records


def _parse_zip(data: mmap.mmap) -> tuple[object, FindBytes]:
    records = _records(data)
    roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise RefusedError("it is a zip archive, but not one of torch.save")
    root = roots[0]

    def record(name: str) -> memoryview:
        if root + name not in records:
            raise _DamagedError(f"its record {quoted(name)} is missing")
        return _record_bytes(data, records[root + name])

    if root + "byteorder" in records and record("byteorder").tobytes() != b"little":
        raise RefusedError("it comes from a big-endian machine")
    program = record("data.pkl")
    if len(program) > _MAX_PICKLE_BYTES:
        raise RefusedError("its pickle is too long")
    tree = load_pickle(io.BytesIO(program), _ALLOWED_GLOBALS, _Storages().load)
    return tree, lambda storage: record(f"data/{storage.key}")


def _record_bytes(data: mmap.mmap, info: zipfile.ZipInfo) -> memoryview:
    """Return the bytes of a record: torch.save neither compresses nor encrypts them."""
    stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
    if not stored or info.flag_bits & 1:
        raise RefusedError("its zip records are compressed or encrypted")
    # A record's own header repeats its name and has extra bytes of its own before the content.
    header = info.header_offset
    if header < 0 or data[header : header + 4] != _ZIP_SIGNATURE:
        raise _DamagedError(f"its record {quoted(info.filename)} is not where the directory says")
    lengths = (data[header + 26 : header + 28], data[header + 28 : header + 30])
    start = header + 30 + sum(int.from_bytes(length, "little") for length in lengths)
    content = memoryview(data)[start : start + info.file_size]
    # PyTorch can be told to leave the checksum out, and writes 0 then.
    if info.CRC and zlib.crc32(content) != info.CRC:
        raise _DamagedError(f"the checksum of its record {quoted(info.filename)}")
    return content


# The older form -----------------------------------------------------------------------------------


def _parse_legacy(data: mmap.mmap) -> tuple[object, FindBytes]:
    """Read five pickles: magic number, protocol, machine, objects, storage keys; then storages."""
    if data[:1] != pickle.PROTO:
        raise RefusedError("it is not a file of torch.save")
    file, storages = io.BytesIO(data[:_MAX_PICKLE_BYTES]), _Storages()
    if load_pickle(file, {}, storages.load) != _LEGACY_MAGIC_NUMBER:
        raise RefusedError("it is a pickle, but not one of torch.save")
    load_pickle(file, {}, storages.load)
    machine = load_pickle(file, {}, storages.load)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise RefusedError("it comes from a big-endian machine")
    tree = load_pickle(file, _ALLOWED_GLOBALS, storages.load)
    keys = load_pickle(file, {}, storages.load)
    slices = _storage_slices(data, file.tell(), keys, storages.by_key)
    return tree, lambda storage: memoryview(data)[slices[storage.key]]


def _storage_slices(
    data: mmap.mmap, position: int, keys: object, storages: dict[str, Storage]
) -> dict[str, slice]:
    """Find each storage: its number of elements, 8 bytes, and then the elements."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _DamagedError("its list of storages")
    if sorted(keys) != sorted(storages):
        raise _DamagedError("its list of storages")
    slices = {}
    for key in keys:
        storage = storages[key]
        start, stop = position + 8, position + 8 + storage.nbytes
        if stop > len(data):
            raise _DamagedError("a storage is cut short")
        if int.from_bytes(data[position:start], "little") != storage.numel:
            raise _DamagedError("the size of a storage")
        slices[key] = slice(start, stop)
        position = stop
    return slices


# What the pickle may build ------------------------------------------------------------------------


class _Storages:
    """The storages that a pickle has referred to, by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def load(self, identifier: object) -> Storage:
        """Return the storage that a persistent identifier of the pickle stands for."""
        storage = _storage(identifier)
        if self.by_key.setdefault(storage.key, storage) != storage:
            raise RefusedError("it describes one storage in two ways")
        return storage


def _storage(identifier: object) -> Storage:
    match identifier:
        case ("storage", Global() as type_, str() as key, str(), int() as numel, *view):
            pass
        case ("module", Global() as type_, *_):
            raise RefusedError(f"it holds a whole network of class {quoted(str(type_))}")
        case _:
            raise RefusedError("it refers to something other than a storage")
    # PyTorch has moved its storage classes about: torch.FloatStorage, torch.storage.FloatStorage.
    name = f"torch.{type_.name}"
    if type_.module not in ("torch", "torch.storage") or name not in _STORAGE_DTYPES:
        raise RefusedError(f"it has a storage of type {quoted(str(type_))}")
    if not is_count(numel) or view not in ([], [None]):
        raise RefusedError(f"its storage {quoted(key)} is malformed")
    return Storage(name, key, numel)


def _rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> StorageView:
    """Describe a tensor, having checked that all its elements lie in its storage."""
    if not isinstance(storage, Storage) or not is_count(offset):
        raise RefusedError("it has a malformed tensor")
    sizes, strides = _counts(size), _counts(stride)
    if len(sizes) != len(strides):
        raise RefusedError("it has a tensor with malformed sizes")
    numel = math.prod(sizes)
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if (numel and last >= storage.numel) or offset > storage.numel:
        raise RefusedError("it has a tensor that reaches past its storage")
    possible = math.prod(max(n, 1) for n in sizes) < _MAX_ELEMENTS
    if not possible or numel > max(storage.numel, _MAX_EXPANDED_ELEMENTS):
        raise RefusedError("it has a tensor of absurd size")
    # The stride of an axis that is never stepped along may be any number.
    strides = tuple(s if n > 1 else 0 for n, s in zip(sizes, strides, strict=True))
    return StorageView(storage, offset, sizes, strides)


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MAX_DIMS or not all(map(is_count, values)):
        raise RefusedError("it has a tensor with malformed sizes")
    return values


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


def _size(values: object = ()) -> tuple[int, ...]:
    return _counts(tuple(values) if isinstance(values, list) else values)


def _ordered_dict(pairs: object = ()) -> dict[str | int, object]:
    """Build a dict; Python 2 wrote an ordered dict's items as the argument of its making."""
    table: dict[str | int, object] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        match pair:
            case [key, value] if is_key(key):
                table[key] = value
            case _:
                raise RefusedError("it has a malformed ordered dict")
    return table


_ALLOWED_GLOBALS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
}


# From what was saved to arrays --------------------------------------------------------------------


def _state_dict(tree: object) -> dict[str, StorageView]:
    """Find the weights in what was saved."""
    if not isinstance(tree, dict):
        raise RefusedError("it does not hold a dict of tensors")
    # Each table is looked at once, however often it is in the tree.
    tables = {id(table): table for table in tree.values()}
    having = {key for key, table in tables.items() if _has_tensors(table)}
    nested = {name: table for name, table in tree.items() if id(table) in having}
    for key in _STATE_DICT_KEYS:
        if key in nested:
            return _checked(nested[key])
    if _has_tensors(tree) or len(nested) != 1:
        return _checked(tree)
    return _checked(next(iter(nested.values())))


def _has_tensors(table: object) -> bool:
    return isinstance(table, dict) and any(isinstance(x, StorageView) for x in table.values())


def _checked(table: dict[Any, Any]) -> dict[str, StorageView]:
    if not table:
        raise RefusedError("it holds no tensors")
    for name, value in table.items():
        if not isinstance(name, str) or not isinstance(value, StorageView):
            raise RefusedError(f"its entry {quoted(str(name))} is not a tensor with a name")
    return table


def _array(storage: Storage, content: memoryview) -> HostArray:
    """Return all elements of a storage."""
    if len(content) < storage.nbytes:
        raise _DamagedError(f"its storage {quoted(storage.key)} is cut short")
    dtype = _STORAGE_DTYPES[storage.type]
    # NumPy finds no buffer where there is no byte.
    x = np.frombuffer(content, dtype, storage.numel) if storage.numel else np.empty(0, dtype)
    convert = _CONVERSIONS.get(storage.type)
    return convert(x) if convert else x


def _strided(x: HostArray, view: StorageView) -> HostArray:
    """Return a tensor as a view of its storage; tensors of one storage share its memory."""
    # Built by the bounds-checking constructor: a mistake here could not read other memory.
    strides = tuple(step * x.itemsize for step in view.stride)
    return np.ndarray(view.size, x.dtype, cast("Any", x), view.offset * x.itemsize, strides)
