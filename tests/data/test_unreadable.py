"""Files that hold no image, or none that can be read: each is refused by its name, and why."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minialex.data import UnreadableImageError, read_image
from minialex.errors import MinialexError
from tests.data.pictures import noise, save


def png_header(width, height):
    """A PNG of the given size that holds no pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"none\.png: No such file"):
        read_image(tmp_path / "none.png")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(MinialexError, match="Is a directory"):
        read_image(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"a\.png: the file is empty"):
        read_image(tmp_path / "a.png")


def test_no_image(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(UnreadableImageError, match=r"a\.png: it is not an image") as raised:
        read_image(tmp_path / "a.png")
    assert raised.value.name.endswith("a.png")
    assert "--skip-unreadable" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp", ".bmp", ".ppm"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = save(tmp_path / f"a{suffix}", noise(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(UnreadableImageError, match=r"cannot read image \S*a\.\w+: ."):
        read_image(path)


def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path):
    good = {}
    for suffix in ("png", "jpeg", "tiff", "webp", "gif"):
        buffer = io.BytesIO()
        Image.fromarray(noise(16, 16)).save(buffer, suffix)
        good[suffix] = buffer.getvalue()
    rng, refused = np.random.default_rng(0), 0
    for suffix, data in good.items():
        for trial in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] = rng.integers(256)
            path = tmp_path / f"{trial}.{suffix}"
            path.write_bytes(damaged)
            try:
                assert read_image(path).shape[2] == 3
            except UnreadableImageError:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("side", [10_000, 20_000, 100_000])
def test_enormous_images_are_refused_by_their_pixels(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    with pytest.raises(
        UnreadableImageError, match=rf"a\.png: too large: .*{side * side} pixels.*limit"
    ):
        read_image(tmp_path / "a.png")


def test_images_without_pixels_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png_header(0, 5))
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_huge_files_are_not_read_into_memory(tmp_path):
    # A hole of a tebibyte, which takes no room on the disk.
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnreadableImageError, match="larger than 1,073,741,824 bytes"):
        read_image(path)
