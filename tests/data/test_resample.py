"""Cropping and resizing: Pillow's filter, rows first, whatever lies outside the crop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minialex.data.resample import crop_and_resize, is_reduced, window
from tests.data.pictures import noise

BITS = 22
SIDES = st.integers(1, 40)


def weights(start, stop, length, size):
    """Return Pillow's fixed-point weights as a matrix (size, length): libImaging/Resample.c."""
    scale = (stop - start) / size
    support = max(scale, 1.0)
    matrix = np.zeros((size, length), np.int64)
    for i in range(size):
        centre = start + (i + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(length, int(centre + support + 0.5))
        w = 1 - np.abs(np.arange(first, last) - centre + 0.5) / support
        w = np.maximum(w, 0)
        matrix[i, first:last] = (w / w.sum() * 2**BITS + 0.5).astype(np.int64)
    return matrix


def resampled(pixels, box, size):
    """Return the definition: along the rows, rounded to bytes, then down the columns."""
    height, width, _ = pixels.shape
    half = 1 << (BITS - 1)
    across, down = (weights(box[a], box[a + 2], n, size) for a, n in ((0, width), (1, height)))
    rows = (np.einsum("jx,yxc->yjc", across, pixels.astype(np.int64)) + half) >> BITS
    return ((np.einsum("iy,yjc->ijc", down, rows) + half) >> BITS).astype(np.uint8)


@st.composite
def crops(draw):
    width, height, size = draw(SIDES), draw(SIDES), draw(st.integers(1, 24))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    half = draw(st.sampled_from((0.0, 0.5)))
    return (width, height), (left + half, top, right - half / 2, bottom), size


@settings(max_examples=60, deadline=None)
@given(crops(), st.integers(0, 9))
def test_a_crop_is_the_filters_definition_whatever_it_is_given_as(crop, seed):
    (width, height), box, size = crop
    if is_reduced(box, (size, size)):
        return
    pixels = noise(height, width, seed)
    expected = resampled(pixels, box, size)
    for image in (pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(crop_and_resize(image, box, (size, size)), expected)


@settings(max_examples=40, deadline=None)
@given(crops(), st.integers(0, 9))
def test_what_lies_outside_the_window_changes_nothing(crop, seed):
    (width, height), box, size = crop
    if is_reduced(box, (size, size)):
        return
    pixels = noise(height, width, seed)
    left, top, right, bottom = window(box, (width, height), (size, size))
    other = noise(height, width, seed + 10)
    other[top:bottom, left:right] = pixels[top:bottom, left:right]
    one, two = (np.asarray(crop_and_resize(x, box, (size, size))) for x in (pixels, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("side", [63, 64])
def test_large_crops_are_averaged_first(side):
    pixels = noise(side, side)
    box = (0, 0, side, side)
    result = np.asarray(crop_and_resize(pixels, box, (16, 16)))
    whole = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR, reducing_gap=2.0)
    assert is_reduced(box, (16, 16)) == (side == 64)
    assert np.array_equal(result, np.asarray(whole)) == (side == 64) or side == 63
    assert np.array_equal(result, resampled(pixels, box, 16)) == (side == 63)
