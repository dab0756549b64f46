"""Filters: every figure against sums of our own."""

import json

import numpy as np
import pytest

from minialex import MinialexError, nn
from minialex.models import alexnet
from minialex.study.filters import Filters, filters_of


@pytest.fixture(scope="module")
def model():
    return alexnet("alexnet-mini", 10)


def test_figures_of_each_filter(model):
    found = filters_of(model)
    w = model.features[0].weight.data.astype(np.float64)
    record = json.loads(json.dumps(found.record()))
    assert (record["name"], record["shape"]) == ("features.0", [32, 3, 5, 5])
    for o, one in enumerate(record["filters"]):
        assert (one["filter"], one["first_input"]) == (o, 0)
        assert one["norm"] == pytest.approx(np.linalg.norm(w[o].ravel()))
        assert one["mean"] == pytest.approx(w[o].mean())
        assert (one["min"], one["max"]) == (w[o].min(), w[o].max())
        assert one["zeros"] == 0
    norms = [record["filters"][o]["norm"] for o in found.strongest(32)]
    assert norms == sorted(norms, reverse=True)


def test_colour_is_what_the_mean_of_red_green_and_blue_leaves():
    w = np.zeros((3, 3, 2, 2), np.float32)
    w[0] = np.array([[1, -1], [2, 0]])
    w[1, :, 0, 0] = 1, -1, 0
    w[2, 0] = 1
    colour = Filters("a", "A()", w).colour
    # light and dark alone; colour alone; red alone, of which a third is the mean
    assert colour == pytest.approx([0, 1, 2 / 3])
    assert Filters("a", "A()", np.zeros((1, 3, 2, 2))).colour == pytest.approx([0])
    assert "colour" not in filters_of(alexnet("alexnet-mini", 10), "features.3").record()


def test_filters_of_groups_see_the_channels_of_their_group():
    model = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2))
    found = filters_of(model)
    assert [found.first_input(o) for o in range(4)] == [0, 0, 3, 3]
    # three channels of a group are no colours
    assert not found.is_rgb
    model[0].weight.data[3] = 0
    model[0].weight.data[3, 1] = 2
    model[0].weight.data[3, 2] = -1
    assert found.strongest_inputs(3, 2) == [1, 2]


def test_a_name_that_is_no_convolution(model):
    with pytest.raises(
        MinialexError, match=r"'features\.2' is no convolution; there are: features\.0, "
    ):
        filters_of(model, "features.2")
    with pytest.raises(MinialexError, match="Sequential has no convolution"):
        filters_of(nn.Sequential(nn.Linear(3, 1)))
