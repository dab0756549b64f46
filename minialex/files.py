"""Atomic writes and memory-mapped reads.

A write must survive a full disk and a killed process. So a file is first written under a temporary
name in its own folder and then renamed, which either happens or does not.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from minialex.errors import MinialexError

PART_PREFIX, PART_SUFFIX = ".minialex-", ".part"
"""The temporary name of a file that is being written: random digits stand between."""

_REMEDIES = {
    "ENOSPC": "the disk is full: free space on it or choose another folder",
    "EDQUOT": "your disk quota is used up: free space or choose another folder",
    "EFBIG": "files may not be that large here: raise 'ulimit -f' or choose another folder",
    "EROFS": "the disk is read-only: choose another folder",
    "EACCES": "permission denied: change its permissions or choose another folder",
    "EPERM": "permission denied: change its permissions or choose another folder",
    "ENOENT": "its folder does not exist: create it first",
    # as /proc does
    "ENOENT in a folder": "no file can be made in its folder: choose another",
    "ENOTDIR": "a part of this path is a file, not a folder: choose another path",
    "EEXIST": "a file of this name is in the way: choose another folder",
    "EISDIR": "it is a folder: choose another name",
    "ENAMETOOLONG": "the name is too long: choose a shorter one",
    "EIO": "the disk reports a fault: check it or choose another folder",
}


def quoted(name: str) -> str:
    """Return `name`, which may come from a hostile file, in quotes, on one line, shortened."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Translate an `OSError` while writing `path` to a `MinialexError` with a remedy.

    Raises
    ------
    MinialexError
        In place of any `OSError` raised in the block.
    """
    try:
        yield
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "")
        if code == "ENOENT" and Path(os.path.realpath(path)).parent.is_dir():
            code = "ENOENT in a folder"
        remedy = _REMEDIES.get(code, f"{error.strerror or error}: choose another folder")
        raise MinialexError(f"cannot write {path}: {remedy}") from error


def atomic_write(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file whole, or leave what was there as it was.

    Parameters
    ----------
    path : str or Path
        The file. If it is a symbolic link, the file that it points to is replaced.
    content : bytes or callable
        The bytes, or a function that writes them to the open binary file that it is given.

    Raises
    ------
    MinialexError
        If the file cannot be written: full or read-only disk, no permission, no such folder,
        or something there that is not an ordinary file. The previous file is intact then, and
        nothing is left beside it.
    """
    target = Path(os.path.realpath(path))
    with write_errors(Path(path)):
        _refuse_to_replace(target)
        part = _part_path(target)
        try:
            with open(part, "xb") as file:
                file.write(content) if isinstance(content, bytes) else content(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def check_writable(path: str | Path) -> None:
    """Raise what `atomic_write` would raise if it cannot write this file, and write nothing.

    So that long work is not begun whose result cannot be kept.

    Raises
    ------
    MinialexError
        As from `atomic_write`.
    """
    target = Path(os.path.realpath(path))
    with write_errors(Path(path)):
        _refuse_to_replace(target)
        part = _part_path(target)
        try:
            part.touch(exist_ok=False)
        finally:
            part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if need be, and check that files can be made in it.

    Raises
    ------
    MinialexError
        If it cannot be made, or nothing can be written there.
    """
    with write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "is write-protected")


def _part_path(target: Path) -> Path:
    """Return a temporary name in the folder of `target`: a rename works within a file system."""
    return target.parent / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"


def link_or_copy(source: Path, target: Path) -> None:
    """Give `target` the content that `source` has now: as a hard link, or else as a copy."""
    part = _part_path(target)
    with write_errors(target):
        try:
            os.link(source, part)
        except OSError:
            # not every file system has hard links
            with open(source, "rb") as file:
                atomic_write(target, lambda out: shutil.copyfileobj(file, out))
            return
        try:
            os.replace(part, target)
        finally:
            # it is there where that failed, and where both were names of one file already
            part.unlink(missing_ok=True)


def _refuse_to_replace(target: Path) -> None:
    """Raise unless `target` is missing or an ordinary file that its owner lets us change."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if not stat.S_ISREG(mode):
        raise MinialexError(f"cannot write {target}: it is not a file: choose another name")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "is write-protected")


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def map_file(path: str | Path) -> mmap.mmap:
    """Map a file into memory, read-only: only the pages that are accessed are read.

    Raises
    ------
    MinialexError
        If the file is missing, empty, not readable or not an ordinary file.
    """
    try:
        # Opening a pipe would block for ever, so its type is looked up first.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise MinialexError(f"cannot read {path}: it is a folder: name a file in it")
        if not stat.S_ISREG(mode):
            raise MinialexError(f"cannot read {path}: it is not an ordinary file: name another")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise MinialexError(f"cannot read {path}: it is empty: copy or download it again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise MinialexError(f"cannot read {path}: no such file: check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MinialexError(f"cannot read {path}: {reason}: check the file") from error
