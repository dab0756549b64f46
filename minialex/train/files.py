"""Files written whole or not at all, files read without copying, and the folder of a run.

What a run leaves behind must survive a full disk, a killed process and a second process in the
same folder. So a file is first written beside its final place and then renamed, which either
happens or does not, and a run's folder is locked while it is used.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import BinaryIO

from minialex.errors import MinialexError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None

LOCK = ".minialex.lock"
PART_PREFIX, PART_SUFFIX = ".minialex-", ".part"

_REMEDIES = {
    "ENOSPC": "the disk is full: free space on it or choose another folder",
    "EDQUOT": "your disk quota is used up: free space or choose another folder",
    "EFBIG": "files may not be that large here: raise 'ulimit -f' or choose another folder",
    "EROFS": "the disk is read-only: choose another folder",
    "EACCES": "permission denied: change its permissions or choose another folder",
    "EPERM": "permission denied: change its permissions or choose another folder",
    "ENOENT": "its folder does not exist: create it first",
    "ENOTDIR": "a part of this path is a file, not a folder: choose another path",
    "EEXIST": "a file of this name is in the way: choose another folder",
    "EISDIR": "it is a folder: choose another name",
    "ENAMETOOLONG": "the name is too long: choose a shorter one",
    "EIO": "the disk reports a fault: check it or choose another folder",
}


def shown(name: str) -> str:
    """Return `name`, which may come from a hostile file, quoted, on one line and not too long."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into words with a remedy.

    Raises
    ------
    MinialexError
        In place of any `OSError` raised in the block.
    """
    try:
        yield
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "")
        remedy = _REMEDIES.get(code, f"{error.strerror or error}: choose another folder")
        raise MinialexError(f"cannot write {path}: {remedy}") from error


def atomic_write(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a whole file or leave what was there as it was.

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
    with writing(Path(path)):
        _refuse_to_replace(target)
        part = _part_beside(target)
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


def _part_beside(target: Path) -> Path:
    """Return a name for what is to become `target` once it is whole."""
    return target.parent / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"


def link(source: Path, target: Path) -> None:
    """Let `target` have the content that `source` has now: as a second name, or else as a copy."""
    part = _part_beside(target)
    with writing(target):
        try:
            os.link(source, part)
        except OSError:
            # not every file system has second names
            with open(source, "rb") as file:
                atomic_write(target, lambda out: shutil.copyfileobj(file, out))
            return
        os.replace(part, target)
        # where both are names of one file already, nothing was replaced
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
    """Make a rename in `folder` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def map_file(path: str | Path) -> mmap.mmap:
    """Map a file into memory, read-only, so that only what is looked at is read.

    Raises
    ------
    MinialexError
        If the file is missing, empty, not readable or not an ordinary file.
    """
    try:
        # A pipe would block the opening for ever, so what it is comes before its opening.
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

    def release(self) -> None:
        """Unlock the folder, and remove it if it was made for this run and is still empty."""
        if self._lock is None:
            return
        # Removed before it is unlocked: whoever waits for it sees that its file has gone.
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        os.close(self._lock)
        self._lock = None
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    with writing(path):
        made = not path.is_dir()
        if made and resume:
            raise MinialexError(f"there is no run to resume in {path}: check the path")
        path.mkdir(parents=True, exist_ok=True)
        claimed = RunFolder(path, _lock(path), made)
        try:
            _sweep(path)
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
            f"{path} already holds files ({shown(files[0])}): choose another folder, "
            "or resume the run in it"
        )


def _sweep(path: Path) -> None:
    """Remove what a killed process left half written; nobody else writes here now."""
    for part in path.glob(f"{PART_PREFIX}*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _lock(folder: Path) -> int:
    """Return an open, locked descriptor of the folder's lock file."""
    path = folder / LOCK
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
    who = f" (process {holder[0]} on {shown(holder[1])})" if holder else ""
    return f"{folder} is in use by another run{who}: wait until it ends or choose another folder"
