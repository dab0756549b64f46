"""The learning rate of short runs rises within them, and the run says over how many batches."""

import signal
from dataclasses import replace
from math import cos, pi

import pytest

from minialex.errors import MinialexError
from minialex.kfold.folds import kfold
from minialex.train import resume, train
from minialex.train.factory import warmup_batches
from minialex.train.given import make_settings
from minialex.train.metrics import read_metrics
from tests.small_runs import Listener, checkpoints, kill, small

pytestmark = pytest.mark.usefixtures("no_curves")


def recipes(images, out, **options):
    """Return settings of a small run that leave the warm-up to its recipe."""
    warmup = make_settings("images", data="photos").warmup
    settings = small(images, out=str(out), batch_size=12, **options)
    return replace(settings, warmup=warmup)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run of 10 epochs of 2 batches that was not stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(recipes(images, out, epochs=10, lr=1e-3, log_every=1))


def test_the_rates_of_a_short_run(whole):
    """Up to the last batch of the warm-up, the 2nd of 20; in the middle; at the end."""
    rates = {r.step: r.lr for r in read_metrics(whole.folder)}
    steps = [1, 2, 3, 11, 20]
    cosine = [1e-3 * (1 + cos(pi * (step - 3) / 18)) / 2 for step in steps[2:]]
    assert [rates[step] for step in steps] == pytest.approx([5e-4, 1e-3, *cosine])
    assert max(rates.values()) == rates[2] == rates[3] == 1e-3


@pytest.mark.parametrize(
    ("recipe", "epochs", "batches", "warmup"),
    [
        ("images", 2, 30, 6),
        ("images", 50, 39, 195),
        ("images", 50, 40, 200),
        ("images", 50, 40_000, 200),
        ("images", 1, 9, 0),
        ("digits", 1, 45, 4),
        ("article", 50, 40, 0),
    ],
)
def test_a_recipe_warms_up_over_a_tenth_of_the_run_and_at_most_200(recipe, epochs, batches, warmup):
    settings = make_settings(recipe, data="photos", epochs=epochs)
    assert warmup_batches(settings, batches) == warmup


def test_what_is_given_is_taken_up_to_the_length_of_the_run():
    for given in (0, 7, 60):
        settings = make_settings("images", data="photos", epochs=2, warmup=given)
        assert warmup_batches(settings, 30) == given
    with pytest.raises(MinialexError, match=r"^warmup is 60 batches, but the run has 58 .2 epochs"):
        warmup_batches(settings, 29)


def test_one_that_is_longer_than_the_run_leaves_nothing(images, tmp_path):
    with pytest.raises(MinialexError, match=r"warmup is 11 .* has 10 \(2 epochs of 5\): give"):
        train(small(images, out=str(tmp_path / "run"), warmup=11))
    assert not list(tmp_path.iterdir())


def test_a_run_that_goes_on_ends_with_the_same_bytes(images, whole, tmp_path):
    settings = recipes(images, tmp_path / "run", epochs=10, lr=1e-3, log_every=1)
    train(settings, Listener(("batch", 1), kill(signal.SIGINT)))
    resume(tmp_path / "run")
    assert checkpoints(tmp_path / "run") == checkpoints(whole.folder)


def test_one_that_gets_more_or_fewer_epochs_goes_on_as_a_run_of_so_many(images, tmp_path):
    settings = recipes(images, tmp_path / "run", epochs=5, log_every=1, schedule="constant")
    train(settings, stop_after=1)
    # a tenth of 15 epochs of 2 batches is 3
    resume(tmp_path / "run", epochs=15, stop_after=1)
    outcome = resume(tmp_path / "run", epochs=2, stop_after=1)
    rates = {r.step: r.lr for r in read_metrics(outcome.folder)}
    assert rates == pytest.approx({1: settings.lr, 2: settings.lr * 2 / 3, 3: settings.lr})


def test_folds_have_fewer_batches(images, tmp_path):
    settings = replace(recipes(images, tmp_path / "folds", epochs=10, log_every=1), batch_size=15)
    kfold(settings, 2)
    rates = {r.step: r.lr for r in read_metrics(tmp_path / "folds" / "fold-1")}
    assert (max(rates), rates[1]) == (10, settings.lr)
