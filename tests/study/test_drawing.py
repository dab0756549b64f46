"""Drawings: every output is there, and files are what their names say."""

import pytest
from PIL import Image

from minialex import MinialexError
from minialex.models import alexnet
from minialex.study import summarise
from minialex.study.drawing import draw_network, save_picture


@pytest.fixture(scope="module")
def drawing():
    return draw_network(summarise(alexnet("alexnet-mini", 10)))


def test_the_drawing_names_every_output(drawing):
    texts = [text.get_text() for text in drawing.axes[0].texts]
    outputs = "32 32x32, 32 15x15, 64 15x15, 64 7x7, 96 7x7, 96 7x7, 64 7x7, 64 3x3"
    assert texts[1:9] == [output.replace(" ", "\n") for output in outputs.split(", ")]
    assert texts[0] == "3\n64x64"
    assert texts[9:12] == ["256", "256", "10"]
    assert "0.46 M parameters" in drawing.axes[0].get_title(loc="left")


def test_shares_add_up_to_what_the_layers_have(drawing):
    texts = [text.get_text() for text in drawing.axes[0].texts]
    # 247,488 of 463,562 parameters are in the convolutions
    assert "convolutions: 53% of parameters" in texts[-2]
    assert "fully connected layers: 47% of parameters" in texts[-1]


def test_a_picture_is_written_in_the_format_of_its_name(drawing, tmp_path):
    save_picture(drawing, tmp_path / "net.png")
    with Image.open(tmp_path / "net.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 1000
    save_picture(drawing, tmp_path / "net.svg")
    assert b"<svg" in (tmp_path / "net.svg").read_bytes()


def test_an_unknown_format_says_which_there_are(drawing, tmp_path):
    with pytest.raises(MinialexError, match=r"end its name in \.png, \.svg or \.pdf"):
        save_picture(drawing, tmp_path / "net.bmp2")
    assert not list(tmp_path.iterdir())
