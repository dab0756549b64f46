import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from minialex.data import LazyImage, UnreadableImageError, open_image, read_image
from minialex.errors import MinialexError
from tests.data.pictures import noise, save, slopes

ORIENTATION = 0x0112

# EXIF 2.32, tag 0x0112: which sides of the scene the first row and the first column show.
STORED = {
    1: lambda v: v,  # top, left
    2: lambda v: v[:, ::-1],  # top, right
    3: lambda v: v[::-1, ::-1],  # bottom, right
    4: lambda v: v[::-1],  # bottom, left
    5: lambda v: v.swapaxes(0, 1),  # left, top
    6: lambda v: v.swapaxes(0, 1)[::-1],  # right, top
    7: lambda v: v.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda v: v.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


def turned(path, pixels, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](pixels))
    return save(path, stored, exif=exif, **options)


def png_header(width, height):
    """A PNG of the given size that holds no pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def on_white(colour, alpha):
    return colour * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".tiff"])
def test_rgb_files_come_out_as_they_are(tmp_path, suffix):
    pixels = noise(7, 11)
    read = read_image(save(tmp_path / f"a{suffix}", pixels))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


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


def test_grey_is_repeated(tmp_path):
    grey = noise(5, 6)[..., 0]
    read = read_image(save(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=-1))


def test_one_bit_is_black_and_white(tmp_path):
    bits = noise(9, 13)[..., 0] > 127
    read = read_image(save(tmp_path / "a.png", bits))
    np.testing.assert_array_equal(read, np.repeat(bits[..., None] * 255, 3, axis=-1))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palettes_are_looked_up_and_their_transparency_is_white(tmp_path, suffix):
    numbers = np.arange(60, dtype=np.uint8).reshape(6, 10) % 4
    palette = np.array([[250, 10, 10], [10, 240, 20], [30, 30, 220], [0, 0, 0]], np.uint8)
    image = Image.frombytes("P", (10, 6), numbers.tobytes())
    image.putpalette(palette.tobytes())
    image.save(tmp_path / f"a{suffix}", transparency=3)
    expected = palette.copy()
    expected[3] = 255
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected[numbers])


def test_palettes_with_partial_transparency_are_laid_on_white(tmp_path):
    numbers = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    palette = np.array([[250, 10, 10], [10, 240, 20], [30, 30, 220]], np.uint8)
    alphas = np.array([255, 100, 0])
    image = Image.frombytes("P", (6, 4), numbers.tobytes())
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png", transparency=bytes(alphas.tolist()))
    expected = on_white(palette.astype(float), alphas[:, None])[numbers]
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), expected, atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_laid_on_white(tmp_path, suffix):
    rgba = np.dstack([slopes(16, 16), np.linspace(0, 255, 256).reshape(16, 16)]).astype(np.uint8)
    path = save(tmp_path / f"a{suffix}", rgba, **({"lossless": True} if suffix == ".webp" else {}))
    expected = on_white(rgba[..., :3].astype(float), rgba[..., 3:].astype(float))
    np.testing.assert_allclose(read_image(path), expected, atol=1)


def test_grey_with_alpha_is_laid_on_white(tmp_path):
    grey, alpha = noise(8, 8)[..., 0], noise(8, 8, 1)[..., 0]
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    image.save(tmp_path / "a.png")
    expected = on_white(grey.astype(float), alpha.astype(float))[..., None].repeat(3, -1)
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), expected, atol=1)


@pytest.mark.parametrize(("mode", "clear"), [("L", 77), ("RGB", (77, 77, 77))])
def test_a_colour_named_transparent_is_white(tmp_path, mode, clear):
    grey = np.full((4, 4), 20, np.uint8)
    grey[1:3] = 77
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.png", transparency=clear)
    expected = np.where(grey == 77, 255, 20)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], expected)


def cmyk(height, width):
    inks = np.dstack([slopes(height, width), slopes(height, width)[..., 1] // 2])
    return Image.frombytes("CMYK", (width, height), inks.tobytes()), inks.astype(float)


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_becomes_rgb(tmp_path, suffix):
    image, inks = cmyk(24, 32)
    path = tmp_path / f"a{suffix}"
    image.save(path, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    expected = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    np.testing.assert_allclose(read_image(path), expected, atol=4)


def test_cmyk_jpegs_are_stored_inverted_with_adobes_mark(tmp_path):
    # The test above means something only if the file is of this kind.
    image, _ = cmyk(24, 32)
    image.save(tmp_path / "a.jpg")
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()


RAMP = np.linspace(0, 65535, 64).reshape(8, 8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = RAMP.astype(np.uint16)
    read = read_image(save(tmp_path / f"a{suffix}", values))
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read, np.repeat(expected[..., None], 3, axis=-1))


def test_dark_sixteen_bits_stay_dark(tmp_path):
    read = read_image(save(tmp_path / "a.png", np.full((3, 3), 255, np.uint16)))
    assert read.max() == 1


def test_big_endian_sixteen_bits_are_scaled(tmp_path):
    values = RAMP.astype(np.uint16)
    Image.frombytes("I;16B", (8, 8), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], expected)


def test_thirty_two_bits_are_scaled(tmp_path):
    values = np.linspace(0, 2**31 - 1, 64).reshape(8, 8).astype(np.int32)
    read = read_image(save(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(read[..., 0], np.rint(np.linspace(0, 255, 64)).reshape(8, 8))


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats_are_scaled_by_the_white_that_holds_them(tmp_path, white):
    values = (RAMP / 65535 * white).astype(np.float32)
    read = read_image(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(read[..., 2], RAMP / 257, atol=0.51)


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("beyond", [1e-6, 0.15], ids=["rounding", "overshoot"])
def test_floats_slightly_beyond_white_are_scaled_by_the_largest(tmp_path, white, beyond):
    values = (RAMP / 65535 * white * (1 + beyond)).astype(np.float32)
    assert values.max() > white
    read = read_image(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(read[..., 2], RAMP / 257, atol=0.51)


def test_floats_of_32_bits_are_no_brighter_than_whole_numbers(tmp_path):
    values = np.linspace(0, 2**30, 64, dtype=np.float32).reshape(8, 8)
    read = read_image(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(read[..., 2].ravel(), np.linspace(0, 127.5, 64), atol=0.51)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_refused(tmp_path, value):
    path = save(tmp_path / "a.tif", np.array([[0, value]], np.float32))
    with pytest.raises(UnreadableImageError, match=r"a\.tif: it holds values that are not finite"):
        read_image(path)


def test_other_colour_spaces_become_rgb(tmp_path):
    pixels = slopes(16, 16)
    Image.fromarray(pixels).convert("YCbCr").save(tmp_path / "a.tif")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), pixels, atol=3)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif")[0, 0], [255, 0, 0])


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


def expected_view(box, size, height, width):
    """Bilinear resizing leaves a linear image linear: its values at the centres of the pixels."""
    left, top, right, bottom = box
    at = (np.arange(size) + 0.5) / size
    red = (left + at * (right - left) - 0.5) * 255 / (width - 1)
    green = (top + at * (bottom - top) - 0.5) * 255 / (height - 1)
    return np.broadcast_to(red[None], (size, size)), np.broadcast_to(green[:, None], (size, size))


@pytest.mark.parametrize(
    "box", [(0, 0, 90, 60), (10, 5, 70, 33), (15, 0, 75, 60), (3, 40, 9, 44), (12.5, 0, 42.5, 30)]
)
@pytest.mark.parametrize("size", [7, 48, 100])
def test_a_view_shows_the_part_in_the_box(tmp_path, box, size):
    picture = open_image(save(tmp_path / "a.png", slopes(60, 90)))
    view = picture.resized_crop(box, size)
    assert view.shape == (size, size, 3)
    assert view.dtype == np.uint8
    red, green = expected_view(box, size, 60, 90)
    # At the border the filter has fewer neighbours.
    inner = slice(1, -1)
    np.testing.assert_allclose(view[inner, inner, 0], red[inner, inner], atol=3)
    np.testing.assert_allclose(view[inner, inner, 1], green[inner, inner], atol=3)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("box", "decoded"),
    [
        ((0, 0, 1001, 801), (251, 201)),
        ((100, 60, 900, 460), (501, 401)),
        ((600, 500, 720, 620), (1001, 801)),
    ],
)
def test_large_jpegs_are_decoded_at_twice_what_is_wanted(tmp_path, box, decoded, orientation):
    path = turned(tmp_path / "a.jpg", slopes(801, 1001), orientation, quality=98)
    picture = open_image(path)
    view = picture.resized_crop(box, 100)
    assert sorted(picture._image.size) == sorted(decoded)
    red, green = expected_view(box, 100, 801, 1001)
    np.testing.assert_allclose(view[2:-2, 2:-2, 0], red[2:-2, 2:-2], atol=3)
    np.testing.assert_allclose(view[2:-2, 2:-2, 1], green[2:-2, 2:-2], atol=3)


def test_a_coarse_view_is_as_good_as_a_full_one(tmp_path):
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    path = tmp_path / "a.jpg"
    rough.resize((1000, 800), Image.Resampling.BICUBIC).save(path, quality=95)
    full = Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)
    view = open_image(path).resized_crop((0, 0, 1000, 800), 64)
    assert np.abs(view.astype(int) - np.asarray(full, int)).mean() < 1.5


def test_a_view_of_the_whole_at_its_own_size_is_untouched(tmp_path):
    pixels = noise(31, 31)
    picture = open_image(save(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(picture.resized_crop((0, 0, 31, 31), 31), pixels)


def test_damage_behind_the_header_shows_in_the_view(tmp_path):
    path = save(tmp_path / "a.jpg", noise(64, 64))
    path.write_bytes(path.read_bytes()[:-600])
    picture = open_image(path)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: .*truncated"):
        picture.resized_crop((0, 0, 64, 64), 8)
