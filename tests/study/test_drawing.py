"""Drawings: every output is there, and files are what their names say."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Polygon, Rectangle
from PIL import Image

from minialex import MinialexError
from minialex.models import alexnet
from minialex.study import LayerSummary, Summary, drawing, summarise
from minialex.study.drawing import draw_network, save_picture


@pytest.fixture(scope="module")
def mini():
    return draw_network(summarise(alexnet("alexnet-mini", 10)))


def test_the_drawing_names_every_output(mini):
    texts = [text.get_text() for text in mini.axes[0].texts]
    outputs = "32 32x32, 32 15x15, 64 15x15, 64 7x7, 96 7x7, 96 7x7, 64 7x7, 64 3x3"
    assert texts[1:9] == [output.replace(" ", "\n") for output in outputs.split(", ")]
    assert texts[0] == "3\n64x64"
    assert texts[9:12] == ["256", "256", "10"]
    assert "0.46 M parameters" in mini.axes[0].get_title(loc="left")


def test_shares_add_up_to_what_the_layers_have(mini):
    texts = [text.get_text() for text in mini.axes[0].texts]
    # 247,488 of 463,562 parameters are in the convolutions
    assert "convolutions: 53% of parameters" in texts[-2]
    assert "fully connected layers: 47% of parameters" in texts[-1]


def test_a_picture_is_written_in_the_format_of_its_name(mini, tmp_path):
    save_picture(mini, tmp_path / "net.png")
    with Image.open(tmp_path / "net.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 1000
    save_picture(mini, tmp_path / "net.svg")
    assert b"<svg" in (tmp_path / "net.svg").read_bytes()


def test_an_unknown_format_says_which_there_are(mini, tmp_path):
    with pytest.raises(MinialexError, match=r"end its name in \.png, \.svg or \.pdf"):
        save_picture(mini, tmp_path / "net.bmp2")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def blocks():
    """A made-up network's blocks: the corners of front, top and side, and the three colours."""
    rows = [
        LayerSummary("a", "Conv2d(3, 64)", (64, 16, 16), 300, 10**9, 0),
        LayerSummary("b", "ReLU()", (64, 16, 16), 0, 7, 0),
        LayerSummary("c", "MaxPool2d(2)", (64, 4, 4), 0, 10**9, 0),
        LayerSummary("d", "Linear(1024, 256)", (256,), 100, 5 * 10**8, 0),
        LayerSummary("e", "Linear(256, 16)", (16,), 600, 3 * 10**9, 0),
    ]
    axes = draw_network(Summary("made-up", (8, 64, 64), rows, 1000)).axes[0]
    corners = [
        np.asarray(patch.get_xy())[:4] for patch in axes.patches if isinstance(patch, Polygon)
    ]
    colours = [patch.get_facecolor() for patch in axes.patches]
    parts = list(zip(corners, colours, strict=False))
    return axes, [parts[i : i + 3] for i in range(0, len(parts), 3)]


def test_heights_go_with_the_root_of_the_image_and_widths_with_the_logarithm_of_channels(blocks):
    _, (image, conv, pool, *products) = blocks
    sizes = [np.ptp(front, axis=0) for (front, _), *_ in (image, conv, pool)]
    # 64, 16 and 4 pixels; 8, 64 and 64 channels
    assert [size[1] / sizes[0][1] for size in sizes] == pytest.approx([1, 1 / 2, 1 / 4])
    assert [size[0] / sizes[0][0] for size in sizes] == pytest.approx([1, 2, 2])
    assert all(size[0] < size[1] for size in sizes)
    # vectors are as high as their logarithm, and all of one width
    sizes = [np.ptp(front, axis=0) for (front, _), *_ in products]
    assert sizes[0][1] / sizes[1][1] == pytest.approx(8 / 4)
    assert sizes[0][0] == pytest.approx(sizes[1][0])


def test_blocks_stand_side_by_side_about_one_line_within_the_frame(blocks):
    axes, found = blocks
    ends = [(min(p[:, 0].min() for p, _ in b), max(p[:, 0].max() for p, _ in b)) for b in found]
    gaps = [right[0] - left[1] for left, right in itertools.pairwise(ends)]
    assert gaps == pytest.approx([gaps[0]] * 4)
    assert gaps[0] > 0
    middles = [np.mean([front[:, 1].min(), front[:, 1].max()]) for (front, _), *_ in found]
    assert middles == pytest.approx([middles[0]] * 5)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    everything = np.concatenate([points for block in found for points, _ in block])
    assert (everything.min(0) > [left, bottom]).all()
    assert (everything.max(0) < [right, top]).all()
    # what a block's output is stands below its middle
    for text, ((front, _), *_) in zip(axes.texts, found, strict=False):
        assert text.get_position()[0] == pytest.approx(front[:, 0].mean())
        assert bottom < text.get_position()[1] < front[:, 1].min()


def test_a_block_has_a_front_with_its_top_and_side_drawn_back_from_it(blocks):
    for (front, _), (top, _), (side, _) in blocks[1]:
        low_left, low_right, high_right, high_left = front
        assert low_left[1] == low_right[1] < high_right[1] == high_left[1]
        assert low_left[0] == high_left[0] < low_right[0] == high_right[0]
        back = top[2] - high_right
        assert (back > 0).all()
        assert top == pytest.approx(np.array([high_left, high_right, top[2], high_left + back]))
        assert side == pytest.approx(np.array([low_right, low_right + back, top[2], high_right]))


def test_colours_are_those_of_the_kinds_paler_at_top_and_side(blocks):
    names = "image", "Conv2d", "MaxPool2d", "Linear", "Linear"
    for name, ((_, front), (_, top), (_, side)) in zip(names, blocks[1], strict=True):
        assert front == pytest.approx(to_rgba(drawing.COLOURS[name]), abs=1e-6)
        for pale, shade in ((top, 0.75), (side, 0.55)):
            mixed = [1 - shade * (1 - part) for part in front[:3]]
            assert pale[:3] == pytest.approx(mixed)


def test_shares_are_those_of_each_kind_beside_its_colour(blocks):
    axes, _ = blocks
    lines = [text.get_text() for text in axes.texts[-2:]]
    # of 1,000 parameters and 5.5 billion operations and 7
    assert lines == [
        "convolutions: 30% of parameters, 18% of operations",
        "fully connected layers: 70% of parameters, 64% of operations",
    ]
    assert axes.get_title(loc="left") == ("made-up: 0.00 M parameters, 5.50 GFLOPs per image")
    marks = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    for mark, text, kind in zip(marks, axes.texts[-2:], ("Conv2d", "Linear"), strict=True):
        assert mark.get_facecolor() == pytest.approx(to_rgba(drawing.COLOURS[kind]))
        assert text.get_position()[1] == pytest.approx(mark.get_y() + mark.get_height() / 2)
        assert text.get_position()[0] > mark.get_x() + mark.get_width()
    # below the first block
    assert marks[0].get_x() == marks[1].get_x() == blocks[1][0][0][0][:, 0].min()
    assert marks[0].get_y() > marks[1].get_y() + marks[1].get_height()
