"""What the pixels of a file become: RGB in bytes, whatever its mode, depth or colours."""

import numpy as np
import pytest
from PIL import Image

from minialex.data import UnreadableImageError, read_image
from tests.data.pictures import noise, save, slopes


def on_white(colour, alpha):
    return colour * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".tiff"])
def test_rgb_files_come_out_as_they_are(tmp_path, suffix):
    pixels = noise(7, 11)
    read = read_image(save(tmp_path / f"a{suffix}", pixels))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


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
