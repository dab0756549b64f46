"""Packing goes on where it stopped, overwrites nothing, and says what is in its way."""

import errno
import shutil
from functools import partial

import numpy as np
import pytest

from minialex.data import ImageFolder, PackedImages, drop_unreadable, open_folder, pack_images
from minialex.data import pack as module
from minialex.data.decode import UnreadableImageError
from minialex.data.fingerprint import fingerprint
from minialex.data.pack import part_folder
from minialex.errors import MinialexError
from tests.data.pictures import noise, save, tree


@pytest.fixture
def photos(tmp_path):
    return tree(tmp_path / "photos", {"cat": 5, "dog": 7}, ".jpg")


class StoppedError(Exception):
    pass


def stop_after(count):
    def progress(done, _total):
        if done >= count:
            raise StoppedError

    return progress


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH_IMAGES", 2)


def begun(photos, out, monkeypatch):
    """Pack eight of twelve images; return the folder, and a list that notes what is decoded."""
    with pytest.raises(StoppedError):
        pack_images(photos, out, progress=stop_after(8))
    assert not out.exists()
    opened, real = [], module.open_image
    monkeypatch.setattr(module, "open_image", lambda path: opened.append(path) or real(path))
    return part_folder(out), opened


def cut_journal(part):
    journal = part / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])


def lose_pixels(part):
    pixels = part / "pixels.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1])


def spoil_the_fifth(part):
    pixels = part / "pixels.npy"
    data = bytearray(pixels.read_bytes())
    data[module.HEADER_BYTES + 4 * 9 * 12 * 3 + 7] ^= 1
    pixels.write_bytes(data)


def leave(part):
    pass


@pytest.mark.parametrize(
    ("damage", "left"),
    [(leave, 4), (cut_journal, 5), (lose_pixels, 5), (spoil_the_fifth, 8)],
)
def test_packing_goes_on_where_it_stopped(
    photos, tmp_path, monkeypatch, small_batches, damage, left
):
    pack_images(photos, tmp_path / "whole")
    part, opened = begun(photos, tmp_path / "out", monkeypatch)
    damage(part)
    done = []
    pack_images(photos, tmp_path / "out", progress=lambda done_now, _: done.append(done_now))
    assert len(opened) == left
    assert done[0] == 12 - left
    assert not part.exists()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_that_changed_is_packed_anew(photos, tmp_path, monkeypatch, small_batches):
    _, opened = begun(photos, tmp_path / "out", monkeypatch)
    save(photos / "dog" / "0.jpg", noise(14, 14))
    pack_images(photos, tmp_path / "out")
    assert len(opened) == 7
    np.testing.assert_array_equal(PackedImages(tmp_path / "out")[5][0], ImageFolder(photos)[5][0])


def test_another_size_does_not_go_on(photos, tmp_path, monkeypatch, small_batches):
    begun(photos, tmp_path / "out", monkeypatch)
    with pytest.raises(MinialexError, match=r"out\.part was begun with --size 256: pack in"):
        pack_images(photos, tmp_path / "out", side=8)


def test_other_images_do_not_go_on(photos, tmp_path, monkeypatch, small_batches):
    part, _ = begun(photos, tmp_path / "out", monkeypatch)
    before, other = contents(part), tmp_path / "other"
    shutil.copytree(photos, other)
    with pytest.raises(MinialexError, match=f"was begun with the images of {photos}: pack in"):
        pack_images(other, tmp_path / "out")
    assert contents(part) == before


class SmallDisk:
    """An open file on a disk that is full after so many bytes more."""

    def __init__(self, left, opened, path, mode):
        self.left, self.file = left, opened(path, mode)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __iter__(self):
        return iter(self.file)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.file.close()

    def write(self, data):
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)


def test_a_full_disk_is_said_and_packing_goes_on(photos, tmp_path, monkeypatch, small_batches):
    pack_images(photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(module, "open", partial(SmallDisk, 2000, open), raising=False)
        with pytest.raises(
            MinialexError, match=r"cannot write .*out\.part: the disk is full: free"
        ):
            pack_images(photos, tmp_path / "out")
    done = []
    pack_images(photos, tmp_path / "out", progress=lambda done_now, _: done.append(done_now))
    # six images of 9 x 12 pixels have room
    assert done[0] == 6
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("there", ["file", "folder"])
def test_nothing_is_overwritten(photos, tmp_path, there):
    out = tmp_path / "out"
    save(out / "x.png") if there == "folder" else out.write_text("x")
    before = out.read_text() if there == "file" else contents(out)
    with pytest.raises(MinialexError, match="out exists already: name a new folder"):
        pack_images(photos, out)
    assert before == (out.read_text() if there == "file" else contents(out))
    assert not part_folder(out).exists()


def test_a_pack_among_the_images_or_of_a_pack_is_refused(photos, tmp_path):
    with pytest.raises(MinialexError, match=r"lies inside .*photos, among its images"):
        pack_images(photos, photos / "pack")
    pack_images(photos, tmp_path / "pack")
    with pytest.raises(MinialexError, match=r"pack is a pack already: name the folder"):
        pack_images(tmp_path / "pack", tmp_path / "again")
    with pytest.raises(ValueError, match="side must be at least 1, got 0"):
        pack_images(photos, tmp_path / "other", side=0)


def test_two_cannot_make_one_pack_at_once(photos, tmp_path):
    def again(_done, _total):
        pack_images(photos, tmp_path / "out")

    with pytest.raises(MinialexError, match=r"out\.part is in use by another run"):
        pack_images(photos, tmp_path / "out", progress=again)


def test_unreadable_images_stop_packing_or_are_left_out(photos, tmp_path):
    (photos / "cat" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"cat/2\.jpg: it is not an image"):
        pack_images(photos, tmp_path / "out")
    packed = pack_images(photos, tmp_path / "out", skip_unreadable=True)
    assert [image.name for image in packed.skipped] == [str(photos / "cat" / "2.jpg")]
    left, _ = drop_unreadable(ImageFolder(photos))
    assert fingerprint(all=PackedImages(tmp_path / "out")) == fingerprint(all=left)
    assert packed.images == 11


def test_a_class_without_a_readable_image_is_refused(photos, tmp_path):
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(MinialexError, match="no readable image of class 'cat'"):
        pack_images(photos, tmp_path / "out", skip_unreadable=True)


def test_a_pack_that_is_not_finished_is_refused(photos, tmp_path, monkeypatch, small_batches):
    part, _ = begun(photos, tmp_path / "out", monkeypatch)
    with pytest.raises(MinialexError, match="is not finished: give the same `minialex data pack`"):
        open_folder(part, 0.2, 0)
