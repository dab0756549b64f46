"""What a file says beside its pixels: how it is turned, and remarks that are damaged."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minialex.data import LazyImage, open_image, read_image
from tests.data.pictures import ORIENTATION, STORED, save, slopes, turned


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_obeyed(tmp_path, suffix, orientation):
    pixels = slopes(20, 30)
    lossy = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}
    path = turned(tmp_path / f"a{suffix}", pixels, orientation, **lossy.get(suffix, {}))
    assert open_image(path).size == (30, 20)
    np.testing.assert_allclose(read_image(path), pixels, atol=4)


def test_the_exif_of_a_picture_in_memory_is_obeyed():
    image = Image.fromarray(np.ascontiguousarray(STORED[6](slopes(20, 30))))
    image.getexif()[ORIENTATION] = 6
    np.testing.assert_array_equal(LazyImage(image).pixels(), slopes(20, 30))


# As in use: the package lets Pillow's remarks on metadata pass (see the test after this).
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01junk" * 9,
        b"no such thing at all",
        # An orientation that is the text "up".
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x03up\0\0\0\0\0\0",
    ],
)
def test_broken_exif_is_overlooked(tmp_path, exif):
    pixels = slopes(16, 24)
    path = save(tmp_path / "a.jpg", pixels, exif=b"Exif\0\0" + exif, quality=95)
    np.testing.assert_allclose(read_image(path), pixels, atol=8)


def test_remarks_on_metadata_make_no_noise(tmp_path):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x1a\0\x05\0\0\0\x01\0\0\xff\xff"
    path = save(tmp_path / "a.jpg", exif=exif)
    code = "import sys, PIL.Image; from minialex.data import read_image; read_image(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, path], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
