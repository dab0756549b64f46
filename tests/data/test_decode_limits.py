"""What is not read, or only with care: other formats, what is no file, what takes much memory."""

import os
import socket
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, features

from minialex.data import UnreadableImageError, decode, open_image, read_image
from minialex.data.listing import IMAGE_SUFFIXES
from tests.data.pictures import STORED, noise, save, slopes, turned


def refusal(path):
    with pytest.raises(UnreadableImageError) as raised:
        open_image(path).resized_crop((0, 0, 4, 4), 4)
    assert "\n" not in str(raised.value)
    return raised.value.reason


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A stand-in for Ghostscript, and the file that shows that it was started."""
    touched = tmp_path / "touched"
    gs = tmp_path / "bin" / "gs"
    gs.parent.mkdir()
    gs.write_text(f"#!/bin/sh\n: > {touched}\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gs.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return touched


def test_postscript_under_an_images_name_starts_no_program(tmp_path, canary):
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.jpg", "EPS")
    assert refusal(tmp_path / "a.jpg").startswith("it is not an image in a format that is read")
    assert not canary.exists()
    # the stand-in writes no image, so that a reader which starts it fails
    with Image.open(tmp_path / "a.jpg") as anything, pytest.raises(OSError, match="identify"):
        anything.load()
    assert canary.exists()


@pytest.mark.parametrize("kind", ["PDF", "ICO", "SGI", "DDS", "XBM"])
def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path, kind):
    image = Image.fromarray(noise(16, 16))
    (image.convert("1") if kind == "XBM" else image).save(tmp_path / "a.png", kind)
    assert refusal(tmp_path / "a.png").startswith("it is not an image in a format that is read")


def test_pipes_sockets_and_devices_are_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    os.symlink("/dev/zero", "device.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        for name in ("pipe", "device", "socket"):
            assert refusal(f"{name}.png") == "it is not a regular file"


# Memory and time ----------------------------------------------------------------------------------


def test_sixteen_bits_are_converted_without_large_copies(tmp_path):
    path = save(tmp_path / "a.png", np.arange(1200 * 1200, dtype=np.uint16).reshape(1200, 1200))
    image = open_image(path)
    tracemalloc.start()
    try:
        image.resized_crop((0, 0, 1200, 1200), 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 8 bytes of float64 for each pixel were 11 MB
    assert peak < 8e6


def in_mode(mode):
    pixels = slopes(30, 20)
    rgba = Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    if mode == "I":
        return Image.fromarray(pixels[..., 0].astype(np.int32) * 200)
    return (rgba if mode in ("RGBA", "LA") else Image.fromarray(pixels)).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "YCbCr", "I;16", "I", "F", "1"])
def test_strips_change_nothing(monkeypatch, mode):
    whole = decode.LazyImage(in_mode(mode)).pixels()
    assert np.ptp(whole) > 100
    monkeypatch.setattr(decode, "STRIP_PIXELS", 140)
    np.testing.assert_array_equal(decode.LazyImage(in_mode(mode)).pixels(), whole)


@pytest.mark.parametrize(
    ("name", "mode", "each"),
    [
        ("a.png", "RGB", 4),
        ("a.png", "RGBA", 8),
        ("a.jpg", "RGB", 10),
        ("a.jpg", "CMYK", 16),
        ("a.webp", "RGB", 17),
        ("a.jp2", "RGB", 20),
        pytest.param(
            *("a.avif", "RGB", 14),
            marks=pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF"),
        ),
    ],
)
def test_the_memory_for_an_image_is_bounded_by_format_and_mode(
    tmp_path, monkeypatch, name, mode, each
):
    in_mode(mode).save(tmp_path / name)
    needed = (tmp_path / name).stat().st_size + 30 * 20 * each
    monkeypatch.setattr(decode, "MAX_DECODE_BYTES", needed)
    assert read_image(tmp_path / name).shape == (30, 20, 3)
    monkeypatch.setattr(decode, "MAX_DECODE_BYTES", needed - 1)
    assert refusal(tmp_path / name).startswith("too large: to decode 20 x 30 pixels takes 0 MiB")


# the package has it pass, and refuses what is too large by itself
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pillows_limit_of_pixels_is_kept_to_the_pixel(tmp_path, monkeypatch, suffix):
    path = save(tmp_path / f"a{suffix}", noise(8, 10))
    for limit in (None, 80):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(path).shape == (8, 10, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 79)
    assert refusal(path) == "too large: 80 pixels exceed the limit of 79"


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_in_memory_without_pixels_is_refused(size):
    with pytest.raises(UnreadableImageError, match=f"image mine: it is {size[0]} x {size[1]} pix"):
        decode.LazyImage(Image.new("RGB", size), "mine")


def test_where_memory_runs_out_it_is_said_once(tmp_path, monkeypatch):
    picture = open_image(save(tmp_path / "a.jpg", noise(6, 6)))

    def refuse(_):
        raise MemoryError

    monkeypatch.setattr(decode, "_eight_bits", refuse)
    for size in (6, 3):
        with pytest.raises(UnreadableImageError) as raised:
            picture.resized_crop((0, 0, 6, 6), size)
        assert str(raised.value) == (
            f"cannot read image {tmp_path / 'a.jpg'}: not enough memory to decode it; "
            "replace or remove it, or pass --skip-unreadable"
        )


def test_a_jpeg_of_endless_scans_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "a.jpg", progressive=True)
    assert read_image(tmp_path / "a.jpg").shape == (8, 10, 3)
    monkeypatch.setattr(decode, "MAX_JPEG_SCANS", 5)
    assert refusal(tmp_path / "a.jpg").endswith("scans, more than 5")


@pytest.mark.parametrize(("width", "box"), [(8, (2, 0, 6, 4)), (16, (0, 0, 8, 8))])
def test_a_part_is_never_taken_for_the_whole(tmp_path, width, box):
    """A part of an image of the wanted size, and a part of that size."""
    pixels = noise(8, width)
    view = open_image(save(tmp_path / "a.png", pixels)).resized_crop(box, 8)
    resized = Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR, box=box)
    np.testing.assert_array_equal(view, resized)


@pytest.mark.parametrize("orientation", STORED)
def test_a_crop_of_a_turned_image_is_that_of_the_upright_one(tmp_path, orientation):
    box, pixels = (2.0, 3.0, 19.0, 14.0), noise(20, 30)
    upright = open_image(save(tmp_path / "a.png", pixels)).resized_crop(box, 6)
    stored = open_image(turned(tmp_path / "b.png", pixels, orientation)).resized_crop(box, 6)
    np.testing.assert_allclose(stored.astype(int), upright, atol=1)


# Metadata and values ------------------------------------------------------------------------------


def chunk(kind, data, checksum=None):
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


TEXTS = {
    "compressed": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20))),
    "international": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2 << 20))),
    "profile": chunk(b"iCCP", b"odd\0\0" + zlib.compress(bytes(2 << 20))),
    "damaged": chunk(b"tEXt", b"Comment\0fine", checksum=1),
}  # fmt: skip


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_png_whose_text_cannot_be_read_is_read(tmp_path, text, place):
    pixels = noise(9, 7)
    data = save(tmp_path / "a.png", pixels).read_bytes()
    at = 33 if place == "before" else data.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(data[:at] + TEXTS[text] + data[at:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_below_zero_are_refused_since_no_grey_has_them(tmp_path, dtype):
    path = save(tmp_path / "a.tif", np.array([[-3, 0], [1, 1]], dtype))
    assert refusal(path) == "it holds values below 0 (-3), which no grey has: rescale them"


def test_every_image_suffix_is_of_a_format_that_is_read():
    formats = {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES}
    assert formats - {"MPO"} <= set(decode.FORMATS)
