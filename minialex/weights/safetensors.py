"""The safetensors format: named arrays and a little text in one file.

A file is an 8-byte little-endian length, that many bytes of JSON, and the arrays' bytes. The JSON
gives each array's dtype, shape and place; its `__metadata__` holds text by name. Nothing in such
a file can be executed.

A file whose `__metadata__` has a `SEAL` is sealed: that is a checksum of the whole header, its
length included, taken with eight zeros in the checksum's place. It comes first in the header.

The format is small enough to be written here, and that buys what a checkpoint needs: equal
content gives equal bytes, arrays go to the disk and come back without being copied, strided
arrays are stored rightly, and every fault has a sentence of its own.
"""

from __future__ import annotations

import json
import math
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from minialex.errors import MinialexError
from minialex.files import atomic_write, map_file, quoted

HostArray: TypeAlias = npt.NDArray[Any]

SEAL = "minialex.crc32"
"""The metadata's name for the checksum of the header, in eight hexadecimal digits."""

_METADATA = "__metadata__"
_BEFORE_SEAL = f'{{"{_METADATA}":{{"{SEAL}":"'.encode()
_UNSEALED = b"00000000"
# Far above what any network here needs, far below what a hostile file could cost to parse.
_LONGEST_HEADER = 16 * 2**20
_MOST_AXES = 32

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# NumPy has no bfloat16: such arrays are read, widened to float32, but never written.
_CODES = {dtype: code for code, dtype in _DTYPES.items() if code != "BF16"}


class Entry(NamedTuple):
    """One array of a file: its dtype's code, its shape, and its first and last-plus-one byte."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int


def widen_bfloat16(x: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return the float32 values of bfloat16 bit patterns, the upper halves of float32's."""
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)


def raw_bytes(x: HostArray) -> npt.NDArray[np.uint8]:
    """Return the bytes of `x` in C order and little-endian, copied only where they must be."""
    # A strided array's memory is not in C order: its bytes would be another array's.
    ordered = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8)


def write_tensors(
    path: str | Path, tensors: Mapping[str, HostArray], metadata: Mapping[str, str]
) -> None:
    """Write arrays and text to a safetensors file, whole or not at all.

    Equal content gives equal bytes, whatever the order of the mappings.

    Parameters
    ----------
    path : str or Path
        The file.
    tensors : mapping of str to ndarray
        Float, integer or boolean arrays of any strides and byte order.
    metadata : mapping of str to str
        Text to keep with them. A `SEAL` among it becomes the header's checksum.

    Raises
    ------
    ValueError
        If a name or dtype cannot be stored.
    MinialexError
        If the file cannot be written.
    """
    # Wide dtypes first, so that every array begins at a multiple of its element size.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header = _header(order, tensors, metadata)

    def write(file: BinaryIO) -> None:
        file.write(header)
        for name in order:
            file.write(raw_bytes(tensors[name]).data)

    atomic_write(path, write)


def _header(
    order: list[str], tensors: Mapping[str, HostArray], metadata: Mapping[str, str]
) -> bytes:
    seal = {SEAL: _UNSEALED.decode()} if SEAL in metadata else {}
    fields: dict[str, object] = {_METADATA: seal | dict(sorted(metadata.items())) | seal}
    position = 0
    for name in order:
        x = tensors[name]
        code = _CODES.get(x.dtype.newbyteorder("<"))
        if code is None or name == _METADATA:
            raise ValueError(f"write_tensors: {name!r} of dtype {x.dtype} cannot be stored")
        place = [position, position + x.nbytes]
        fields[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": place}
        position += x.nbytes
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"write_tensors: names and metadata take {len(text)} bytes: store less")
    header = len(text).to_bytes(8, "little") + text
    return _sealed(header) if seal else header


def _sealed(header: bytes) -> bytes:
    """Return a header, its length included, with its checksum where that must stand."""
    start = 8 + len(_BEFORE_SEAL)
    before, after = header[:start], header[start + len(_UNSEALED) :]
    return before + b"%08x" % zlib.crc32(before + _UNSEALED + after) + after


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file's first nine bytes could be a safetensors file's."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def read_tensors(path: str | Path) -> tuple[dict[str, HostArray], dict[str, str]]:
    """Read a safetensors file.

    The arrays are read-only views of the file: their bytes are read from the disk when they are
    first looked at, and never held twice. The file may be replaced while they are in use, as
    `write_tensors` does, but not changed in place.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    tensors : dict of str to ndarray
        By name, in the file's order; bfloat16 widened to float32.
    metadata : dict of str to str
        The text in the file. Where it has a `SEAL` the header is as it was written; the arrays
        are not looked at.

    Raises
    ------
    MinialexError
        If the file is missing, cut short, damaged or not a safetensors file.
    """
    data = map_file(path)
    start, fields = _parse_header(path, data)
    metadata = fields.pop(_METADATA, {})
    if not _is_text_by_name(metadata):
        raise _damaged(path, "its metadata is not text")
    if SEAL in metadata and data[:start] != _sealed(data[:start]):
        raise _damaged(path, "the checksum of its header")
    entries = {name: _entry(path, name, field) for name, field in fields.items()}
    _check_places(path, entries, len(data) - start)
    return {name: _view(data, start, entry) for name, entry in entries.items()}, metadata


def _damaged(path: str | Path, what: str) -> MinialexError:
    return MinialexError(f"{path} is damaged ({what}): use another copy")


def _cut_short(path: str | Path, missing: int) -> MinialexError:
    return MinialexError(
        f"{path} is truncated ({missing} bytes are missing at its end): use another copy"
    )


def _parse_header(path: str | Path, data: mmap.mmap) -> tuple[int, dict[str, Any]]:
    """Return where the arrays begin, and what the header says."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 9 or not looks_like_safetensors(data[:9]):
        raise MinialexError(f"{path} is not a safetensors file: check the path")
    if 8 + length > len(data):
        raise _cut_short(path, 8 + length - len(data))
    try:
        fields = json.loads(data[8 : 8 + length], object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header cannot be read") from error
    if not isinstance(fields, dict):
        raise _damaged(path, "its header is not a table")
    return 8 + length, fields


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _is_text_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def is_count(value: object) -> TypeGuard[int]:
    """Whether `value`, read from a file, is an integer that a size or an offset can be."""
    return type(value) is int and 0 <= value < 2**62


def _is_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= _MOST_AXES and all(map(is_count, value))


def _entry(path: str | Path, name: str, field: object) -> Entry:
    """Check what the header says about one array."""
    table = field if isinstance(field, dict) else {}
    code, shape, place = (table.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(code, str) or not _is_counts(shape) or not _is_counts(place):
        raise _damaged(path, f"the entry of tensor {quoted(name)} is malformed")
    if code not in _DTYPES:
        raise MinialexError(
            f"{path}: tensor {quoted(name)} is of type {quoted(code)}, which is not supported: "
            "convert it to float32"
        )
    # NumPy counts an empty array's other sizes too, and cannot make one of absurd sizes.
    sensible = math.prod(max(size, 1) for size in shape) < 2**59 and len(place) == 2
    if not sensible or place[1] - place[0] != math.prod(shape) * _DTYPES[code].itemsize:
        raise _damaged(path, f"shape and place of tensor {quoted(name)} disagree")
    return Entry(code, tuple(shape), place[0], place[1])


def _check_places(path: str | Path, entries: dict[str, Entry], size: int) -> None:
    """Raise unless the arrays fill the rest of the file, each byte belonging to one of them."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            raise _damaged(path, f"tensor {quoted(name)} is not where it must be")
        position = entry.stop
    if position > size:
        raise _cut_short(path, position - size)
    if position < size:
        raise _damaged(path, f"{size - position} bytes too many at its end")


def _view(data: mmap.mmap, start: int, entry: Entry) -> HostArray:
    """Return the array that an entry describes, as a view of the file where that is possible."""
    dtype = _DTYPES[entry.code]
    count = (entry.stop - entry.start) // dtype.itemsize
    # An empty array may stand at the very end of the file, where NumPy finds no buffer.
    x = np.frombuffer(data, dtype, count, start + entry.start) if count else np.empty(0, dtype)
    x = x.reshape(entry.shape)
    return widen_bfloat16(x) if entry.code == "BF16" else x
