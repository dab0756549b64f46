import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import Transform, eval_transform
from minialex.data.seeded import uniforms
from minialex.data.transforms import (
    AREAS,
    ASPECTS,
    DRAWS_PER_IMAGE,
    FACTORS,
    FLIP,
    JITTER_ORDER,
    LEFT,
    TOP,
    center_crop,
    random_resized_crop,
)
from minialex.models import VARIANTS

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def rows(N, epoch=0):
    return uniforms(7, epoch, np.arange(N), DRAWS_PER_IMAGE)


def parts(N, size, scale=SCALE, ratio=RATIO):
    boxes = np.array([random_resized_crop(size, u, scale, ratio) for u in rows(N)])
    return boxes, boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


def about_uniform(values, low, high):
    """Whether values spread evenly over a range: no tenth of it is off by six deviations."""
    counts, _ = np.histogram(values, np.linspace(low, high, 11))
    assert counts.sum() == len(values)
    expected = len(values) / 10
    np.testing.assert_allclose(counts, expected, atol=6 * math.sqrt(expected))


sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@given(size=sizes, image=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_a_random_part_lies_inside_and_keeps_to_the_ranges(size, image, epoch):
    (u,) = uniforms(0, epoch, np.array([image]), DRAWS_PER_IMAGE)
    left, top, right, bottom = random_resized_crop(size, u, SCALE, RATIO)
    w, h = right - left, bottom - top
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert all(isinstance(edge, int) for edge in (left, top, right, bottom))
    # Rounding moves each side by half a pixel at most.
    assert (w - 0.5) / (h + 0.5) <= 4 / 3 or w == 1
    assert (w + 0.5) / (h - 0.5) >= 3 / 4 or h == 1


def test_areas_and_shapes_are_drawn_evenly_where_every_part_fits():
    _, w, h = parts(20_000, (4000, 4000), scale=(0.1, 0.5))
    about_uniform(np.clip(w * h / 4000**2, 0.1, 0.5), 0.1, 0.5)
    log = math.log(4 / 3)
    about_uniform(np.clip(np.log(w / h), -log, log), -log, log)


def test_places_are_drawn_evenly_up_to_both_edges():
    # Parts of 2 x 2 pixels of 11 x 6: ten places across, five down.
    boxes, w, h = parts(20_000, (11, 6), scale=(4 / 66, 4 / 66), ratio=(1, 1))
    assert set(w) == set(h) == {2}
    across, down = np.bincount(boxes[:, 0]), np.bincount(boxes[:, 1])
    assert (len(across), len(down)) == (10, 5)
    np.testing.assert_allclose(across, 2000, atol=6 * math.sqrt(2000))
    np.testing.assert_allclose(down, 4000, atol=6 * math.sqrt(4000))
    assert abs(np.corrcoef(boxes[:, 0], boxes[:, 1])[0, 1]) < 6 / math.sqrt(20_000)


def scripted(areas, shapes, top=0.0, left=0.0):
    u = np.zeros(DRAWS_PER_IMAGE)
    u[AREAS], u[ASPECTS], u[20], u[21] = areas, shapes, top, left
    return u


def test_the_first_try_that_fits_is_taken():
    # In 100 x 50, the whole area at shape 1 is 71 x 71, which does not fit; a quarter is 35 x 35.
    areas = [1.0] * 3 + [(0.25 - 0.08) / 0.92] + [0.0] * 6
    u = scripted(areas, [0.5] * 10, top=0.999, left=0.999)
    assert random_resized_crop((100, 50), u, SCALE, RATIO) == (65, 15, 100, 50)


def test_the_ratio_is_width_to_height():
    u = scripted([0.0] * 10, [0.0] * 10)
    assert random_resized_crop((100, 100), u, scale=(0.08, 0.08), ratio=(2.0, 2.0)) == (
        0,
        0,
        40,
        20,
    )


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((100, 10), (43, 0, 56, 10)),  # too wide: 10 * 4/3 wide, in the middle
        ((10, 100), (0, 43, 10, 56)),  # too tall
        ((1, 50), (0, 24, 1, 25)),
        ((110, 100), (0, 0, 110, 100)),  # within the range: the whole image
    ],
)
def test_where_ten_tries_fail_the_middle_is_taken(size, box):
    # A shape of 4/3 or 3/4 at the whole area never fits these.
    u = scripted([1.0] * 10, [0.0 if size[0] > size[1] else 1.0] * 10)
    assert random_resized_crop(size, u, SCALE, RATIO) == box


@given(size=sizes)
def test_the_middle_square(size):
    left, top, right, bottom = center_crop(size)
    assert right - left == bottom - top == min(size)
    assert left == size[0] - right
    assert top == size[1] - bottom


def test_each_way_of_resizing_sees_its_part():
    (u,) = rows(1)
    assert Transform(10, "stretch").box((40, 30), u) == (0, 0, 40, 30)
    assert Transform(10, "crop").box((40, 30), u) == (5, 0, 35, 30)
    assert Transform(10).box((40, 30), u) == random_resized_crop((40, 30), u, SCALE, RATIO)
    narrow = Transform(10, scale=(0.5, 0.6), ratio=(1, 1))
    assert narrow.box((40, 30), u) == random_resized_crop((40, 30), u, (0.5, 0.6), (1, 1))


def test_factors_spread_over_their_ranges():
    jitter = Transform(brightness=0.4, contrast=0.25, saturation=1.5, hue=0.1).jitter(rows(20_000))
    about_uniform(jitter.brightness, np.float32(0.6), np.float32(1.4))
    about_uniform(jitter.contrast, 0.75, 1.25)
    about_uniform(jitter.saturation, 0.0, 2.5)
    about_uniform(jitter.hue, np.float32(-0.1), np.float32(0.1))
    assert jitter.hue.dtype == np.float32


def test_all_orders_are_equally_likely():
    order = Transform(hue=0.1).jitter(rows(24_000)).order
    _, counts = np.unique(order @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == 24
    np.testing.assert_allclose(counts, 1000, atol=6 * math.sqrt(1000))


@pytest.mark.parametrize("flip", [0.5, 0.2, 1.0])
def test_flips_come_as_often_as_asked(flip):
    share = Transform(flip=flip).jitter(rows(20_000)).flip.mean()
    assert abs(share - flip) <= 6 * math.sqrt(flip * (1 - flip) / 20_000)


def test_what_chance_decides_is_unrelated():
    u = rows(20_000)
    related = np.abs(np.corrcoef(u.T) - np.eye(DRAWS_PER_IMAGE))
    assert related.max() < 6 / math.sqrt(20_000)


def test_no_number_decides_two_things():
    uses = (AREAS, ASPECTS, TOP, LEFT, FLIP, FACTORS, JITTER_ORDER)
    numbers = np.arange(DRAWS_PER_IMAGE)
    used = np.concatenate([np.atleast_1d(numbers[use]) for use in uses])
    assert len(used) == len(set(used.tolist())) == 31


def test_what_is_drawn_of_two_images():
    u = np.zeros((2, DRAWS_PER_IMAGE))
    u[:, FLIP] = 0.25, 0.5
    u[0, FACTORS] = 0.0, 0.25, 0.5, 0.75
    u[:, JITTER_ORDER] = [[0.3, 0.1, 0.4, 0.2], [0.0, 0.9, 0.5, 0.5]]
    drawn = Transform(brightness=0.5, contrast=2.0, saturation=0.25, hue=0.5, flip=0.5).jitter(u)
    assert drawn.flip.tolist() == [True, False]
    assert drawn.order.tolist() == [[1, 3, 0, 2], [0, 2, 3, 1]]
    # of 0.5 to 1.5, 0 to 3, 0.75 to 1.25 and -0.5 to 0.5
    assert drawn.brightness.tolist() == [0.5, 0.5]
    assert drawn.contrast.tolist() == [0.75, 0.0]
    assert drawn.saturation.tolist() == [1.0, 0.75]
    assert drawn.hue.tolist() == [0.25, -0.5]
    # chance is below 1: a probability of 0 flips none, and one of 1 all
    u[:, FLIP] = 0.0, 1 - 2.0**-32
    assert not Transform(flip=0.0, hue=0.5).jitter(u).flip.any()
    assert Transform(flip=1.0).jitter(u).flip.all()


def test_images_are_as_large_as_alexnet_takes_them():
    assert Transform().size == VARIANTS["alexnet"].image_size


def test_parameters_at_the_ends_of_their_ranges():
    exact = Transform(1, "random", (1.0, 1.0), (2.0, 2.0), 0.0, hue=0.5)
    assert exact.box((4, 2), np.zeros(DRAWS_PER_IMAGE)) == (0, 0, 4, 2)
    assert Transform(flip=1.0).flip == 1.0


def test_adjustments_that_are_off_are_left_out():
    jitter = Transform(brightness=0.1).jitter(rows(3))
    assert jitter.brightness is not None
    assert jitter.contrast is jitter.saturation is jitter.hue is None
    assert Transform().jitter(rows(3)).brightness is None
    assert Transform(flip=0).jitter(rows(3)) is None


def test_judging_leaves_nothing_to_chance():
    assert not eval_transform(64).random
    assert eval_transform().size == 227
    assert eval_transform(64, "crop").resize == "crop"
    assert Transform().random
    assert Transform(resize="crop").random
    assert Transform(resize="crop", flip=0, hue=0.1).random


def test_numbers_depend_on_seed_epoch_and_image_alone():
    some = uniforms(3, 5, np.array([9, 2, 4]), DRAWS_PER_IMAGE)
    np.testing.assert_array_equal(some[1], uniforms(3, 5, np.arange(10), DRAWS_PER_IMAGE)[2])
    for other in (
        uniforms(4, 5, np.array([9]), DRAWS_PER_IMAGE),
        uniforms(3, 6, np.array([9]), DRAWS_PER_IMAGE),
    ):
        assert not np.isin(some[0], other).any()
    assert len(np.unique(uniforms(3, 5, np.arange(500), DRAWS_PER_IMAGE))) > 15_990


def test_large_seeds_are_told_apart():
    one, other = (uniforms(seed, 0, np.arange(2), DRAWS_PER_IMAGE) for seed in (5, 5 + (1 << 63)))
    assert not np.isin(one, other).any()


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"size": 0}, "size"),
        ({"resize": "squash"}, "resize"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"scale": (0.5, 0.4)}, "scale"),
        ({"scale": (0.5, 1.1)}, "scale"),
        ({"ratio": (0.0, 1.0)}, "ratio"),
        ({"ratio": (2.0, 1.0)}, "ratio"),
        ({"flip": 1.5}, "flip"),
        ({"brightness": -0.1}, "brightness"),
        ({"contrast": -0.1}, "contrast"),
        ({"saturation": -0.1}, "saturation"),
        ({"hue": 0.6}, "hue"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, name):
    with pytest.raises(ValueError, match=f"Transform: {name} must"):
        Transform(**parameters)
