"""Listing a folder: sub-folders, image files, and files that are ignored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minialex.errors import MinialexError
from minialex.wording import counted, enumerated

IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Files with these suffixes, in upper or lower case, are images."""

UNSUPPORTED_SUFFIXES = frozenset((
    ".arw", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif",
    ".ico", ".jxl", ".jxr", ".nef", ".orf", ".psd", ".raf", ".raw", ".rw2", ".sgi", ".svg", ".xcf",
))  # fmt: skip
"""Suffixes of image formats that cannot be read."""

SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
)
"""Folders made by archivers, file systems and servers: their images are copies or previews."""

MAGIC_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
"""The first bytes of image files, whatever their name; see also `_holds_image`."""


@dataclass
class IgnoredFiles:
    """Counts of the files that are ignored because they have no image suffix.

    Attributes
    ----------
    counts : Counter of str
        The number of files by suffix, in lower case.
    images : set of str
        Those suffixes whose files are images after all: of an unsupported format, or misnamed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)

    def count_names(self, folder: str | os.PathLike[str], names: Iterable[str]) -> None:
        """Count files of a folder; one file per suffix is opened to see whether it is an image."""
        for name in sorted(names):
            suffix = os.path.splitext(name)[1].lower()
            if suffix not in self.counts and (
                suffix in UNSUPPORTED_SUFFIXES or _holds_image(os.path.join(folder, name))
            ):
                self.images.add(suffix)
            self.counts[suffix] += 1

    def add(self, other: IgnoredFiles) -> None:
        """Add the files of another count."""
        self.counts += other.counts
        self.images |= other.images

    def __str__(self) -> str:
        """Return the counts, largest first: ``3 .txt, 1 .json``."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return enumerated([f"{n:,} {_shown(suffix)}" for suffix, n in ordered])

    def summary(self) -> str:
        """Return a line on what was ignored, and what to do about it; empty if nothing was."""
        if not self.counts:
            return ""
        line = f"ignored {counted(self.counts.total(), 'file')}: {self}"
        hint = self.hint()
        return f"{line}; {hint}" if hint else line

    def hint(self) -> str:
        """Return what to do about images among them; empty if there are none."""
        unsupported = [_shown(s) for s in sorted(self.images & UNSUPPORTED_SUFFIXES)]
        misnamed = [_shown(s) for s in sorted(self.images - UNSUPPORTED_SUFFIXES)]
        return "; ".join(
            f"{enumerated(names)} {what}"
            for names, what in (
                (unsupported, "cannot be read: convert to .jpg or .png"),
                (misnamed, "may be images: let the names end in .jpg, .png or the like"),
            )
            if names
        )


def list_folder(root: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in `root` that are not hidden, sorted.

    Raises
    ------
    MinialexError
        If `root` is missing, is no folder, or cannot be read.
    """
    try:
        with os.scandir(root) as found:
            shown = sorted((e.name, e.is_dir()) for e in found if not _is_hidden(e.name))
    except FileNotFoundError:
        raise MinialexError(f"no folder {root}: check the path") from None
    except NotADirectoryError:
        raise MinialexError(f"{root} is a file: give a folder that holds class folders") from None
    except OSError as error:
        raise MinialexError(f"cannot read folder {root}: {error.strerror}") from error
    folders = [name for name, is_folder in shown if is_folder and not _is_system_folder(name)]
    return folders, [name for name, is_folder in shown if not is_folder]


def read_classes(path: str | os.PathLike[str]) -> list[str]:
    """Return the names in a text file of UTF-8 with one class per line, in their order.

    Raises
    ------
    MinialexError
        If it cannot be read, is no such text, or names no class, or one twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text of UTF-8"
        raise MinialexError(
            f"cannot read the classes in {path}: {reason}: give a text file with one class per line"
        ) from error
    names = [name for line in text.splitlines() if (name := line.strip())]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        fault = f"names class {twice[0]!r} more than once" if twice else "names no class"
        raise MinialexError(f"{path} {fault}: give one class per line")
    return names


def subfolders(root: Path) -> list[str]:
    """Return the names of the folders in `root` that are not hidden, sorted; as `list_folder`."""
    return list_folder(root)[0]


def image_names(names: Sequence[str]) -> list[str]:
    """Return the names that have an image suffix."""
    return [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]


def image_files(folder: Path, ignored: IgnoredFiles) -> Iterator[str]:
    """Yield the image files in `folder` and below, unordered; count the other files in `ignored`.

    Hidden files and folders, and `SYSTEM_FOLDERS`, are skipped.
    """
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(where)
        # a symbolic link to a parent folder would be followed for ever
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not (_is_hidden(name) or _is_system_folder(name))]
        shown = [name for name in files if not _is_hidden(name)]
        images = image_names(shown)
        yield from (os.path.join(where, name) for name in images)
        ignored.count_names(where, set(shown).difference(images))


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_system_folder(name: str) -> bool:
    return name.lower() in SYSTEM_FOLDERS


def _shown(suffix: str) -> str:
    return suffix or "(no suffix)"


def _holds_image(path: str) -> bool:
    # only regular files: opening a pipe would block
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    # WEBP is in a RIFF container, AVIF in that of MP4
    return (
        head.startswith(MAGIC_BYTES)
        or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:] in (b"avif", b"avis"))
    )


def _unreadable(error: OSError) -> None:
    raise MinialexError(f"cannot read folder {error.filename}: {error.strerror}") from error
