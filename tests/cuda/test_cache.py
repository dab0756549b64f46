"""The cache of compiled kernels: private, whole, and not for ever."""

import errno
import os
import time

import pytest

from minialex.cuda.emulator import cache
from minialex.errors import MinialexError

DAY = 24 * 60 * 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIALEX_CACHE", str(tmp_path / "cache"))
    return cache.cache_folder()


@pytest.fixture
def stored(folder, tmp_path):
    (tmp_path / "made").write_bytes(bytes(range(256)) * 40)
    cache.store(tmp_path / "made", folder / "x.so")
    return folder / "x.so"


def flipped(content, bit):
    return bytes(byte ^ (1 << bit % 8) * (i == bit // 8) for i, byte in enumerate(content))


def test_what_was_stored_is_whole_and_any_damage_is_seen(stored):
    content = stored.read_bytes()
    assert cache.is_whole(stored)
    damaged = [b"", content[:31], content[:4096], content[:-1], content + b"x"]
    damaged += [flipped(content, bit) for bit in (0, 5003, 8 * len(content) - 1)]
    for other in damaged:
        stored.write_bytes(other)
        assert not cache.is_whole(stored)
    stored.unlink()
    assert not cache.is_whole(stored)


def test_a_file_under_the_name_of_another_is_not_whole(stored):
    other = stored.with_name("y.so")
    header = stored.parent / "header-z" / stored.name
    header.parent.mkdir()
    for path in (other, header):
        path.write_bytes(stored.read_bytes())
        assert not cache.is_whole(path)


def test_what_cannot_be_stored_leaves_nothing(stored, tmp_path, monkeypatch):
    before = stored.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "made").write_bytes(b"another")
    with pytest.raises(MinialexError, match="the disk is full: free space"):
        cache.store(tmp_path / "made", stored)
    assert [p.read_bytes() for p in stored.parent.iterdir()] == [before]


def test_a_folder_in_the_place_of_a_file_is_named(folder, tmp_path):
    (tmp_path / "made").write_bytes(b"x")
    (folder / "x.so").mkdir()
    (folder / "header-1").write_bytes(b"")
    assert not cache.is_whole(folder / "x.so")
    with pytest.raises(MinialexError, match=r"x\.so is a folder where .* belongs: remove it$"):
        cache.store(tmp_path / "made", folder / "x.so")
    with pytest.raises(MinialexError, match=r"cannot write .*header-1: a file of this name"):
        cache.store(tmp_path / "made", folder / "header-1" / "emulator.h.gch")


def test_the_folder_is_private(folder):
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_may_write_is_refused(folder, mode):
    folder.chmod(mode)
    with pytest.raises(MinialexError, match=r"may be written by others: chmod go-w \S+, or set"):
        cache.cache_folder()


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(MinialexError, match=r"belongs to another user.*set MINIALEX_CACHE"):
        cache.cache_folder()


def test_a_folder_that_cannot_be_written_is_refused(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MinialexError, match="cannot be written: set MINIALEX_CACHE"):
        cache.cache_folder()


def test_a_disk_without_room_for_a_workspace_is_named(folder, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.tempfile, "TemporaryDirectory", full)
    with pytest.raises(MinialexError, match=r"written \(No space left on device\): set MINIALEX"):
        cache.workspace().__enter__()


def test_leavings_and_what_nobody_uses_go(folder, stored):
    def aged(name, days, inside=""):
        path = folder / name / inside
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        for each in (path, folder / name):
            os.utime(each, (time.time() - days * DAY,) * 2)

    aged("making-old", 2, "x.o")
    aged("making-new", 0, "x.o")
    aged(".minialex-1.part", 2)
    aged("old.so", 31)
    aged("recent.so", 29)
    aged("header-old", 31, "emulator.h.gch")
    aged("header-recent", 29, "emulator.h.gch")
    # an old folder whose header was used since
    os.utime(folder / "header-recent", (0, 0))
    os.utime(stored, (time.time() - 31 * DAY,) * 2)
    assert cache.is_whole(stored)
    with cache.workspace() as made:
        assert made.parent == folder
    kept = {"making-new", "recent.so", "header-recent", stored.name}
    assert {path.name for path in folder.iterdir()} == kept
