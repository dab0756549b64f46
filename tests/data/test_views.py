"""A part of an image at another size, of which no more is decoded than is needed."""

import numpy as np
import pytest
from PIL import Image

from minialex.data import UnreadableImageError, open_image
from tests.data.pictures import noise, save, slopes, turned


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
