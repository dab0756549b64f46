"""The folder of what was compiled: whose it is, what in it is whole, and what leaves it.

A file's name is a hash of all that it was made from, so nothing in it is ever stale. Its last 32
bytes are the SHA-256 of its name and the others: a damaged library would crash the process that
loads it, and one under the name of another would compute something else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from minialex.errors import MinialexError
from minialex.files import PART_PREFIX, atomic_write, write_errors

VARIABLE = "MINIALEX_CACHE"
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAKING = "making-"
_DAY_SECONDS = 24 * 60 * 60
_KEPT_SECONDS = 30 * _DAY_SECONDS


def cache_folder() -> Path:
    """Return the folder of compiled binaries, made if need be.

    That is ``$MINIALEX_CACHE``, else ``minialex`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises
    ------
    MinialexError
        If it cannot be made or written, or if another user may write in it.
    """
    set_to = os.environ.get(VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = (Path(set_to) if set_to else Path(home) / "minialex") / "emulator"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError as error:
        raise _refused(folder, f"cannot be made ({error.strerror})") from None
    if about.st_uid != os.geteuid():
        raise _refused(folder, "belongs to another user, whose programs would run as yours")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(folder, f"may be written by others: chmod go-w {folder}", ", or")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(folder, "cannot be written")
    return folder


def _refused(folder: Path, why: str, then: str = ":") -> MinialexError:
    return MinialexError(
        f"the cache folder of compiled kernels, {folder}, {why}{then} set {VARIABLE} to a folder "
        "of your own"
    )


def is_whole(path: Path) -> bool:
    """Return whether `path` is there as `store` wrote it, and note that it is used."""
    try:
        content = path.read_bytes()
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    if content[-_DIGEST_BYTES:] != _digest(path, content[:-_DIGEST_BYTES]):
        return False
    if age > _DAY_SECONDS:
        with contextlib.suppress(OSError):
            os.utime(path)
    return True


def store(made: Path, path: Path) -> None:
    """Put the file `made` at `path`, with its checksum, whole or not at all.

    Another process may have made the same file meanwhile: either will do.

    Raises
    ------
    MinialexError
        If it cannot be written, or a folder is in its place.
    """
    content = made.read_bytes()
    if path.is_dir():
        raise MinialexError(f"{path} is a folder where a compiled kernel belongs: remove it")
    with write_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
    atomic_write(path, content + _digest(path, content))


def _digest(path: Path, content: bytes) -> bytes:
    # a header's name is its folder's
    return hashlib.sha256(f"{path.parent.name}/{path.name}".encode() + content).digest()


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder in the cache, for as long as something is being compiled."""
    cache = cache_folder()
    _remove_old(cache)
    try:
        folder = tempfile.TemporaryDirectory(dir=cache, prefix=_MAKING)
    except OSError as error:
        raise _refused(cache, f"cannot be written ({error.strerror})") from None
    with folder as name:
        yield Path(name)


@functools.cache
def _remove_old(cache: Path) -> None:
    """Remove what killed processes left, and what was not used for a month; once per process."""
    now = time.time()
    for entry in cache.iterdir():
        left_over = entry.name.startswith((_MAKING, PART_PREFIX))
        # a header is the only file in its folder
        dated = next(entry.glob("*.gch"), entry) if entry.is_dir() else entry
        with contextlib.suppress(OSError):
            if now - dated.stat().st_mtime > (_DAY_SECONDS if left_over else _KEPT_SECONDS):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
