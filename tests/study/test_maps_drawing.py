"""Pictures of maps and filters: the arrays in them, their scales, their words."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from minialex.study.axis_field import Rectangle
from minialex.study.features import FeatureMaps
from minialex.study.filters import Filters
from minialex.study.maps_drawing import FADED, draw_features, draw_field, draw_filters

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)


@pytest.fixture(scope="module")
def maps():
    x = np.random.default_rng(1).uniform(0, 4, (2, 7, 5, 6)).astype(np.float32)
    x[:, 3] = 0
    return FeatureMaps("features.1", "ReLU()", x)


def words(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def overlapping(figure):
    """Return pairs of texts and images that overlap, as they are drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(t, t.get_window_extent(renderer)) for t in figure.findobj(Text) if t.get_text()]
    boxes += [(a, a.get_window_extent(renderer)) for a in figure.axes]
    frame = figure.bbox
    outside = [b for _, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > frame.x1 or b.y1 > frame.y1]
    assert not outside
    return [
        (a, b)
        for i, (a, one) in enumerate(boxes)
        for b, two in boxes[i + 1 :]
        if one.x0 < two.x1 and two.x0 < one.x1 and one.y0 < two.y1 and two.y0 < one.y1
    ]


def test_maps_are_those_of_the_first_image_each_on_its_own_scale(maps):
    figure = draw_features(maps, [2, 0, 6], PIXELS, "a network", "cat.png")
    image, *drawn = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), PIXELS)
    for axes, c in zip(drawn, [2, 0, 6], strict=True):
        x = maps.maps[0, c]
        np.testing.assert_array_equal(axes.images[0].get_array(), x)
        assert axes.images[0].get_clim() == pytest.approx((0, x.max()))
        assert axes.images[0].get_cmap().name == "gray"
        assert axes.get_title() == f"{c}: {x.max():.3g}"
    assert "3 of 7 channels with the largest mean |x|" in words(figure)
    assert "Black is 0; each map is scaled by itself" in words(figure)
    assert "0 everywhere: 1 channel, 3." in words(figure)
    assert "the first of 2 images" in words(figure)
    assert words(figure).startswith("features.1 ReLU() Of a network. ")
    assert not overlapping(figure)


def test_maps_with_a_sign_are_white_at_zero():
    x = np.random.default_rng(2).normal(size=(1, 2, 4, 4))
    figure = draw_features(FeatureMaps("a", "A()", x), [0, 1], PIXELS, "n", "i")
    for axes, c in zip(figure.axes[1:], (0, 1), strict=True):
        top = np.abs(x[0, c]).max()
        assert axes.images[0].get_clim() == pytest.approx((-top, top))
    assert "White is 0, red above, blue below" in words(figure)
    assert "0 everywhere" not in words(figure)
    assert not overlapping(figure)


def test_a_map_of_zeros_is_black(maps):
    figure = draw_features(maps, [3], PIXELS, "n", "i")
    colours = figure.axes[1].images[0].to_rgba(maps.maps[0, 3])
    assert (colours[..., :3] == 0).all()


def test_units_of_a_vector_stand_in_rows():
    x = np.arange(10, dtype=np.float32).reshape(1, 10, 1, 1)
    figure = draw_features(FeatureMaps("fc", "Linear(3, 10)", x), [9], PIXELS, "n", "i")
    drawn = np.ma.filled(figure.axes[1].images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(drawn, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, np.nan, np.nan]])
    assert "All 10 units, 4 in a row" in words(figure)
    assert not overlapping(figure)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 96])
def test_grids_of_any_size_fit(count):
    w = np.random.default_rng(count).normal(size=(count, 3, 5, 5)).astype(np.float32)
    found = Filters("features.0", "Conv2d(3, 64, 11x11, stride=4, padding=2)", w)
    figure = draw_filters(found, found.strongest(count), "runs/" + "long/" * 30 + "best")
    assert len(figure.axes) == count
    assert not overlapping(figure)
    width, height = figure.get_size_inches()
    assert height < 1.5 * width


def test_filters_over_colours_are_grey_at_zero_and_scaled_to_the_largest():
    w = np.zeros((2, 3, 2, 2), np.float32)
    w[0, 0, 0, 0], w[0, 2, 1, 1] = 0.25, -0.5
    figure = draw_filters(Filters("features.0", "Conv2d(3, 2, 2x2)", w), [0, 1], "n")
    first, blank = (axes.images[0].get_array() for axes in figure.axes)
    assert first[0, 0].tolist() == [0.75, 0.5, 0.5]
    assert first[1, 1].tolist() == [0.5, 0.5, 0.0]
    assert (blank == 0.5).all()
    assert figure.axes[0].get_title() == "0: 0.5"
    assert "grey is 0" in words(figure)


def test_other_filters_show_their_strongest_inputs_on_one_scale_each():
    w = np.random.default_rng(4).normal(size=(4, 3, 3, 3))
    found = Filters("features.3", "Conv2d(6, 4, 3x3, groups=2)", w, 2)
    figure = draw_filters(found, [3, 0], "n")
    assert len(figure.axes) == 6
    for n, o in enumerate([3, 0]):
        row = figure.axes[3 * n : 3 * n + 3]
        order = np.argsort(-np.square(w[o]).sum((1, 2)))
        for axes, c in zip(row, order, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), w[o, c])
            assert axes.get_title() == str(c + (3 if o == 3 else 0))
            assert axes.images[0].get_clim()[1] == np.abs(w[o]).max()
    assert "filter 3" in words(figure)
    assert "2 of 4 filters" in words(figure)
    assert not overlapping(figure)


def test_a_field_is_framed_and_the_rest_of_the_image_faded():
    seen = Rectangle((3, 9), (0, 4))
    figure = draw_field(PIXELS, seen, "features.3[1, 2, 3]", "Conv2d(3, 4, 3x3)", "n", "cat.png")
    (axes,) = figure.axes
    shown, pixels = np.asarray(axes.images[0].get_array()), PIXELS / 255
    np.testing.assert_allclose(shown[3:10, :5], pixels[3:10, :5])
    shown[3:10, :5] = pixels[3:10, :5] = 0
    np.testing.assert_allclose(shown, np.where(pixels, FADED + (1 - FADED) * pixels, shown))
    (frame,) = axes.patches
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (-0.5, 2.5, 5, 7)
    assert "features.3[1, 2, 3] sees rows 3-9, columns 0-4 of the image" in words(figure)
    assert not overlapping(figure)


def test_of_padding_alone_all_is_faded():
    figure = draw_field(PIXELS, Rectangle((0, -1), (0, 4)), "a[0, 0, 0]", "Conv2d()", "n", "i")
    (axes,) = figure.axes
    assert np.asarray(axes.images[0].get_array()).min() >= FADED
    assert not axes.patches
    assert "nothing of the image" in words(figure)


def test_a_long_name_is_cut_at_the_front(maps):
    figure = draw_features(maps, [0], PIXELS, "x" * 200 + "/best", "y" * 200 + ".png")
    assert "xxx/best. 1 of 7" in words(figure)
    assert figure.axes[0].get_title().endswith("yyy.png: 20 x 20 x 3")
    assert not overlapping(figure)
