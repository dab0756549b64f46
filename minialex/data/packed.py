"""Packed images: a folder of class folders as arrays of bytes, which need no decoding.

    PACK/pixels.npy   (B,) uint8: the pixels of all images, one after the other
    PACK/images.npy   (N,) of `ROW`: where each image lies, its shape, class and checksum
    PACK/names.npy    (M,) uint8: the names of their files, relative to the folder, NUL between
    PACK/index.json   what `Index` says

Each is a plain .npy file, so that others read them too::

    pixels, images = (np.load(f"PACK/{name}.npy", mmap_mode="r") for name in ("pixels", "images"))
    offset, height, width = images[["offset", "height", "width"]][i]
    image = pixels[offset : offset + height * width * 3].reshape(height, width, 3)

A folder that holds ``train`` and ``val`` becomes a folder that holds a pack of each. The format is
FFCV's idea (Leclerc et al. 2023), without its own file format: pixels are mapped into memory, so
the system reads what is needed and keeps what is used.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minialex.data.datasets import ClassFolders, ImageFolder, Indices, Picture
from minialex.data.decode import UnreadableImageError, open_image
from minialex.data.resample import Box, Pixels, crop_and_resize
from minialex.errors import MinialexError
from minialex.plain_json import read_json, typed

FORMAT, VERSION = "minialex pack", 1
INDEX, PIXELS, IMAGES, NAMES = "index.json", "pixels.npy", "images.npy", "names.npy"
JOURNAL = "journal.jsonl"
"""What is done of a pack that is being made."""

ROW = np.dtype(
    [
        ("offset", "<i8"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("target", "<i4"),
        ("crc32", "<u4"),
        ("file_bytes", "<i8"),
    ]
)
"""Of an image: its first byte in the pixels, its shape, its class, the checksum of its bytes, and
how large the file was that it was made of."""

Rows: TypeAlias = npt.NDArray[np.void]


@dataclass(frozen=True)
class Index:
    """What a pack says about itself.

    Attributes
    ----------
    format : str
        `FORMAT`.
    version : int
        Of the format.
    side : int
        The longest that a shorter side is; images with a longer one were resized.
    images, pixel_bytes : int
    classes : list of str
    checksum : int
        The CRC-32 of images.npy and then names.npy.
    """

    format: str
    version: int
    side: int
    images: int
    pixel_bytes: int
    classes: list[str]
    checksum: int


class StoredImage:
    """An image whose pixels are there already.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    name : str
    crc32 : int
        The checksum that the pixels should have.
    """

    def __init__(self, pixels: Pixels, name: str, crc32: int) -> None:
        self.name = name
        self._pixels, self._crc32 = pixels, crc32
        self.size: tuple[int, int] = (pixels.shape[1], pixels.shape[0])

    def pixels(self) -> Pixels:
        """Return the whole image as (H, W, 3) uint8, read-only."""
        return self._pixels

    def resized_crop(self, box: Box, size: int) -> Pixels:
        """Return the crop `box`, resized to (size, size, 3) uint8, as that of its file would be."""
        if self.size == (size, size) and box == (0, 0, size, size):
            return self._pixels
        return np.asarray(crop_and_resize(self._pixels, box, (size, size)))

    def verify(self) -> None:
        """Raise UnreadableImageError if the pixels are not those that were packed."""
        if zlib.crc32(self._pixels.data) != self._crc32:
            raise UnreadableImageError(
                self.name,
                "its pixels are not those that were packed",
                "pack the folder again, or pass --skip-unreadable",
            )


class PackedImages(ClassFolders):
    """A pack, which stands for the folder that it was made of: same names, classes and order.

    Parameters
    ----------
    root : str or path
        A folder that `pack_images` made.
    classes : sequence of str, optional
        Use these alone, numbered in this order.

    Attributes
    ----------
    index : Index

    Raises
    ------
    MinialexError
        If it is no pack, of another version, or not whole. Whether its pixels are those that were
        packed is not looked at here, which would read all of them: see `find_unreadable`.
    """

    in_memory = True

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None) -> None:
        super().__init__(root)
        self._chosen = None if classes is None else list(classes)
        self.index = _read_index(self.root)
        self._pixels, self._rows, self._names = _read_arrays(self.root, self.index)
        self.select(self.index.classes, classes)
        self.targets: Indices = self._rows["target"].astype(np.int64)
        if classes is not None:
            self._keep_chosen()
        prefix = str(self.root / "x")[:-1]
        self.paths = [prefix + name for name in self._names]

    def _keep_chosen(self) -> None:
        """Keep the images of the chosen classes, in the order of these."""
        numbers = [self.index.classes.index(name) for name in self.classes]
        found = [np.flatnonzero(self.targets == number) for number in numbers]
        kept = np.concatenate(found)
        self._rows, self._names = self._rows[kept], [self._names[i] for i in kept.tolist()]
        self.targets = np.repeat(np.arange(len(found)), list(map(len, found)))

    def load(self, index: int) -> StoredImage:
        """Return image `index`, a view of the pack."""
        start, height, width, _, crc32, _ = self._rows[index].item()
        pixels = self._pixels[start : start + height * width * 3].reshape(height, width, 3)
        return StoredImage(pixels, self.paths[index], crc32)

    def sizes(self) -> list[tuple[int, int]]:
        """Return width and height of each image."""
        return list(zip(*(self._rows[name].tolist() for name in ("width", "height")), strict=True))

    def identity(self, index: int) -> tuple[str, int]:
        """Return the name of the file that image `index` was made of, and its size then."""
        return self._names[index], int(self._rows["file_bytes"][index])

    def __reduce__(self) -> tuple[Any, ...]:
        # another process maps the pixels itself
        return PackedImages, (self.root, self._chosen)


# Reading ------------------------------------------------------------------------------------------


def is_pack(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder is a pack, of whatever version, or what is left of one."""
    return os.path.isfile(os.path.join(folder, PIXELS))


def packs_in(folder: Path) -> list[Path]:
    """Return the packs in a folder that packing made: itself, or those of its parts."""
    return [path for path in (folder, *sorted(folder.glob("*/"))) if is_pack(path)]


def open_class_folders(
    root: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> ClassFolders:
    """Open a folder of class folders, or the pack of one."""
    return PackedImages(root, classes) if is_pack(root) else ImageFolder(root, classes)


def open_picture(path: str) -> Picture:
    """Open an image file, or the image that a path into a pack names: ``PACK/cat/1.jpg``.

    Raises
    ------
    UnreadableImageError
        As `open_image`.
    """
    return packed_picture(path) or open_image(path)


def packed_picture(path: str) -> StoredImage | None:
    """Return the image of a pack that a path names; None if it names none."""
    if os.path.exists(path) or (root := _pack_around(path)) is None:
        return None
    images, numbers = _by_path(root)
    number = numbers.get(str(Path(path)))
    return None if number is None else images.load(number)


def packed_below(folder: str | os.PathLike[str]) -> list[str]:
    """Return the paths of the images of a pack in a folder that its images had, ``PACK/cat``."""
    if (root := _pack_around(folder)) is None:
        return []
    return [path for path in _by_path(root)[0].paths if Path(folder) in Path(path).parents]


def _pack_around(path: str | os.PathLike[str]) -> Path | None:
    return next((folder for folder in Path(path).parents if is_pack(folder)), None)


@functools.lru_cache(maxsize=4)
def _by_path(root: Path) -> tuple[PackedImages, dict[str, int]]:
    images = PackedImages(root)
    return images, {path: number for number, path in enumerate(images.paths)}


def _read_index(root: Path) -> Index:
    try:
        value = read_json(root / INDEX)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"it is not that of a {FORMAT}")
        if value.get("version") != VERSION:
            raise MinialexError(
                f"{root} is a pack of version {value.get('version')!r:.20}, and this minialex "
                f"reads version {VERSION}: pack the images again"
            )
        index: Index = typed(Index, value)
    except (OSError, ValueError) as error:
        if (root / JOURNAL).exists():
            raise MinialexError(
                f"the pack {root} is not finished: give the same `minialex data pack` again"
            ) from error
        raise _damaged(root, f"{INDEX}: {getattr(error, 'strerror', None) or error}") from error
    return index


def _read_arrays(root: Path, index: Index) -> tuple[Pixels, Rows, list[str]]:
    """Return pixels, rows and names, as far as can be seen without reading the pixels whole."""
    pixels = _read_array(root, PIXELS, np.dtype(np.uint8))
    rows, names = _read_array(root, IMAGES, ROW), _read_array(root, NAMES, np.dtype(np.uint8))
    if len(pixels) != index.pixel_bytes:
        raise _damaged(root, f"{PIXELS} holds {len(pixels):,} bytes, not {index.pixel_bytes:,}")
    if checksum(rows, names) != index.checksum:
        raise _damaged(root, f"{IMAGES} or {NAMES} has changed")
    listed = [os.fsdecode(name) for name in names.tobytes().split(b"\0")]
    if not len(listed) == len(rows) == index.images or not _lie_inside(rows, index):
        raise _damaged(root, f"{IMAGES} does not fit the rest")
    return pixels, rows, listed


def _read_array(root: Path, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        array = np.load(root / name, mmap_mode="r" if name == PIXELS else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(root, f"{name} is cut short or no array") from error
    if array.dtype != dtype or array.ndim != 1:
        raise _damaged(root, f"{name} is another array")
    # slices of a memmap are slow to make
    return np.asarray(array)


def _lie_inside(rows: Rows, index: Index) -> bool:
    """Return whether every image lies in the pixels and is of a class."""
    height, width, start = (rows[n].astype(np.int64) for n in ("height", "width", "offset"))
    target = rows["target"]
    fits = (height > 0) & (width > 0) & (start >= 0)
    fits &= start <= index.pixel_bytes - height * width * 3
    return bool((fits & (target >= 0) & (target < len(index.classes))).all())


def checksum(rows: Rows, names: Pixels) -> int:
    """Return the checksum of what says where the images lie and what they are called."""
    return zlib.crc32(names.data, zlib.crc32(rows.view(np.uint8).data))


def _damaged(root: Path, what: str) -> MinialexError:
    return MinialexError(f"the pack {root} is damaged: {what}: copy it or pack the images again")
