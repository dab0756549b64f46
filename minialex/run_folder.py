"""The folder of a run: made for it alone, and locked while it is used."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from types import ModuleType

from minialex.errors import MinialexError
from minialex.files import PART_PREFIX, PART_SUFFIX, quoted, write_errors

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None

LOCK_FILE = ".minialex.lock"


class RunFolder:
    """The folder of one run, ours alone until it is released. Made by `claim`.

    Attributes
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path, lock: int, made: bool) -> None:
        self.path = path
        self._lock: int | None = lock
        self._made = made

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock: a process that inherits it holds the lock too."""
        assert self._lock is not None
        return self._lock

    def release(self) -> None:
        """Unlock the folder, and remove it if it was made for this run and is still empty."""
        if self._lock is None:
            return
        # Removed before it is unlocked: a process that waits for it sees that its file has gone.
        with contextlib.suppress(OSError):
            (self.path / LOCK_FILE).unlink()
        os.close(self._lock)
        self._lock = None
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *failure: object) -> None:
        self.release()


def claim(folder: str | Path, *, resume: bool = False) -> RunFolder:
    """Create the folder of a run, or reopen it, and lock it against other processes.

    Parameters
    ----------
    folder : str or Path
        Made, with its parents, if it does not exist.
    resume : bool
        Whether the run in the folder goes on. Without it the folder must hold no files but
        hidden ones, so that a new run never overwrites anything; with it there must be some.

    Returns
    -------
    RunFolder
        Release it when the run ends, or use it in a `with` statement.

    Raises
    ------
    MinialexError
        If another process uses the folder, if it holds another run's files, if there is no run
        to resume, or if it cannot be written to.
    """
    path = Path(folder)
    with write_errors(path):
        made = not path.is_dir()
        if made and resume:
            raise MinialexError(f"there is no run to resume in {path}: check the path")
        path.mkdir(parents=True, exist_ok=True)
        claimed = RunFolder(path, _lock(path), made)
        try:
            remove_parts(path)
            _check_contents(path, resume)
        except BaseException:
            claimed.release()
            raise
    return claimed


def _check_contents(path: Path, resume: bool) -> None:
    files = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if resume and not files:
        raise MinialexError(f"there is no run to resume in {path}: check the path")
    if files and not resume:
        raise MinialexError(
            f"{path} already holds files ({quoted(files[0])}): choose another folder, "
            "or resume the run in it"
        )


def remove_parts(path: Path) -> None:
    """Remove what a killed process left half written; no other process writes here now."""
    for part in path.glob(f"{PART_PREFIX}*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _lock(folder: Path) -> int:
    """Return an open, locked descriptor of the folder's lock file."""
    path = folder / LOCK_FILE
    while True:
        descriptor, made = _open_lock(path)
        try:
            locked, remedy = _flock(descriptor), ""
            # Without file locks the file itself is the lock.
            if locked is None:
                locked = made or _holder_is_gone(descriptor)
                remedy = f"; if nothing uses it, delete {path}"
            if not locked:
                raise MinialexError(_in_use(folder, descriptor) + remedy)
            # The holder before us may have removed the file between our opening and locking it.
            if _is_at(descriptor, path):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open_lock(path: Path) -> tuple[int, bool]:
    """Open the lock file, and say whether it was made by this opening."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False


def _flock(descriptor: int) -> bool | None:
    """Lock a file: whether that succeeded, or None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for the message that others get."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())


def _holder(descriptor: int) -> tuple[int, str] | None:
    """Return the process id and host name that a lock file names."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = os.read(descriptor, 400).decode("utf-8", "replace").split()
    if len(words) != 2 or not words[0].isdecimal() or len(words[0]) > 9:
        return None
    return int(words[0]), words[1]


def _holder_is_gone(descriptor: int) -> bool:
    """Whether the process that signed the lock file ran on this machine and has ended."""
    holder = _holder(descriptor)
    if holder is None or holder[1] != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(holder[0], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _in_use(folder: Path, descriptor: int) -> str:
    holder = _holder(descriptor)
    who = f" (process {holder[0]} on {quoted(holder[1])})" if holder else ""
    return f"{folder} is in use by another run{who}: wait until it ends or choose another folder"
