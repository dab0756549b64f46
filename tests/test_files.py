"""Files appear whole or not at all."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from minialex import files
from minialex.errors import MinialexError
from minialex.files import atomic_write, check_writable, make_folder, map_file, quoted


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def small_files_only():
    """Let this process write no more than 1000 bytes into a file, as a full disk would."""
    resource = pytest.importorskip("resource", reason="this system has no limits on file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def not_root():
    """Work in the current folder as a user for whom a file can be write-protected."""
    if os.geteuid() != 0:
        yield
        return
    other = 65534
    try:
        os.chown(".", other, other)
        os.setresuid(other, other, 0)
    except (AttributeError, OSError) as error:
        pytest.skip(f"root stays root here: {error}")
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


class TestAtomicWrite:
    def test_writes_and_replaces(self, tmp_path):
        path = tmp_path / "file"
        atomic_write(path, b"one")
        atomic_write(str(path), lambda file: file.write(b"two"))
        assert path.read_bytes() == b"two"
        assert names(tmp_path) == ["file"]

    def test_a_file_may_be_read_by_whom_the_umask_lets(self, tmp_path):
        before = os.umask(0o027)
        try:
            atomic_write(tmp_path / "file", b"")
        finally:
            os.umask(before)
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640

    def test_is_whole_before_it_has_its_name(self, tmp_path, monkeypatch):
        seen = []
        sync = os.fsync

        def watch(descriptor):
            seen.append((os.fstat(descriptor).st_size, (tmp_path / "file").exists()))
            sync(descriptor)

        monkeypatch.setattr(files.os, "fsync", watch)
        atomic_write(tmp_path / "file", b"12345")
        assert seen[0] == (5, False)

    @pytest.mark.parametrize("content", [b"x" * 5000, lambda file: file.write(b"x" * 5000)])
    def test_a_write_cut_off_by_the_system_loses_nothing(self, tmp_path, content):
        path = tmp_path / "file"
        atomic_write(path, b"before")
        refused = pytest.raises(MinialexError, match=f"cannot write {path}: files may not be that")
        # no longer than this: pytest itself may be writing into a file
        with refused, small_files_only():
            atomic_write(path, content)
        assert path.read_bytes() == b"before"
        assert names(tmp_path) == ["file"]

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (errno.ENOSPC, "disk is full: free space"),
            (errno.EDQUOT, "quota"),
            (errno.EROFS, "read-only: choose another folder"),
            (errno.EACCES, "permission denied: change its permissions"),
            (errno.EBUSY, "choose another folder"),
        ],
    )
    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_refusal_names_file_and_remedy(self, tmp_path, monkeypatch, code, words, call):
        path = tmp_path / "file"
        path.write_bytes(b"before")

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(files.os, call, refuse)
        with pytest.raises(MinialexError, match=words) as caught:
            atomic_write(path, b"after")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == b"before"
        assert names(tmp_path) == ["file"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_an_interruption_loses_nothing(self, tmp_path, error):
        path = tmp_path / "file"
        path.write_bytes(b"before")

        def write(file):
            file.write(b"half")
            raise error

        with pytest.raises(error):
            atomic_write(path, write)
        assert path.read_bytes() == b"before"
        assert names(tmp_path) == ["file"]

    def test_a_link_keeps_pointing(self, tmp_path):
        (tmp_path / "far").mkdir()
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "far" / "file")
        atomic_write(link, b"content")
        assert link.is_symlink()
        assert names(tmp_path / "far") == ["file"]

    def test_places_where_no_file_can_be(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        for path, words in (
            (tmp_path, "it is a folder"),
            (tmp_path / "missing" / "file", "its folder does not exist"),
            (tmp_path / "file" / "file", "is a file, not a folder"),
            (tmp_path / ("x" * 300), "too long"),
        ):
            for write in (lambda path: atomic_write(path, b""), check_writable):
                with pytest.raises(MinialexError, match=words):
                    write(path)
        assert names(tmp_path) == ["file"]

    def test_whether_it_can_be_written_is_found_out_without_writing(self, tmp_path):
        old, new = tmp_path / "old", tmp_path / "new"
        old.write_bytes(b"before")
        check_writable(old)
        check_writable(new)
        assert names(tmp_path) == ["old"]
        assert old.read_bytes() == b"before"

    def test_a_folder_that_takes_no_files_is_said_to_be_one(self):
        if not Path("/proc/self").exists():
            pytest.skip("no /proc here")
        with pytest.raises(MinialexError, match="cannot write /proc/file: no file can be made in"):
            check_writable("/proc/file")

    def test_devices_are_not_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(MinialexError, match="it is not a file"):
            atomic_write(pipe, b"")
        assert pipe.is_fifo()

    def test_protected_files_and_folders_stay(self, tmp_path, monkeypatch):
        # root's own folders above it are closed to others
        monkeypatch.chdir(tmp_path)
        folder, path = Path(), Path("file")
        with not_root():
            path.write_bytes(b"before")
            path.chmod(0o444)
            with pytest.raises(MinialexError, match="permission denied"):
                atomic_write(path, b"after")
            folder.chmod(0o555)
            for write in (
                lambda: atomic_write(Path("other"), b""),
                lambda: check_writable(Path("other")),
                lambda: make_folder(folder),
            ):
                with pytest.raises(MinialexError, match=r"permission denied|write-protected"):
                    write()
            folder.chmod(0o755)
            assert path.read_bytes() == b"before"


class TestMapFile:
    def test_gives_the_bytes_and_no_way_to_change_them(self, tmp_path):
        (tmp_path / "file").write_bytes(b"12345")
        data = map_file(tmp_path / "file")
        assert data[1:3] == b"23"
        with pytest.raises(TypeError):
            data[0:1] = b"x"

    def test_what_cannot_be_read(self, tmp_path):
        (tmp_path / "empty").write_bytes(b"")
        os.mkfifo(tmp_path / "pipe")
        for name, words in (
            ("missing", "no such file"),
            (".", "it is a folder"),
            ("empty", "it is empty"),
            ("pipe", "not an ordinary file"),
            ("empty/below", "Not a directory"),
            ("nul\0", "null"),
        ):
            with pytest.raises(MinialexError, match=words):
                map_file(tmp_path / name)


def test_names_are_quoted_on_one_line():
    assert quoted("a\nb\x1b[2J") == r"'a\nb\x1b[2J'"
    assert len(quoted("x" * 1000)) < 90
