"""The safetensors format: named arrays and a little text in one file.

A file is an 8-byte little-endian length, that many bytes of JSON, the header, and the arrays'
bytes. The header gives each array's ``dtype``, ``shape`` and ``data_offsets``; its
``__metadata__`` holds text by name. Nothing in such a file can be executed.

Where ``__metadata__`` has a `HEADER_CHECKSUM`, that is the CRC-32 of the whole header, its length
included, computed with eight zeros in the checksum's own place. It comes first in the header.

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

from minialex.arrays import BFLOAT16
from minialex.errors import MinialexError
from minialex.files import atomic_write, quoted
from minialex.plain_json import MAX_BYTES, is_count, parse_json
from minialex.wording import counted

HostArray: TypeAlias = npt.NDArray[Any]

HEADER_CHECKSUM = "minialex.crc32"
"""The metadata's name for the checksum of the header, in eight hexadecimal digits."""

_METADATA = "__metadata__"
_BEFORE_CHECKSUM = f'{{"{_METADATA}":{{"{HEADER_CHECKSUM}":"'.encode()
_CHECKSUM_PLACEHOLDER = b"00000000"
_MAX_DIMS = 32
# NumPy counts an empty array's other sizes too, and cannot make one of absurd sizes.
_MAX_ELEMENTS = 2**59

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
# bfloat16 is read as its bits, and widened to float32
_DTYPE_NAMES = {BFLOAT16 if name == "BF16" else dtype: name for name, dtype in _DTYPES.items()}


class TensorInfo(NamedTuple):
    """What the header says about one array; its bytes are those from `start` to before `stop`."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def bfloat16_to_float32(x: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return the float32 values of bfloat16 bit patterns, the upper halves of float32's."""
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)


def raw_bytes(x: HostArray) -> npt.NDArray[np.uint8]:
    """Return the bytes of `x` in C order and little-endian, copied only where they must be."""
    # A strided array's memory is not in C order: its bytes would be another array's.
    ordered = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8)


# Writing ------------------------------------------------------------------------------------------


def write_safetensors(
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
        Text to keep with them. The value of a `HEADER_CHECKSUM` among it is computed here.

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
    checksum = (
        {HEADER_CHECKSUM: _CHECKSUM_PLACEHOLDER.decode()} if HEADER_CHECKSUM in metadata else {}
    )
    # A dict keeps a key's first place and its last value.
    fields: dict[str, object] = {_METADATA: checksum | dict(sorted(metadata.items())) | checksum}
    start = 0
    for name in order:
        x = tensors[name]
        dtype = _DTYPE_NAMES.get(x.dtype.newbyteorder("<"))
        if dtype is None or name == _METADATA:
            raise ValueError(f"write_safetensors: {name!r} of dtype {x.dtype} cannot be stored")
        stop = start + x.nbytes
        fields[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_BYTES:
        raise ValueError(
            f"write_safetensors: names and metadata take {len(text)} bytes: store less"
        )
    header = len(text).to_bytes(8, "little") + text
    return _with_checksum(header) if checksum else header


def _with_checksum(header: bytes) -> bytes:
    """Return a header, its length included, with its checksum where that must stand."""
    start = 8 + len(_BEFORE_CHECKSUM)
    before, after = header[:start], header[start + len(_CHECKSUM_PLACEHOLDER) :]
    return before + b"%08x" % zlib.crc32(before + _CHECKSUM_PLACEHOLDER + after) + after


# Reading ------------------------------------------------------------------------------------------


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file's first nine bytes could be a safetensors file's."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_BYTES


def parse_safetensors(
    path: str | Path, data: mmap.mmap
) -> tuple[dict[str, HostArray], dict[str, str]]:
    """Parse a safetensors file that is mapped into memory.

    The arrays are read-only views of the mapping: their bytes are read from the disk when they are
    first accessed, and never held twice. The file may be replaced while they are in use, as
    `write_safetensors` does, but not changed in place.

    Parameters
    ----------
    path : str or Path
        What messages call the file.
    data : mmap
        The whole file.

    Returns
    -------
    tensors : dict of str to ndarray
        By name, in the file's order; bfloat16 widened to float32.
    metadata : dict of str to str
        The text in the file. Where it has a `HEADER_CHECKSUM`, the header was checked against it;
        the arrays are not accessed.

    Raises
    ------
    MinialexError
        If the file is truncated, damaged or not a safetensors file.
    """
    start, fields = _parse_header(path, data)
    metadata = fields.pop(_METADATA, {})
    if not _is_text_by_name(metadata):
        raise _damaged(path, "its metadata is not text")
    if HEADER_CHECKSUM in metadata and data[:start] != _with_checksum(data[:start]):
        raise _damaged(path, "the checksum of its header")
    infos = {name: _tensor_info(path, name, field) for name, field in fields.items()}
    _check_offsets(path, infos, len(data) - start)
    return {name: _view(data, start, info) for name, info in infos.items()}, metadata


def _damaged(path: str | Path, what: str) -> MinialexError:
    return MinialexError(f"{path} is damaged ({what}): use another copy")


def _truncated(path: str | Path, missing: int) -> MinialexError:
    return MinialexError(
        f"{path} is truncated ({counted(missing, 'byte')} missing at its end): use another copy"
    )


def _parse_header(path: str | Path, data: mmap.mmap) -> tuple[int, dict[str, Any]]:
    """Return where the arrays begin, and what the header says."""
    if not looks_like_safetensors(data[:9]):
        raise MinialexError(f"{path} is not a safetensors file: check the path")
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        raise _truncated(path, start - len(data))
    try:
        # what begins with a brace is an object, or no JSON
        return start, parse_json(data[8:start])
    except ValueError as error:
        raise _damaged(path, "its header cannot be read") from error


def _is_text_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= _MAX_DIMS and all(map(is_count, value))


def _tensor_info(path: str | Path, name: str, field: object) -> TensorInfo:
    """Check what the header says about one array."""
    table = field if isinstance(field, dict) else {}
    dtype, shape, offsets = (table.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets):
        raise _damaged(path, f"the entry of tensor {quoted(name)} is malformed")
    if dtype not in _DTYPES:
        raise MinialexError(
            f"{path}: tensor {quoted(name)} is of type {quoted(dtype)}, which is not supported: "
            "convert it to float32"
        )
    possible = math.prod(max(size, 1) for size in shape) < _MAX_ELEMENTS and len(offsets) == 2
    if not possible or offsets[1] - offsets[0] != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise _damaged(path, f"shape and data_offsets of tensor {quoted(name)} disagree")
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def _check_offsets(path: str | Path, infos: dict[str, TensorInfo], size: int) -> None:
    """Raise unless the arrays fill the rest of the file, each byte belonging to one of them."""
    position = 0
    for name, info in sorted(infos.items(), key=lambda item: (item[1].start, item[1].stop)):
        if info.start != position:
            raise _damaged(path, f"there is a gap or an overlap before tensor {quoted(name)}")
        position = info.stop
    if position > size:
        raise _truncated(path, position - size)
    if position < size:
        raise _damaged(path, f"{counted(size - position, 'byte')} too many at its end")


def _view(data: mmap.mmap, start: int, info: TensorInfo) -> HostArray:
    """Return the array that the header describes, as a view of the file where that is possible."""
    dtype = _DTYPES[info.dtype]
    count = (info.stop - info.start) // dtype.itemsize
    # An empty array may stand at the very end of the file, where NumPy finds no buffer.
    x = np.frombuffer(data, dtype, count, start + info.start) if count else np.empty(0, dtype)
    x = x.reshape(info.shape)
    return bfloat16_to_float32(x) if info.dtype == "BF16" else x
