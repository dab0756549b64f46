"""Weights saved by PyTorch, read without PyTorch and without executing anything.

`torch.save` writes a pickle, which describes tensors as pieces of storages (dtype, offset, size,
strides), and the storages' bytes: since version 1.6 as records of an uncompressed zip archive,
before that one after the other in a plain file. Both are read here. The pickle goes through
`minialex.weights.unpickle`, where only the names below mean anything.
"""

from __future__ import annotations

import io
import math
import mmap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, cast

import numpy as np

from minialex.errors import MinialexError
from minialex.files import map_file, quoted
from minialex.weights.safetensors import HostArray, is_count, widen_bfloat16
from minialex.weights.unpickle import Name, RefusedError, load_pickle

_ZIP_HEAD, _PICKLE_HEAD = b"PK\x03\x04", b"\x80"
# The first number in a file of the older form.
_MAGIC = 0x1950A86A20F9469CFC6C
_LONGEST_PICKLE = 64 * 2**20
_MOST_AXES = 32
# A tensor may show an element of its storage many times over (`expand`), but not absurdly often.
_MOST_REPEATED = 2**24
# Under these keys, in this order, training scripts keep the weights among other things.
_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "weights", "net")

_SAVE_WEIGHTS = (
    "in PyTorch, save the weights alone with torch.save(model.state_dict(), 'weights.pth') "
    "and use that file"
)

_STORAGES: dict[str, np.dtype[Any]] = {
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
_WIDEN: dict[str, Callable[[HostArray], HostArray]] = {
    "torch.BFloat16Storage": widen_bfloat16,
    "torch.BoolStorage": lambda x: x.astype(np.bool_),
}


class Storage(NamedTuple):
    """A run of elements in the file, known by its key."""

    kind: str
    key: str
    numel: int

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.numel * _STORAGES[self.kind].itemsize


class Piece(NamedTuple):
    """A tensor: some elements of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


# Finds the bytes of a storage in the file.
Bytes: TypeAlias = Callable[[Storage], memoryview]


def read_pth(path: str | Path) -> dict[str, HostArray]:
    """Read the tensors that `torch.save` wrote, with no PyTorch and executing nothing.

    Parameters
    ----------
    path : str or Path
        A file that holds a state dict, or a dict with a state dict in it (``"state_dict"``).

    Returns
    -------
    dict of str to ndarray
        Read-only views of the file, strided as they were saved; bfloat16 widened to float32.

    Raises
    ------
    MinialexError
        If the file is missing, truncated, damaged, no file of PyTorch's, or holds or asks for
        anything but tensors in plain containers.
    """
    data = map_file(path)
    try:
        tree, find = _read_zip(path, data) if data[:4] == _ZIP_HEAD else _read_legacy(data)
        pieces = _state_dict(tree)
        storages: dict[Storage, HostArray] = {}
        return {name: _view(piece, find, storages) for name, piece in pieces.items()}
    except RefusedError as error:
        raise MinialexError(f"{path} is refused: {error}; {_SAVE_WEIGHTS}") from error
    except _DamagedError as error:
        raise MinialexError(
            f"{path} is truncated or damaged ({error}): use another copy"
        ) from error


class _DamagedError(Exception):
    """The file is not whole."""


def _read_zip(path: str | Path, data: mmap.mmap) -> tuple[object, Bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            records = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise _DamagedError("its zip directory cannot be read") from error
    roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise RefusedError("it is a zip archive, but not one of torch.save")
    root = roots[0]

    def record(name: str) -> memoryview:
        if root + name not in records:
            raise _DamagedError(f"its record {quoted(name)} is missing")
        return _record(data, records[root + name])

    if root + "byteorder" in records and record("byteorder").tobytes() != b"little":
        raise RefusedError("it comes from a big-endian machine")
    program = record("data.pkl")
    if len(program) > _LONGEST_PICKLE:
        raise RefusedError("its pickle is too long")
    tree = load_pickle(io.BytesIO(program), _CALLS, _storage)
    return tree, lambda storage: record(f"data/{storage.key}")


def _record(data: mmap.mmap, info: zipfile.ZipInfo) -> memoryview:
    """Return the bytes of a record; torch.save neither compresses nor encrypts, so they stand."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise RefusedError("its zip records are compressed or encrypted")
    # A record's own header repeats its name and has extra bytes of its own before the content.
    head = info.header_offset
    if head < 0 or data[head : head + 4] != _ZIP_HEAD:
        raise _DamagedError(f"its record {quoted(info.filename)} is not where it must be")
    lengths = (data[head + 26 : head + 28], data[head + 28 : head + 30])
    start = head + 30 + sum(int.from_bytes(length, "little") for length in lengths)
    content = memoryview(data)[start : start + info.file_size]
    # PyTorch can be told to leave the checksum out, and writes 0 then.
    if info.CRC and zlib.crc32(content) != info.CRC:
        raise _DamagedError(f"the checksum of its record {quoted(info.filename)}")
    return content


def _read_legacy(data: mmap.mmap) -> tuple[object, Bytes]:
    if data[:1] != _PICKLE_HEAD:
        raise RefusedError("it is not a file of torch.save")
    file = cast("IO[bytes]", data)
    storages: dict[str, Storage] = {}

    def remember(identifier: object) -> Storage:
        storage = _storage(identifier)
        if storages.setdefault(storage.key, storage) != storage:
            raise RefusedError("it describes one storage in two ways")
        return storage

    if load_pickle(file, {}, _storage) != _MAGIC:
        raise RefusedError("it is a pickle, but not one of torch.save")
    load_pickle(file, {}, _storage)
    machine = load_pickle(file, {}, _storage)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise RefusedError("it comes from a big-endian machine")
    tree = load_pickle(file, _CALLS, remember)
    places = _legacy_places(data, load_pickle(file, {}, _storage), storages)
    return tree, lambda storage: memoryview(data)[places[storage.key]]


def _legacy_places(data: mmap.mmap, keys: object, storages: dict[str, Storage]) -> dict[str, slice]:
    """Find each storage: its number of elements, 8 bytes, and then the elements."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _DamagedError("its list of storages")
    if sorted(keys) != sorted(storages):
        raise _DamagedError("its list of storages")
    places, position = {}, data.tell()
    for key in keys:
        storage = storages[key]
        start, stop = position + 8, position + 8 + storage.nbytes
        if stop > len(data):
            raise _DamagedError("a storage is cut short")
        if int.from_bytes(data[position:start], "little") != storage.numel:
            raise _DamagedError("the size of a storage")
        places[key] = slice(start, stop)
        position = stop
    return places


def _storage(identifier: object) -> Storage:
    """Return the storage that a persistent identifier of the pickle stands for."""
    match identifier:
        case ("storage", Name() as kind, str() as key, str(), int() as numel, *view):
            pass
        case ("module", Name() as kind, *_):
            raise RefusedError(f"it holds a whole network of class {quoted(str(kind))}")
        case _:
            raise RefusedError("it refers to something other than a storage")
    # PyTorch has moved its storage classes about: torch.FloatStorage, torch.storage.FloatStorage.
    name = f"torch.{kind.name}"
    if kind.module not in ("torch", "torch.storage") or name not in _STORAGES:
        raise RefusedError(f"it has a storage of type {quoted(str(kind))}")
    if not is_count(numel) or view not in ([], [None]):
        raise RefusedError(f"its storage {quoted(key)} is malformed")
    return Storage(name, key, numel)


def _piece(storage: object, offset: object, size: object, stride: object, *_: object) -> Piece:
    """Describe a tensor, having checked that all its elements lie in its storage."""
    if not isinstance(storage, Storage) or not is_count(offset):
        raise RefusedError("it has a malformed tensor")
    sizes, strides = _counts(size), _counts(stride)
    if len(sizes) != len(strides) or len(sizes) > _MOST_AXES:
        raise RefusedError("it has a tensor with malformed sizes")
    numel = math.prod(sizes)
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if (numel and last >= storage.numel) or offset > storage.numel:
        raise RefusedError("it has a tensor that reaches past its storage")
    if numel > max(storage.numel, _MOST_REPEATED) or math.prod(max(n, 1) for n in sizes) >= 2**59:
        raise RefusedError("it has a tensor of absurd size")
    # The stride of an axis that is never stepped along may be any number.
    strides = tuple(s if n > 1 else 0 for n, s in zip(sizes, strides, strict=True))
    return Piece(storage, offset, sizes, strides)


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or not all(map(is_count, values)):
        raise RefusedError("it has a tensor with malformed sizes")
    return values


def _parameter(data: object, *_: object) -> object:
    return data


def _size(values: object = ()) -> tuple[int, ...]:
    return _counts(tuple(values) if isinstance(values, list) else values)


def _ordered_dict(pairs: object = ()) -> dict[str | int, object]:
    """Build a dict; Python 2 wrote an ordered dict's items as the argument of its making."""
    table: dict[str | int, object] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        match pair:
            case [str() | int() as key, value]:
                table[key] = value
            case _:
                raise RefusedError("it has a malformed ordered dict")
    return table


_CALLS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _piece,
    "torch._utils._rebuild_tensor_v2": _piece,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
}


def _state_dict(tree: object) -> dict[str, Piece]:
    """Find the weights in what was saved."""
    if not isinstance(tree, dict):
        raise RefusedError("it does not hold a table of tensors")
    nested = {name: table for name, table in tree.items() if _has_tensors(table)}
    usual = [name for name in _USUAL_KEYS if name in nested]
    if usual:
        return _checked(nested[usual[0]])
    if _has_tensors(tree) or len(nested) != 1:
        return _checked(tree)
    return _checked(next(iter(nested.values())))


def _has_tensors(table: object) -> bool:
    return isinstance(table, dict) and any(isinstance(value, Piece) for value in table.values())


def _checked(table: dict[Any, Any]) -> dict[str, Piece]:
    if not table:
        raise RefusedError("it holds no tensors")
    for name, value in table.items():
        if not isinstance(name, str) or not isinstance(value, Piece):
            raise RefusedError(f"its entry {quoted(str(name))} is not a tensor with a name")
    return table


def _view(piece: Piece, find: Bytes, storages: dict[Storage, HostArray]) -> HostArray:
    """Return a tensor as a view of its storage; tensors of one storage share its memory."""
    storage, offset, size, stride = piece
    if storage not in storages:
        storages[storage] = _elements(storage, find(storage))
    x = storages[storage]
    # Built by the bounds-checking constructor: a mistake here could not read other memory.
    strides = tuple(s * x.itemsize for s in stride)
    return np.ndarray(size, x.dtype, cast("Any", x), offset * x.itemsize, strides)


def _elements(storage: Storage, content: memoryview) -> HostArray:
    if len(content) < storage.nbytes:
        raise _DamagedError(f"its storage {quoted(storage.key)} is cut short")
    if storage.numel == 0:
        return np.empty(0, _STORAGES[storage.kind])
    x = np.frombuffer(content, _STORAGES[storage.kind], storage.numel)
    widen = _WIDEN.get(storage.kind)
    return widen(x) if widen else x
