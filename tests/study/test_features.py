"""Feature maps: every figure against the arrays that hooks of our own see."""

import json

import numpy as np
import pytest

from minialex import MinialexError, nn
from minialex.autograd import Tensor, no_grad
from minialex.models import alexnet
from minialex.study.features import FeatureMaps, feature_maps, find_maps


@pytest.fixture(scope="module")
def model():
    return alexnet("alexnet-mini", 10)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).uniform(-1, 1, (2, 3, 40, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def found(model, images):
    return feature_maps(model, images)


def test_maps_are_the_outputs_of_every_layer(model, images, found):
    seen = {}
    names = {id(m): name for name, m in model.named_modules()}
    layers = [m for m in model.modules() if not list(m.children())]
    handles = [
        m.register_forward_hook(lambda m, _, y: seen.update({names[id(m)]: y.data.copy()}))
        for m in layers
    ]
    model.eval()
    with no_grad():
        model(Tensor(images))
    model.train()
    for handle in handles:
        handle.remove()
    assert [one.name for one in found] == list(seen)
    for one in found:
        np.testing.assert_array_equal(one.maps.reshape(seen[one.name].shape), seen[one.name])
        assert one.maps.ndim == 4


def test_figures_of_each_channel_and_of_the_layer(found):
    one = find_maps(found, "features.4")
    record = json.loads(json.dumps(one.record()))
    assert record["shape"] == [64, 9, 9]
    assert record["images"] == 2
    for c, channel in enumerate(record["channels"]):
        x = one.maps[:, c].astype(np.float64)
        assert channel["channel"] == c
        assert channel["mean"] == pytest.approx(x.mean())
        assert channel["mean_magnitude"] == pytest.approx(np.abs(x).mean())
        assert channel["zeros"] == np.count_nonzero(x == 0) / x.size
        assert (channel["min"], channel["max"]) == (x.min(), x.max())
    assert record["mean"] == pytest.approx(one.maps.mean(dtype=np.float64))
    assert record["zeros"] == pytest.approx((one.maps == 0).mean())
    assert (record["min"], record["max"]) == (one.maps.min(), one.maps.max())


def test_what_is_below_zero_counts_for_strength_and_not_for_the_mean():
    maps = np.zeros((1, 3, 2, 2), np.float32)
    maps[0, 1] = [[-3, 3], [-1, 1]]
    maps[0, 2] = 1
    one = FeatureMaps("a", "A()", maps)
    assert one.mean.tolist() == [0, 0, 1]
    assert one.strength.tolist() == [0, 2, 1]
    assert one.strongest(2) == [1, 2]
    assert one.signed
    assert one.all_zero == [0]


def test_a_channel_that_one_image_wakes_is_not_all_zero():
    maps = np.zeros((2, 2, 1, 1), np.float32)
    maps[1, 0] = 1
    assert FeatureMaps("a", "A()", maps).all_zero == [1]
    assert FeatureMaps("a", "A()", maps[:1]).all_zero == [0, 1]


def test_a_dead_relu_is_found(model, images):
    bias = model.features[3].bias.data
    before = bias.copy()
    bias[[5, 17]] = -1e6
    found = feature_maps(model, images)
    bias[:] = before
    assert set(find_maps(found, "features.4").all_zero) >= {5, 17}
    assert find_maps(found, "features.3").all_zero == []


def test_the_default_is_the_first_relu(found):
    assert find_maps(found).name == "features.1"
    assert find_maps(found[:1]).name == "features.0"


def test_an_unknown_layer_is_answered_with_the_nearest(found):
    with pytest.raises(MinialexError, match=r"unknown layer 'features\.99': did you mean"):
        find_maps(found, "features.99")


def test_the_model_is_left_as_it_was(model, images):
    model.classifier[0].eval()
    before = [m.training for m in model.modules()], model.generator.offset
    feature_maps(model, images)
    assert ([m.training for m in model.modules()], model.generator.offset) == before
    model.train()
    assert not model.has_hooks()


class Twice(nn.Module):
    """A layer that runs twice, over vectors and over images of one axis."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(self.fc(x))


def test_a_layer_that_runs_again_has_a_name_for_each_run():
    found = feature_maps(Twice(), np.ones((2, 4), np.float32))
    assert [(one.name, one.maps.shape) for one in found] == [
        ("fc", (2, 4, 1, 1)),
        ("fc, run 2", (2, 4, 1, 1)),
    ]
    assert not np.array_equal(found[0].maps, found[1].maps)
    (rows, _) = feature_maps(Twice(), np.ones((2, 5, 4), np.float32))
    assert rows.maps.shape == (2, 5, 4, 1)


def test_the_first_layer_that_is_not_finite_is_named(images):
    model = alexnet("alexnet-mini", 10)
    model.features[6].weight.data[0, 0, 0, 0] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(MinialexError, match=r"features\.6 gives numbers that are not finite"),
    ):
        feature_maps(model, images)
