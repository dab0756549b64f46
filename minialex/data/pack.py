"""Packing a folder of images: each is decoded and resized once, so that training need not.

A pack is made in a folder beside it, ``OUT.part``, which gets the name ``OUT`` once it is whole.
A journal there has a line for each image that is done. Packing goes on after the last image whose
line, file and pixels are as they were, whether it was stopped or killed, or the power failed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minialex.cpu.threads import cores
from minialex.data.datasets import ClassFolders
from minialex.data.decode import UnreadableImageError, open_image
from minialex.data.folders import check_same_classes, find_dataset_folders, folder_notes
from minialex.data.packed import (
    FORMAT,
    IMAGES,
    INDEX,
    JOURNAL,
    NAMES,
    PIXELS,
    ROW,
    VERSION,
    Index,
    checksum,
    packs_in,
)
from minialex.data.verify import UnreadableImage, check_classes_left
from minialex.errors import MinialexError
from minialex.files import atomic_write, make_folder, write_errors
from minialex.plain_json import parse_json, read_json, typed
from minialex.run_folder import LOCK_FILE, claim, remove_parts

PLAN = "plan.json"
PART_SUFFIX = ".part"
HEADER_BYTES = 128
"""Of pixels.npy: the same for any number of pixels, which is known in the end."""
BATCH_IMAGES = 64
"""Images that are decoded, written and entered in the journal together."""

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """What a pack holds: numbers of images and of bytes, and the images that were left out."""

    images: int
    pixel_bytes: int
    skipped: tuple[UnreadableImage, ...]


def pack_images(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    side: int = 256,
    skip_unreadable: bool = False,
    progress: ProgressCallback | None = None,
    tell: Callable[[str], None] | None = None,
) -> Packed:
    """Pack a folder of images, or go on with it.

    Parameters
    ----------
    folder : str or path
        See `find_dataset_folders`.
    out : str or path
        A folder that does not exist yet, or is empty. Until it is whole it is `part_folder`.
    side : int
        Images whose shorter side is longer are resized to this; others are kept as they are.
    skip_unreadable : bool
        Leave out images that cannot be read.
    progress : callable, optional
        Called with the number of images done so far and in all.
    tell : callable, optional
        Called with a sentence about each kind of file that is ignored.

    Raises
    ------
    ValueError
        If `side` is below 1.
    UnreadableImageError
        If an image cannot be read.
    MinialexError
        If `out` exists, lies in `folder`, or cannot be written; if it was begun with another
        folder or `side`; if another process packs it; or as `find_dataset_folders`.
    """
    if side < 1:
        raise ValueError(f"pack_images: side must be at least 1, got {side}")
    root, out = Path(folder), Path(out)
    if not out.name:
        # "." has none, and OUT.part needs one
        out = out.resolve()
    _check_places(root, out)
    found = find_dataset_folders(root)
    folders = found.open()
    if len(folders) == 2:
        check_same_classes(*folders)
    for line in folder_notes(folders, found.unused):
        if tell is not None:
            tell(line)
    part = part_folder(out)
    make_folder(part.parent)
    with claim(part, resume=(part / PLAN).exists()):
        _check_plan(part, root, side)
        total, done, packers = sum(map(len, folders)), 0, []
        for images in folders:
            packer = _Packer(images, part / images.root.relative_to(root), side)
            for count in packer.run(skip_unreadable):
                if progress is not None:
                    progress(done + count, total)
            packer.finish()
            done += len(images)
            packers.append(packer)
        _publish(part, out)
    return Packed(
        sum(len(packer.packed) for packer in packers),
        sum(packer.pixel_bytes for packer in packers),
        tuple(image for packer in packers for image in packer.skipped),
    )


def part_folder(out: Path) -> Path:
    """Return the folder in which a pack is made, beside it."""
    return out.with_name(out.name + PART_SUFFIX)


def _check_places(root: Path, out: Path) -> None:
    with write_errors(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise MinialexError(f"{out} exists already: name a new folder, nothing is overwritten")
    if out.resolve().is_relative_to(root.resolve()):
        raise MinialexError(f"{out} lies inside {root}, among its images: name a folder outside")
    if packs_in(root):
        raise MinialexError(f"{root} is a pack already: name the folder that it was made of")


def _check_plan(part: Path, root: Path, side: int) -> None:
    """Write down what is packed, and how, or check that it is as it was when this began."""
    path = part / PLAN
    plan = {"version": VERSION, "folder": os.path.realpath(root), "side": side}
    if not path.exists():
        atomic_write(path, json.dumps(plan).encode())
        return
    try:
        before = read_json(path)
    except (OSError, ValueError):
        before = None
    if before != plan:
        was = _begun(before if isinstance(before, dict) else {}, plan)
        raise MinialexError(f"{part} was begun {was}: pack in the same way, or remove it")


def _begun(before: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return in which way a plan differs."""
    if before.get("version") != plan["version"]:
        return "by another version"
    if before.get("folder") != plan["folder"]:
        return f"with the images of {before.get('folder')}"
    return f"with --size {before.get('side')}"


def _publish(part: Path, out: Path) -> None:
    """Give a pack that is whole its name."""
    with write_errors(out):
        (part / LOCK_FILE).unlink(missing_ok=True)
        if out.exists():
            out.rmdir()
        part.rename(out)
        for path in (out / PLAN, *out.rglob(JOURNAL)):
            path.unlink()


# One folder of class folders ----------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A line of the journal.

    Attributes
    ----------
    name : str
        Of the image's file, relative to the folder.
    file_bytes : int
    height, width : int
        0 of an image that cannot be read.
    crc32 : int
        Of the pixels.
    reason : str
        Why it cannot be read; empty where it can.
    """

    name: str
    file_bytes: int
    height: int = 0
    width: int = 0
    crc32: int = 0
    reason: str = ""

    @property
    def pixel_bytes(self) -> int:
        """The size of the pixels."""
        return 3 * self.height * self.width


class _Packer:
    """Packs one folder of class folders."""

    def __init__(self, images: ClassFolders, where: Path, side: int) -> None:
        self.images, self.where, self.side = images, where, side
        self.entries: list[Entry] = []
        self.pixel_bytes = 0

    def run(self, skip_unreadable: bool) -> Iterator[int]:
        """Pack, and yield the number of images that are done."""
        make_folder(self.where)
        remove_parts(self.where)
        pixels, journal = self.where / PIXELS, self.where / JOURNAL
        with write_errors(self.where), open(pixels, "a+b") as data, open(journal, "a+b") as lines:
            self._keep(data, lines, skip_unreadable)
            with ThreadPoolExecutor(cores(), "minialex-pack") as pool:
                for start in range(len(self.entries), len(self.images), BATCH_IMAGES):
                    yield start
                    batch = range(start, min(start + BATCH_IMAGES, len(self.images)))
                    try:
                        for entry, image in pool.map(self._read, batch):
                            if entry.reason and not skip_unreadable:
                                path = self.images.paths[len(self.entries)]
                                raise UnreadableImageError(path, entry.reason)
                            data.write(image)
                            self._add(entry)
                    finally:
                        # pixels first: a line of the journal promises them
                        data.flush()
                        lines.write(b"".join(map(_line, self.entries[start:])))
                        lines.flush()
            os.fsync(data.fileno())
        yield len(self.images)

    def _keep(self, data: BinaryIO, lines: BinaryIO, skip_unreadable: bool) -> None:
        """Enter what is there already and still right; cut off the rest."""
        data.seek(HEADER_BYTES)
        lines.seek(0)
        kept = 0
        for index, line in zip(range(len(self.images)), lines, strict=False):
            entry = _parsed(line)
            if (
                entry is None
                or (entry.name, entry.file_bytes) != self.images.identity(index)
                or (entry.reason and not skip_unreadable)
                or zlib.crc32(data.read(entry.pixel_bytes)) != entry.crc32
            ):
                break
            self._add(entry)
            kept += len(line)
        lines.truncate(kept)
        data.truncate(HEADER_BYTES + self.pixel_bytes)

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.pixel_bytes += entry.pixel_bytes

    def _read(self, index: int) -> tuple[Entry, memoryview]:
        """Decode an image; returns what the journal says of it, and its pixels."""
        name, size = self.images.identity(index)
        try:
            pixels = np.ascontiguousarray(open_image(self.images.paths[index]).shrunk(self.side))
        except UnreadableImageError as error:
            return Entry(name, size, reason=error.reason), memoryview(b"")
        height, width, _ = pixels.shape
        return Entry(name, size, height, width, zlib.crc32(pixels.data)), pixels.data

    @property
    def skipped(self) -> list[UnreadableImage]:
        """The images that were left out."""
        return [
            UnreadableImage(index, self.images.paths[index], entry.reason)
            for index, entry in enumerate(self.entries)
            if entry.reason
        ]

    @property
    def packed(self) -> list[int]:
        """Where the images that were not left out stand in the folder."""
        return [index for index, entry in enumerate(self.entries) if not entry.reason]

    def finish(self) -> None:
        """Write all files but the pixels, and the pixels' header."""
        packed, images = self.packed, self.images
        check_classes_left(images, images.targets[packed], self.skipped)
        entries = [self.entries[index] for index in packed]
        rows = np.zeros(len(entries), ROW)
        for field in ("height", "width", "crc32", "file_bytes"):
            rows[field] = [getattr(entry, field) for entry in entries]
        sizes = np.array([entry.pixel_bytes for entry in entries], np.int64)
        rows["offset"] = np.cumsum(sizes) - sizes
        rows["target"] = images.targets[packed]
        joined = b"\0".join(os.fsencode(entry.name) for entry in entries)
        names = np.frombuffer(joined, np.uint8)
        index = Index(
            FORMAT, VERSION, self.side, len(entries), self.pixel_bytes, images.classes,
            checksum(rows, names),
        )  # fmt: skip
        with write_errors(self.where), open(self.where / PIXELS, "r+b") as file:
            file.write(_header(self.pixel_bytes))
            file.flush()
            os.fsync(file.fileno())
        atomic_write(self.where / IMAGES, lambda file: np.save(file, rows))
        atomic_write(self.where / NAMES, lambda file: np.save(file, names))
        atomic_write(self.where / INDEX, json.dumps(asdict(index), indent=1).encode())


def _header(count: int) -> bytes:
    """Return the beginning of an .npy file, version 1.0, of so many bytes."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}"
    length = HEADER_BYTES - 10
    magic = b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little")
    return magic + text.ljust(length - 1).encode() + b"\n"


def _line(entry: Entry) -> bytes:
    return json.dumps(astuple(entry)).encode() + b"\n"


def _parsed(line: bytes) -> Entry | None:
    """Return what a line says; None of one that was cut short."""
    try:
        return Entry(*typed(tuple[str, int, int, int, int, str], parse_json(line)))
    except ValueError:
        return None
