"""Receptive fields: each pixel is poked, and the units that it changes are those that see it."""

import random

import numpy as np
import pytest

from minialex import nn
from minialex.autograd import Tensor, no_grad
from minialex.errors import MinialexError
from minialex.models import alexnet
from minialex.nn.init import blank_weights
from minialex.study import receptive_field, receptive_fields
from minialex.study.network_run import NetworkRun, Target
from minialex.study.receptive_field import seen_by

SIZE = 13, 11


def positive(*layers):
    """Return a network without minus signs: what a pixel adds, nothing takes off again."""
    model = nn.Sequential(*layers).eval()
    for parameter in model.parameters():
        parameter.data[...] = np.abs(parameter.data) + 0.1
    return model


def untrained(variant):
    with blank_weights():
        return alexnet(variant, 2)


def poked(model):
    """Return which units (H, W, *units) each pixel of an image changes."""
    H, W = SIZE
    image = np.random.default_rng(0).uniform(1, 2, (1, 1, H, W)).astype(np.float32)
    pokes = 1e4 * np.eye(H * W, dtype=np.float32).reshape(H * W, 1, H, W)
    with no_grad():
        before, after = (model(Tensor(x)).numpy() for x in (image, image + pokes))
    # a product of another size may be rounded otherwise
    return (np.abs(after - before) > 0.01).reshape(H, W, *before.shape[1:])


def by_arithmetic(field):
    """Return the same of the field of a layer."""
    seen = np.zeros((*SIZE, *field.shape), bool)
    for index in np.ndindex(field.shape):
        units = [range(axis.count) for axis in field.axes]
        if field.grid is not None:
            number = np.ravel_multi_index(index, field.shape)
            units = [[i] for i in np.unravel_index(number, field.grid)[1:]]
        rows, columns = (axis.seen(some) for axis, some in zip(field.axes, units, strict=True))
        seen[(*np.ix_(rows, columns), *index)] = True
    return seen


NETWORKS = {
    "AlexNet's kinds": lambda: positive(
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.LocalResponseNorm(3, 1e-12),
        nn.MaxPool2d(3, stride=2), nn.Conv2d(2, 2, 2, padding=1, groups=2), nn.Dropout(),
    ),
    "sides that differ": lambda: positive(
        nn.Conv2d(1, 2, (3, 2), stride=(1, 3), padding=(2, 0), dilation=(2, 1)),
        nn.AvgPool2d((2, 3), stride=(3, 1), padding=(1, 1)),
    ),
    "windows apart, and cells": lambda: positive(
        nn.Conv2d(1, 1, 2, stride=3), nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(),
    ),
    "the last windows beyond the border": lambda: positive(
        nn.MaxPool2d(2, stride=3, ceil_mode=True), nn.Conv2d(1, 1, 1, padding=1),
    ),
    "fully connected": lambda: positive(
        nn.Conv2d(1, 1, 3, stride=4), nn.Flatten(), nn.Linear(9, 3), nn.ReLU(),
    ),
}  # fmt: skip


def drawn(seed):
    """Return a network of three layers of windows."""
    rng = random.Random(seed)
    layers = []
    for kind in rng.choices((nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d), k=3):
        kernel, stride = rng.randint(1, 3), rng.randint(1, 2)
        window = {"stride": stride, "padding": rng.randint(0, kernel // 2)}
        if kind is nn.Conv2d:
            layers.append(kind(1, 1, kernel, dilation=rng.randint(1, 2), **window))
        else:
            layers.append(kind(kernel, **window))
    return positive(*layers)


@pytest.mark.parametrize("name", [*NETWORKS, *range(6)])
def test_a_unit_changes_with_the_pixels_that_it_sees_and_with_no_other(name):
    model = NETWORKS[name]() if name in NETWORKS else drawn(name)
    field = receptive_fields(model, (1, *SIZE))[-1]
    found = by_arithmetic(field)
    np.testing.assert_array_equal(found, poked(model))
    for index in list(np.ndindex(field.shape))[::5]:
        where = np.argwhere(found[(..., *index)])
        rectangle = field.seen(index)
        if len(where):
            assert (rectangle.rows, rectangle.columns) == tuple(
                zip(where.min(0), where.max(0), strict=True)
            )
        else:
            assert rectangle.is_empty


@pytest.mark.parametrize("variant", ["alexnet", "alexnet-2012", "alexnet-mini"])
def test_away_from_the_border_units_see_what_the_closed_form_says(variant):
    compared = 0
    model = untrained(variant)
    for field in receptive_fields(model.features, (3, *[model.variant.image_size] * 2)):
        for axis in field.axes if field.closed else ():
            form = axis.closed
            for i in range(axis.count):
                first, last = form.start + i * form.stride, form.start + i * form.stride + form.size
                if first >= 0 and last <= axis.pixels:
                    assert axis.seen([i]) == list(range(first, last))
                    compared += 1
    assert compared > 100


def test_the_fields_of_alexnet_are_the_published_ones():
    """Araujo, Norris and Sim 2019: 195 pixels, 32 apart, the first 64 before the image."""
    field = receptive_field(untrained("alexnet-2012").features, "14", (3, 227, 227))
    for form in field.closed:
        assert (form.size, form.stride, form.start) == (195, 32, -64)


def test_rows_that_a_stride_loses_are_named():
    model = untrained("alexnet-2012")
    at_224 = {field.name: field for field in receptive_fields(model, (3, 224, 224))}
    assert at_224["features.0"].lost == (
        "features.0 reads rows 0-222 of 224: 1 row lost; columns likewise"
    )
    # what later layers lose is lost of the image too
    assert str(at_224["classifier.6"].seen((1,))) == "rows 0-218, columns 0-218 of the image"
    assert not receptive_field(model.features[:1], "0", (3, 227, 227)).lost
    # only a layer that reads less itself says so
    assert not at_224["features.1"].lost


@pytest.mark.parametrize(
    ("layer", "size", "said"),
    [
        (nn.MaxPool2d(2, stride=3), (6, 6), "reads 4 of 6 rows: 2 rows lost; columns likewise"),
        (nn.MaxPool2d(2), (5, 6), "reads rows 0-3 of 5: 1 row lost"),
        (nn.MaxPool2d(2), (6, 5), "reads columns 0-3 of 5: 1 column lost"),
        (nn.MaxPool2d(3), (8, 7),
         "reads rows 0-5 of 8: 2 rows lost; columns 0-5 of 7: 1 column lost"),
        (nn.MaxPool2d(2, ceil_mode=True), (5, 5), ""),
        (nn.AdaptiveAvgPool2d(2), (5, 5), ""),
    ],
)  # fmt: skip
def test_what_is_lost_is_counted_by_side(layer, size, said):
    (field,) = receptive_fields(nn.Sequential(layer), (1, *size))
    assert field.lost == (f"0 {said}" if said else "")


def test_a_unit_of_padding_alone_sees_nothing():
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 1, 1, padding=1)), "0", (1, 3, 3))
    assert str(field.seen((0, 0, 2))) == "nothing of the image: padding alone"
    assert str(field.seen((0, 1, 2))) == "row 0, column 1 of the image"
    assert field.seen((0, -1, 2)).is_empty


def test_json_has_closed_forms_losses_and_what_all_see():
    conv, _, linear = receptive_fields(NETWORKS["fully connected"]()[:3], (1, *SIZE))
    assert conv.record() == {
        "size": [3, 3], "stride": [4, 4], "start": [0, 0], "all_see": None,
        "losses": [
            {"side": "row", "size": 13, "read": 9, "lost": 4},
            {"side": "column", "size": 11, "read": 9, "lost": 2},
        ],
    }  # fmt: skip
    seen = {"rows": [0, 10], "columns": [0, 10]}
    unknown = dict.fromkeys(("size", "stride", "start"))
    assert linear.record() == {**unknown, "all_see": seen, "losses": []}


class Joined(nn.Module):
    """A layer beside another: of one, where both see the same, and of none where they do not."""

    def __init__(self, kernel):
        super().__init__()
        self.one = nn.Conv2d(1, 1, 3, padding=1)
        self.other = nn.Conv2d(1, 1, kernel, padding=kernel // 2)
        self.last = nn.ReLU()

    def forward(self, x):
        return self.last(self.one(x) + self.other(x) * 2.0)


class Turned(nn.Module):
    def forward(self, x):
        return x.permute(0, 1, 3, 2)


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        (nn.Sequential(Turned(), nn.ReLU()), (1, 4, 4), "0: what it sees is not known: permute "),
        (Joined(1), (1, 4, 4), "last: what it sees is not known: add joins units that see "),
        (nn.Sequential(nn.Linear(3, 2)), (3,), r"an image has three axes \(C, H, W\), not \(3,\)"),
        (nn.Sequential(nn.Linear(3, 2)), (1, 3, 3), "0: what it sees is not known: linear has no"),
    ],
)
def test_what_is_not_known_is_named(model, shape, said):
    with pytest.raises(MinialexError, match=said):
        receptive_fields(model, shape)


def test_layers_before_one_that_is_not_known_are_known():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), Turned())
    assert str(receptive_field(model, "0", (1, 4, 4)).seen((0, 1, 0))) == (
        "rows 1-3, columns 0-2 of the image"
    )
    with pytest.raises(MinialexError, match="unknown layer '2'"):
        receptive_field(model, "2", (1, 4, 4))
    with pytest.raises(MinialexError, match=r"has no element \[0, 1\]"):
        receptive_field(model, "0", (1, 4, 4)).seen((0, 1))
    with pytest.raises(TypeError, match="give the shape of one image"):
        receptive_fields(model)


def test_ways_that_see_the_same_are_one():
    assert [axis.closed.size for axis in receptive_fields(Joined(3), (1, 5, 5))[-1].axes] == [3, 3]


def test_the_model_is_left_as_it_was():
    model = alexnet("alexnet-mini", 2)
    receptive_fields(model)
    assert model.training
    for module in model.modules():
        assert not vars(module).get("_forward_hooks")


def test_a_number_of_a_run_sees_what_the_layer_does():
    model = positive(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(60, 3))
    run = NetworkRun.of(model, np.ones((1, 1, *SIZE), np.float32))
    field = receptive_field(model, "0", (1, *SIZE))
    assert seen_by(run, Target.of("0[1,2,3]")) == field.seen((1, 2, 3))
    assert seen_by(run, Target.of("0[0,1,2,3]")) == field.seen((1, 2, 3))
    assert str(seen_by(run, Target.of("logits[2]"))) == "rows 0-12, columns 0-10 of the image"
    for text in "0.grad[1,2,3]", "0.weight.grad[0,0,0,0]", "0.weight[0,0,0,0]", "loss[]":
        assert seen_by(run, Target.of(text)) is None
