"""Training a part of a network, and with clipped gradients: it goes on to the last bit too."""

import numpy as np
import pytest

from minialex import Tensor, models, ops
from minialex.autograd.graph import ancestry
from minialex.errors import MinialexError
from minialex.kfold.folds import kfold
from minialex.train import factory, resume, train
from minialex.train.given import make_settings
from minialex.weights import checkpoint
from tests.small_runs import Listener, checkpoints, small

pytestmark = pytest.mark.usefixtures("no_curves")


def mini(freeze):
    model = models.alexnet("alexnet-mini", num_classes=3, seed=1)
    factory.freeze(model, freeze)
    return model


def trained(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_blocks_layers_and_parameters_by_name():
    names = trained(mini(""))
    assert trained(mini("features")) == [n for n in names if n.startswith("classifier.")]
    # features.10 is another layer
    left = trained(mini("features.10, classifier.6.bias"))
    assert left == [n for n in names if n[:12] != "features.10." and n != "classifier.6.bias"]
    assert len(left) == len(names) - 3


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (
            "feature",
            "freeze is 'feature': unknown part of alexnet-mini 'feature': did you mean 'features'",
        ),
        ("classifier.6.bais", "did you mean 'classifier.6.bias'"),
        ("nothing", "known: features, classifier, features.0, .*, classifier.6.weight, "),
        ("features,", "freeze is 'features,', where a name is missing: give one on both sides"),
        ("features.1", "unknown part of alexnet-mini 'features.1': did you mean"),
        ("classifier,features", "which leaves nothing to train: give less"),
    ],
)
def test_what_cannot_be_frozen_is_refused_before_anything_is_written(
    freeze, message, images, tmp_path
):
    with pytest.raises(MinialexError, match=message):
        train(small(images, out=str(tmp_path / "run"), freeze=freeze))
    assert not list(tmp_path.iterdir())


def test_no_backward_runs_for_frozen_first_layers():
    model = mini("features")
    x = Tensor(np.zeros((2, 3, 64, 64), np.float32))
    loss = ops.cross_entropy(model(x), np.array([0, 1]))
    ran = [node.name for node in ancestry([loss.node])]
    assert "linear" in ran
    assert not {"conv2d", "max_pool2d"} & set(ran)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run with frozen features and clipped gradients that was not stopped."""
    out, listener = tmp_path_factory.mktemp("whole") / "run", Listener()
    train(small(images, out=str(out), freeze="features", clip=0.5), listener)
    return out, listener


def test_what_is_frozen_stays_and_is_saved(whole):
    out, listener = whole
    first = models.alexnet("alexnet-mini", num_classes=3, dropout=0.5, seed=0).state_dict()
    saved = checkpoint.load(out / "last.safetensors")
    for name, x in saved.parameters.items():
        assert np.array_equal(x, first[name]) is name.startswith("features."), name
    state = saved.optimizer_state["square_avg"]
    assert set(state) == {name for name in first if name.startswith("classifier.")}
    [plan] = listener.of("started")
    assert plan.parameters == sum(x.size for x in first.values())
    assert plan.trained_parameters == sum(x.size for x in state.values())


def test_it_goes_on_to_the_last_bit(whole, images, tmp_path):
    train(small(images, out=str(tmp_path / "run"), freeze="features", clip=0.5), stop_after=3)
    resume(tmp_path / "run")
    assert checkpoints(tmp_path / "run") == checkpoints(whole[0])


def test_clipping_changes_a_run(whole, images, tmp_path):
    """And so it is not forgotten on its way."""
    outcome = train(small(images, out=str(tmp_path / "run"), freeze="features"))
    last, clipped = (
        checkpoint.load(folder / "last.safetensors").parameters["classifier.6.weight"]
        for folder in (outcome.folder, whole[0])
    )
    assert (last != clipped).any()


def test_folds_and_pretrained_weights(whole, images, tmp_path):
    first = whole[0] / "best.safetensors"
    options = {"freeze": "features", "epochs": 1, "pretrained": str(first)}
    kfold(small(images, out=str(tmp_path), **options), 2)
    given = checkpoint.load(first).parameters
    for fold in "fold-1", "fold-2":
        got = checkpoint.load(tmp_path / fold / "last.safetensors").parameters
        for name, x in got.items():
            assert np.array_equal(x, given[name]) is name.startswith("features."), name


# Options that would be ignored --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"optimizer": "adam", "momentum": 0.5},
            "momentum is used with optimizer rmsprop or sgd",
        ),
        ({"optimizer": "sgd", "alpha": 0.5}, "alpha is used with optimizer rmsprop, not with sgd"),
        ({"optimizer": "sgd", "eps": 0.5}, "eps is used with optimizer rmsprop or adam, not with"),
        (
            {"lr_step": 3},
            "lr_step is used with schedule step, not with cosine: leave it",
        ),
        ({"recipe": "article", "lr_gamma": 0.3}, "lr_gamma is used with .* not with article"),
        ({"min_crop_area": 1.0, "max_crop_aspect": 2.0}, "max_crop_aspect is of random crops"),
    ],
)
def test_what_would_be_ignored_is_refused(given, message):
    with pytest.raises(MinialexError, match=message):
        make_settings(**{"recipe": "images", **given})


def test_what_a_recipe_has_is_not_given():
    for recipe in "images", "digits":
        settings = make_settings(recipe, optimizer="sgd", min_crop_area=1.0)
        assert (settings.eps, settings.momentum) != (1e-8, 0)
    assert make_settings(schedule="step", lr_step=3, lr_gamma=0.3).lr_step == 3


def test_a_run_is_resumed_on_its_settings_whatever_they_ignore(images, tmp_path):
    settings = small(images, out=str(tmp_path / "run"), optimizer="adam", epochs=1)
    train(settings, stop_after=1)
    outcome = resume(tmp_path / "run")
    assert outcome.finished
    state = checkpoint.load(outcome.checkpoint).manifest["optimizer"]
    assert set(state["param_steps"]) == {outcome.step}
    assert state["param_groups"][0]["betas"] == [0.9, 0.999]
