import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.train.given import make_settings
from minialex.train.recipes import RECIPES
from minialex.train.settings import DECLARATIONS, RUNTIME_SETTINGS, Settings

WRONG = [
    ("data", ""),
    ("variant", "vgg"),
    ("image_size", 0),
    ("image_size", 5000),
    ("image_size", 64.5),
    ("epochs", 0),
    ("epochs", True),
    ("batch_size", -1),
    ("optimizer", "lbfgs"),
    ("lr", 0.0),
    ("lr", float("nan")),
    ("lr", float("inf")),
    ("lr", "fast"),
    ("momentum", 1.0),
    ("weight_decay", -1e-9),
    ("alpha", 1.5),
    ("eps", 0.0),
    ("schedule", "magic"),
    ("warmup", -1),
    ("lr_step", 0),
    ("lr_gamma", 0.0),
    ("lr_gamma", 2.0),
    ("clip", -1.0),
    ("clip", float("inf")),
    ("freeze", 7),
    ("label_smoothing", 1.0),
    ("class_weights", "heavy"),
    ("dropout", 1.0),
    ("min_crop_area", 0.0),
    ("min_crop_area", 1.1),
    ("max_crop_aspect", 0.9),
    ("flip", -0.1),
    ("brightness", -1.0),
    ("contrast", float("nan")),
    ("saturation", -0.5),
    ("hue", 0.6),
    ("classes", ""),
    ("resize", "pad"),
    ("val_fraction", 0.0),
    ("val_fraction", 1.0),
    ("seed", -1),
    ("seed", 2**64),
    ("skip_unreadable", 1),
    ("pretrained", 7),
    ("out", ""),
    ("precision", "fp8"),
    ("workers", -1),
    ("log_every", 0),
    ("save_minutes", -1.0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_name_with_a_remedy(name, value):
    with pytest.raises(MinialexError, match=rf"^{name} is .*: give ") as caught:
        make_settings(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_whatever_the_range(value):
    numbers = [name for name, declared in DECLARATIONS.items() if declared.kind is float]
    assert {"clip", "eps", "lr", "momentum", "save_minutes", "val_fraction"} <= set(numbers)
    for name in numbers:
        with pytest.raises(MinialexError, match=f"^{name} is {value}: give a finite number$"):
            make_settings(**{name: value})


LIMITS = {
    # what is just allowed, and what is just not
    "epochs": ([1], [0]),
    "batch_size": ([1], [0]),
    "lr": ([1e-300], [0.0]),
    "warmup": ([0], [-1]),
    "lr_step": ([1], [0]),
    "lr_gamma": ([1e-300, 1.0], [0.0, 1.001]),
    "momentum": ([0.0, 0.999], [-0.001, 1.0]),
    "weight_decay": ([0.0], [-0.001]),
    "alpha": ([0.0, 0.999], [-0.001, 1.0]),
    "eps": ([1e-300], [0.0]),
    "clip": ([0.0], [-0.001]),
    "label_smoothing": ([0.0, 0.999], [-0.001, 1.0]),
    "seed": ([0, 2**64 - 1], [-1, 2**64]),
    "image_size": ([1, 4096], [0, 4097]),
    "dropout": ([0.0, 0.999], [-0.001, 1.0]),
    "min_crop_area": ([1e-300, 1.0], [0.0, 1.001]),
    "max_crop_aspect": ([1.0], [0.999]),
    "flip": ([0.0, 1.0], [-0.001, 1.001]),
    "brightness": ([0.0], [-0.001]),
    "contrast": ([0.0], [-0.001]),
    "saturation": ([0.0], [-0.001]),
    "hue": ([0.0, 0.5], [-0.001, 0.501]),
    "val_fraction": ([0.001, 0.999], [0.0, 1.0]),
    "workers": ([0, 256], [-1, 257]),
    "log_every": ([1], [0]),
    "save_minutes": ([0.0], [-0.001]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_number_is_taken_up_to_its_limit_and_not_beyond(name):
    allowed, refused = LIMITS[name]
    for value in allowed:
        assert getattr(Settings(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(MinialexError, match=f"^{name} is {value}: give "):
            Settings(**{name: value})


def test_every_number_has_its_limits_above():
    numbers = {name for name, d in DECLARATIONS.items() if d.kind in (int, float)}
    assert numbers == set(LIMITS)


def test_every_setting_but_device_has_a_wrong_value_above():
    # a device is refused where it is not there, not by its name
    names = {field.name for field in dataclasses.fields(Settings)} - {"device", "recipe"}
    assert names == {name for name, _ in WRONG}


def test_a_whole_number_does_for_a_number_and_keeps_json_alike():
    assert make_settings(lr=1).to_json()["lr"] == 1.0
    assert type(make_settings(lr=1).lr) is float


@given(
    epochs=st.integers(1, 10**6),
    lr=st.floats(1e-12, 1e3),
    recipe=st.sampled_from(list(RECIPES)),
    pretrained=st.none() | st.text(),
    skip_unreadable=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_settings_come_back_from_json_as_they_were(**options):
    settings = make_settings(data="somewhere", **options)
    assert Settings.from_json(json.loads(json.dumps(settings.to_json())), "x.json") == settings


def test_json_with_an_unknown_setting_is_refused():
    with pytest.raises(MinialexError, match=r"x\.json: unknown setting 'batchsize'"):
        Settings.from_json({"batchsize": 3}, "x.json")


def test_an_unknown_setting_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(MinialexError, match=r"unknown setting 'network'.*known: data, .*variant"):
        make_settings(network="alexnet")


def test_json_of_an_older_version_gets_defaults():
    table = make_settings().to_json()
    del table["save_minutes"]
    assert Settings.from_json(table, "x.json").save_minutes == 0


GOLDEN = {
    # of section 3.1 of the article
    **{"epochs": 50, "batch_size": 32, "optimizer": "rmsprop", "lr": 0.001, "momentum": 0.9},
    **{"weight_decay": 0.0005, "lr_step": 256, "lr_gamma": 0.5, "variant": "alexnet"},
    **{"image_size": 227, "workers": None, "log_every": 10},
    **{"classes": None},
    # PyTorch's defaults
    **{"alpha": 0.99, "label_smoothing": 0.0, "dropout": 0.5},
    # torchvision's RandomResizedCrop and RandomHorizontalFlip
    **{"min_crop_area": 0.08, "max_crop_aspect": 4 / 3, "flip": 0.5},
    **{"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    **{"clip": 0.0, "class_weights": "none", "seed": 0, "pretrained": None, "freeze": ""},
    **{"val_fraction": 0.2, "resize": "stretch", "skip_unreadable": False, "out": None},
    **{"precision": "fp32", "device": "auto", "save_minutes": 0.0},
}
GOLDEN_BY_RECIPE = {
    "images": {"eps": 0.03, "schedule": "cosine", "warmup": None},
    "small-images": {
        **{"variant": "alexnet-mini", "image_size": 64, "epochs": 56, "optimizer": "adam"},
        **{"eps": 1e-8, "label_smoothing": 0.1, "schedule": "cosine", "warmup": None},
        **{"min_crop_area": 0.5, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3},
        **{"hue": 0.05},
    },
    "article": {"eps": 1e-8, "lr": 0.01, "schedule": "article", "warmup": 0},
    "digits": {
        **{"variant": "alexnet-mini", "image_size": 64, "epochs": 12, "lr": 0.0003, "eps": 0.003},
        **{"label_smoothing": 0.1, "schedule": "cosine", "warmup": None, "dropout": 0.2},
        **{"min_crop_area": 0.7, "max_crop_aspect": 1.25, "flip": 0.0},
    },
}


class TestRecipes:
    def test_the_digits_have_a_recipe_of_their_own(self):
        assert make_settings().recipe == "digits"
        assert make_settings().variant == "alexnet-mini"
        assert make_settings("images").variant == "alexnet"

    @pytest.mark.parametrize("recipe", RECIPES)
    def test_every_number_of_a_recipe(self, recipe):
        """Networks were trained with these: who changes one trains them anew."""
        s = make_settings(recipe, data="photos")
        names = ("data", "recipe", *GOLDEN)
        assert set(names) | set(GOLDEN_BY_RECIPE[recipe]) == set(DECLARATIONS)
        expected = {"data": "photos", "recipe": recipe, **GOLDEN, **GOLDEN_BY_RECIPE[recipe]}
        assert s.to_json() == expected

    def test_what_is_given_comes_before_the_recipe(self):
        s = make_settings("article", data="photos", lr=0.5, warmup=None)
        assert s.lr == 0.5
        assert s.schedule == "article"

    def test_an_unknown_recipe_is_refused(self):
        with pytest.raises(MinialexError, match=r"recipe is 'soup': give one of digits"):
            make_settings("soup")

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_image_size_is_the_networks_own_unless_given(self, variant):
        own = VARIANTS[variant].image_size
        assert make_settings("images", data="photos", variant=variant).image_size == own
        assert (
            make_settings("images", data="photos", variant=variant, image_size=99).image_size == 99
        )


class TestDifferences:
    def test_where_a_run_computes_makes_no_difference(self):
        here = make_settings("images", data="photos")
        changes = {"out": "x", "device": "cuda:1", "workers": 9, "log_every": 3}
        there = here.replace(**changes, save_minutes=5.0)
        assert set(changes) | {"save_minutes"} == RUNTIME_SETTINGS
        assert here.differences(there) == []
        assert here.result_settings() == there.result_settings()

    def test_what_it_computes_does(self):
        here = make_settings("images", data="photos")
        assert here.differences(here.replace(lr=0.5)) == ["lr: 0.001, not 0.5"]


class TestTransforms:
    def test_training_images_are_cropped_and_flipped_as_set(self):
        t = make_settings(
            "images", image_size=40, min_crop_area=0.5, max_crop_aspect=2.0, flip=0.25,
            brightness=0.1, contrast=0.2, saturation=0.3, hue=0.4,
        ).training_transform()  # fmt: skip
        assert (t.size, t.resize, t.scale, t.ratio) == (40, "random", (0.5, 1.0), (0.5, 2.0))
        assert (t.flip, t.brightness, t.contrast) == (0.25, 0.1, 0.2)
        assert (t.saturation, t.hue) == (0.3, 0.4)

    def test_without_cropping_whole_images_are_seen(self):
        assert make_settings(min_crop_area=1.0).training_transform().resize == "stretch"

    def test_nothing_is_left_to_chance_in_judging(self):
        t = make_settings("images", data="photos", image_size=40, resize="crop").eval_transform()
        assert not t.random
        assert (t.size, t.resize) == (40, "crop")


@pytest.mark.parametrize("value", [10**400, -(10**400), [[1]] * 100])
def test_a_refusal_stays_short(value):
    with pytest.raises(MinialexError, match=r"^lr is .*\.\.\.: give a (finite )?number") as caught:
        make_settings(lr=value)
    assert len(str(caught.value)) < 200
