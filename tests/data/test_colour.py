import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import Jitter, prepare
from minialex.data import colour as module
from tests.data.pictures import noise

GREY = (0.2989, 0.587, 0.114)


def clamp(pixels):
    return [[min(max(v, 0.0), 1.0) for v in pixel] for pixel in pixels]


def grey(pixel):
    return sum(w * v for w, v in zip(GREY, pixel, strict=True))


def brightness(pixels, f):
    return clamp([[f * v for v in pixel] for pixel in pixels])


def contrast(pixels, f):
    mean = sum(map(grey, pixels)) / len(pixels)
    return clamp([[f * v + (1 - f) * mean for v in pixel] for pixel in pixels])


def saturation(pixels, f):
    return clamp([[f * v + (1 - f) * grey(pixel) for v in pixel] for pixel in pixels])


def hue(pixels, f):
    turned = []
    for pixel in pixels:
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        turned.append(list(colorsys.hsv_to_rgb((h + f) % 1.0, s, v)))
    return turned


STEPS = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}


def definition(image, jitter, row):
    """One image as `prepare` should give it, pixel by pixel in Python's floats."""
    H, W, _ = image.shape
    pixels = [[v / 255 for v in pixel] for pixel in image.reshape(-1, 3).tolist()]
    for number in jitter.order[row] if jitter else ():
        name = list(STEPS)[number]
        factors = getattr(jitter, name)
        if factors is not None:
            pixels = STEPS[name](pixels, float(factors[row]))
    y = (np.array(pixels).reshape(H, W, 3).transpose(2, 0, 1) - 0.5) / 0.5
    return y[:, :, ::-1] if jitter and jitter.flip[row] else y


def draw(N, names, seed=0):
    rng = np.random.default_rng(seed)
    extents = (0.2, 1.8), (0.2, 1.8), (0.0, 2.5), (-0.5, 0.5)
    ranges = dict(zip(STEPS, extents, strict=True))
    factors = {
        name: rng.uniform(*extent, N).astype(np.float32) if name in names else None
        for name, extent in ranges.items()
    }
    order = np.stack([rng.permutation(4) for _ in range(N)])
    return Jitter(flip=rng.random(N) < 0.5, order=order, **factors)


def check(images, jitter):
    y = prepare(images, jitter)
    assert y.dtype == np.float32
    assert y.flags.c_contiguous
    expected = np.stack([definition(image, jitter, i) for i, image in enumerate(images)])
    np.testing.assert_allclose(y, expected, atol=2e-5)


def special():
    """Every corner and many edges of the colour cube, where hue has its kinks and ties."""
    levels = [0, 1, 127, 128, 254, 255]
    colours = [(r, g, b) for r in levels for g in levels for b in levels]
    return np.array(colours, np.uint8).reshape(1, 12, 18, 3)


def test_without_jitter_pixels_are_normalised():
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    y = prepare(images)
    assert (y.min(), y.max()) == (-1.0, 1.0)
    check(images, None)


@pytest.mark.parametrize("names", [(), *((name,) for name in STEPS), tuple(STEPS)])
def test_each_adjustment_agrees_with_its_definition(names):
    images = np.stack([noise(5, 7, seed) for seed in range(6)])
    check(images, draw(6, names))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", range(5))
def test_the_corners_of_the_colour_cube(name, seed):
    check(special(), draw(1, (name,), seed))


@given(
    N=st.integers(1, 5), H=st.integers(1, 9), W=st.integers(1, 9), seed=st.integers(0, 2**32 - 1)
)
def test_all_adjustments_in_every_order(N, H, W, seed):
    images = np.random.default_rng(seed).integers(0, 256, (N, H, W, 3), np.uint8)
    check(images, draw(N, tuple(STEPS), seed))


def test_the_order_of_adjustments_matters():
    images = np.stack([noise(6, 6)] * 2)
    jitter = draw(2, tuple(STEPS))
    same = {name: getattr(jitter, name)[[0, 0]] for name in STEPS}
    orders = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    y = prepare(images, Jitter(flip=np.zeros(2, bool), order=orders, **same))
    assert np.abs(y[0] - y[1]).max() > 0.01


def test_a_whole_batch_at_once_gives_what_single_images_give(monkeypatch):
    # A GPU takes the batch in one block, in which images have different orders.
    images = np.stack([noise(5, 7, seed) for seed in range(9)])
    jitter = draw(9, tuple(STEPS))
    monkeypatch.setattr(module, "CACHED_VALUES", 1)
    single = prepare(images, jitter)
    monkeypatch.setattr(module, "CACHED_VALUES", 1 << 30)
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
    jitter = draw(3, tuple(STEPS))
    assert prepare(images, jitter, out=out) is out
    np.testing.assert_array_equal(out, prepare(images, jitter))
    np.testing.assert_array_equal(images, before)


def test_an_empty_batch():
    assert prepare(np.empty((0, 4, 5, 3), np.uint8)).shape == (0, 3, 4, 5)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    cupy = pytest.importorskip("cupy")
    images = np.stack([noise(15, 17, seed) for seed in range(40)])
    jitter = draw(40, tuple(STEPS))
    y = prepare(cupy.asarray(images), jitter)
    np.testing.assert_allclose(y.get(), prepare(images, jitter), atol=1e-5)
