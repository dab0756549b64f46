import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import emulated, reference, using
from minialex.check.cases.routines import COLOURS, draw_jitter
from minialex.data import Crop, Jitter, prepare
from minialex.data.prepare import blocked
from tests.data.pictures import noise


@pytest.fixture(params=["plain", "blocked", "kernel"], autouse=True)
def each_implementation(request):
    with emulated() if request.param == "kernel" else using(prepare=request.param):
        yield


def check(images, jitter):
    y = prepare(images, jitter)
    assert y.dtype == np.float32
    assert y.flags.c_contiguous
    expected = np.empty(y.shape)
    reference.prepare(images, jitter, None, expected)
    np.testing.assert_allclose(y, expected, atol=2e-5)


def test_without_jitter_pixels_are_normalised():
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    y = prepare(images)
    assert (y.min(), y.max()) == (-1.0, 1.0)
    check(images, None)


@given(
    N=st.integers(1, 5), H=st.integers(1, 9), W=st.integers(1, 9), seed=st.integers(0, 2**32 - 1)
)
def test_all_adjustments_in_every_order(N, H, W, seed):
    images = np.random.default_rng(seed).integers(0, 256, (N, H, W, 3), np.uint8)
    check(images, draw_jitter(N, COLOURS, seed))


def test_the_order_of_adjustments_matters():
    images = np.stack([noise(6, 6)] * 2)
    jitter = draw_jitter(2, COLOURS)
    same = {name: getattr(jitter, name)[[0, 0]] for name in COLOURS}
    orders = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    y = prepare(images, Jitter(flip=np.zeros(2, bool), order=orders, **same))
    assert np.abs(y[0] - y[1]).max() > 0.01


def test_a_whole_batch_at_once_gives_what_single_images_give(monkeypatch):
    # in one block, images have different orders
    images = np.stack([noise(5, 7, seed) for seed in range(9)])
    jitter = draw_jitter(9, COLOURS)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", 1)
    single = prepare(images, jitter)
    monkeypatch.setattr(blocked, "BLOCK_BYTES", 1 << 30)
    np.testing.assert_array_equal(prepare(images, jitter), single)
    check(images, jitter)


def test_identity_factors_change_nothing():
    images = noise(8, 8)[None]
    ones, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    jitter = Jitter(
        flip=np.zeros(1, bool), brightness=ones, contrast=ones, saturation=ones, hue=zero,
        order=np.array([[2, 3, 1, 0]]),
    )  # fmt: skip
    np.testing.assert_allclose(prepare(images, jitter), prepare(images), atol=2e-6)


def test_the_result_is_written_where_asked_and_the_images_are_left_alone():
    images = np.stack([noise(4, 5, seed) for seed in range(3)])
    before = images.copy()
    out = np.empty((3, 3, 4, 5), np.float32)
    jitter = draw_jitter(3, COLOURS)
    assert prepare(images, jitter, out=out) is out
    np.testing.assert_array_equal(out, prepare(images, jitter))
    np.testing.assert_array_equal(images, before)


def test_an_empty_batch():
    assert prepare(np.empty((0, 4, 5, 3), np.uint8)).shape == (0, 3, 4, 5)


def test_a_batch_of_another_size_has_other_windows_and_jitter():
    images = np.zeros((2, 4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="jitter is for 3 images, but there are 2"):
        prepare(images, draw_jitter(3, COLOURS))
    with pytest.raises(ValueError, match=r"corners must have the shape \(2, 2\), not \(3, 2\)"):
        prepare(images, crop=Crop(np.zeros((3, 2), np.int32), (2, 2)))


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        (
            ((2, 4, 5, 4), np.uint8),
            None,
            r"images must be \(N, H, W, 3\) of type uint8, not",
        ),
        (((4, 5, 3), np.uint8), None, r"images must be .* not \(4, 5, 3\)"),
        (((2, 4, 5, 3), np.float32), None, "images must be .* not .* of type float32"),
        (((2, 4, 5, 3), np.uint8), ((2, 3, 5, 4), np.float32), r"out must be \(2, 3, 4, 5\)"),
        (((2, 4, 5, 3), np.uint8), ((2, 3, 4, 5), np.float64), "out must be .* of type float32"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(images, out, message):
    with pytest.raises(ValueError, match=message):
        prepare(np.zeros(*images), out=None if out is None else np.zeros(*out))


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (3, 0), (0, 4)])
def test_a_window_outside_its_image_is_refused(corner):
    corners = np.array([(0, 0), corner], np.int32)
    with pytest.raises(ValueError, match=r"window of \(2, 2\) pixels at .* fit into image 1 of"):
        prepare(np.zeros((2, 4, 5, 3), np.uint8), crop=Crop(corners, (2, 2)))


def test_a_window_is_what_is_seen_of_an_image():
    images = np.stack([noise(9, 8, seed) for seed in range(3)])
    corners = np.array([(0, 0), (4, 1), (2, 3)], np.int32)
    windows = np.stack([a[t : t + 5, l : l + 5] for a, (t, l) in zip(images, corners, strict=True)])
    jitter = draw_jitter(3, COLOURS)
    seen = prepare(images, jitter, crop=Crop(corners, (5, 5)))
    np.testing.assert_array_equal(seen, prepare(windows, jitter))
