"""Packing that is killed, or finds the disk full, at each step in which it writes: it goes on."""

import errno
import os
from pathlib import Path

import pytest

from minialex.data import find_unreadable, pack_images
from minialex.data import pack as module
from minialex.data.pack import part_folder
from minialex.data.packed import PackedImages, is_pack
from minialex.errors import MinialexError
from tests.campaigns.write_points import watched
from tests.data.pictures import tree


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_IMAGES", 2)
    return tree(tmp_path / "photos" / "train", {"a": 2, "b": 1}).parent


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def steps_of(photos: Path, out: Path) -> int:
    steps: list[str] = []
    with watched(out.parent, steps.append):
        pack_images(photos, out)
    return len(steps)


def at_step(number: int, action):
    """Return a function that acts when it is called for the time `number`, from 0."""
    calls = iter(range(10**6))

    def at(_step: str) -> None:
        if next(calls) == number:
            action()

    return at


def killed(photos: Path, out: Path, number: int) -> None:
    """Pack in another process, which ends at once at a step."""
    child = os.fork()
    if child == 0:
        with watched(out.parent, at_step(number, lambda: os._exit(9))):
            pack_images(photos, out)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9 << 8


def full(photos: Path, out: Path, number: int) -> None:
    """Pack on a disk that is full at a step."""

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    refused = ""
    with watched(out.parent, at_step(number, refuse)):
        try:
            pack_images(photos, out)
        except MinialexError as error:
            refused = str(error)
    # it does without a folder that is there already, or one that cannot be synced
    assert "the disk is full: free space on it" in refused if refused else is_pack(out / "train")


@pytest.mark.parametrize("stop", [killed, full], ids=lambda stop: stop.__name__)
def test_packing_goes_on_whatever_stopped_it(photos, tmp_path, stop):
    whole = tmp_path / "whole" / "pack"
    whole.parent.mkdir()
    steps = steps_of(photos, whole)
    assert steps > 60
    for number in range(steps):
        out = tmp_path / f"{stop.__name__}{number}" / "pack"
        out.parent.mkdir()
        stop(photos, out, number)
        if (out / "train").exists():
            # it had its name already: it is whole, but for a file of its making
            assert not find_unreadable(PackedImages(out / "train"))
            continue
        pack_images(photos, out)
        assert contents(out) == contents(whole)
        assert not part_folder(out).exists()
