"""Which files of a folder are images, what is said of those ignored, and lists of classes."""

import os
import struct

import numpy as np
import pytest
from PIL import Image, features

from minialex.data import IgnoredFiles, ImageFolder, listing, read_image
from minialex.data.listing import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES, image_files, read_classes
from minialex.errors import MinialexError
from tests.data.pictures import save, tree

GREY = 150
"""Of every sample; a format that loses something loses little of it."""


def qoi(height, width):
    """Return a QOI file of one grey, which not every Pillow writes: one pixel and a run."""
    run = bytes([0xC0 | (height * width - 2)])
    pixel = bytes([0xFE, GREY, GREY, GREY])
    return struct.pack(">4sIIBB", b"qoif", width, height, 3, 0) + pixel + run + b"\0" * 7 + b"\1"


def write(path, height=5, width=7):
    """Write a grey image in the format that the suffix of `path` names."""
    if path.suffix == ".qoi":
        path.write_bytes(qoi(height, width))
    elif path.suffix == ".pfm":
        Image.fromarray(np.full((height, width), GREY / 255, np.float32)).save(path)
    else:
        Image.new("RGB", (width, height), (GREY, GREY, GREY)).save(path)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_suffix_is_one_that_is_read(tmp_path, suffix):
    if suffix in (".avif", ".avifs") and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / f"1{suffix}")
    (path,) = ImageFolder(tmp_path).paths
    pixels = read_image(path)
    assert pixels.shape == (5, 7, 3)
    assert np.abs(pixels.astype(int) - GREY).max() <= 2


def test_no_suffix_is_both_read_and_unread():
    assert not UNSUPPORTED_SUFFIXES.intersection(IMAGE_SUFFIXES)
    assert {".jfif", ".jpe", ".avif", ".jp2", ".tga"} < set(IMAGE_SUFFIXES)


def test_files_passed_over_are_counted(tmp_path):
    tree(tmp_path, {"a": 2, "b": 1})
    for name in ("a/1.txt", "a/2.TXT", "b/3.txt", "b/deep/4.json", "Thumbs.db", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    save(tmp_path / "loose.png")
    folder = ImageFolder(tmp_path)
    assert folder.ignored.counts == {".txt": 3, ".json": 1, ".db": 1}
    assert folder.ignored.images == set()
    assert folder.ignored.summary() == "ignored 5 files: 3 .txt, 1 .db, 1 .json"
    assert folder.stray_images == [str(tmp_path / "loose.png")]
    assert len(folder) == 3


def test_of_no_files_nothing_is_said(tmp_path):
    assert ImageFolder(tree(tmp_path, {"a": 1})).ignored.summary() == ""


def test_images_that_are_passed_over_come_with_advice(tmp_path):
    tree(tmp_path, {"a": 1})
    for name in ("1.HEIC", "2.svg", "3.txt"):
        (tmp_path / "a" / name).touch()
    assert ImageFolder(tmp_path).ignored.summary() == (
        "ignored 3 files: 1 .heic, 1 .svg, 1 .txt; "
        ".heic, .svg cannot be read: convert to .jpg or .png"
    )


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "webp", "jpeg2000", "avif"])
def test_images_under_another_name_are_recognised(tmp_path, kind):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "subject01.happy", kind)
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "bare", kind)
    (tmp_path / "a" / "1.txt").write_text("not an image")
    others = IgnoredFiles()
    assert list(image_files(tmp_path / "a", others)) == []
    assert others.images == {"", ".happy"}
    assert others.summary() == (
        "ignored 3 files: 1 (no suffix), 1 .happy, 1 .txt; "
        "(no suffix), .happy may be images: let the names end in .jpg, .png or the like"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_only_files_are_looked_into(tmp_path):
    os.mkfifo(tmp_path / "pipe.x")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    others = IgnoredFiles()
    assert list(image_files(tmp_path, others)) == []
    assert (others.counts, others.images) == ({".x": 1, "": 1}, set())


def test_a_file_that_may_not_be_read_is_no_image(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "1.locked", "png")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listing, "open", refuse, raising=False)
    others = IgnoredFiles()
    assert list(image_files(tmp_path, others)) == []
    assert others.summary() == "ignored 1 file: 1 .locked"


def test_what_archives_and_servers_leave_behind_is_ignored(tmp_path):
    tree(tmp_path, {"a": 1, "__MACOSX": 1, "a/@eaDir": 1, "lost+found": 1})
    folder = ImageFolder(tmp_path)
    assert folder.classes == ["a"]
    assert folder.paths == [str(tmp_path / "a" / "0.png")]
    assert not folder.ignored.counts


def test_a_class_without_images_says_what_it_holds(tmp_path):
    tree(tmp_path, {"a": 1, "b": 0, "c": 0})
    for name in ("b/1.heic", "b/2.heic", "b/3.txt"):
        (tmp_path / name).touch()
    with pytest.raises(MinialexError) as caught:
        ImageFolder(tmp_path)
    assert str(caught.value) == (
        f"no images in class folder {tmp_path}/b (2 .heic, 1 .txt), {tmp_path}/c: "
        ".heic cannot be read: convert to .jpg or .png, or remove the folder"
    )


def test_classes_are_read_from_a_text_file(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffhünd\r\n\r\n  red fox \r\n".encode())
    assert read_classes(file) == ["hünd", "red fox"]
    for content, words in (
        (b"a\nb\na\n", "classes.txt names class 'a' more than once"),
        (b"\n", "classes.txt names no class"),
        (b"\xff\xfe", "it is not text of UTF-8: give a text file"),
    ):
        file.write_bytes(content)
        with pytest.raises(MinialexError, match=words):
            read_classes(file)
    with pytest.raises(MinialexError, match="No such file or directory: give a text file"):
        read_classes(tmp_path / "none")
