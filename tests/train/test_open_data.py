"""What a run is told of its images before anything is trained."""

import numpy as np
import pytest

from minialex.data.fingerprint import fingerprint
from minialex.errors import MinialexError
from minialex.kfold.evaluation_set import evaluation_set
from minialex.models import alexnet
from minialex.nn.init import blank_weights
from minialex.persistence import Trained
from minialex.train.factory import open_data
from minialex.train.given import make_settings
from tests.small_runs import Listener


@pytest.fixture(scope="module")
def digits():
    listener = Listener()
    return open_data(make_settings(val_fraction=0.25), listener), listener


def test_of_the_digits_a_share_of_each_class_is_kept_for_validation(digits):
    data, listener = digits
    assert listener.calls == [("opened", list("0123456789"), "25 % of each class, split off")]
    assert len(data.train) + len(data.val) == 1797
    counts, kept = (np.bincount(part.targets) for part in (data.train, data.val))
    assert (np.abs(kept - 0.25 * (counts + kept)) <= 0.5).all()
    assert (data.skipped, data.fold, data.split) == ((), None, None)


def test_classes_are_chosen_of_folders_alone():
    with pytest.raises(MinialexError, match="--classes is for a folder of images"):
        open_data(make_settings(classes="classes.txt"))


@pytest.mark.parametrize(
    ("trained_on", "description", "count"),
    [
        ("digits", "validation images of digits", 449),
        # of images that it never saw all are taken
        ("photos", "all images of digits", 1797),
    ],
)
def test_the_digits_to_evaluate_a_network_on(digits, tmp_path, trained_on, description, count):
    data, _ = digits
    parts = data.train, data.val
    train, val = parts if trained_on == "digits" else parts[::-1]
    with blank_weights():
        model = alexnet("alexnet-mini", 10)
    trained = Trained(
        tmp_path / "best.safetensors",
        model,
        tuple("0123456789"),
        make_settings("images", val_fraction=0.25, data=trained_on),
        split=fingerprint(train=train, val=val),
    )
    found = evaluation_set(trained, "digits")
    assert (found.description, len(found.dataset)) == (description, count)
