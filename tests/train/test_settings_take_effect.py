"""What settings change of a run."""

import numpy as np
import pytest

from minialex.persistence import load_trained
from minialex.train import train
from minialex.train.factory import open_data
from minialex.train.loop import Trainer
from minialex.weights import checkpoint
from tests.small_runs import CLASSES, Listener, small, write_images

pytestmark = pytest.mark.usefixtures("no_curves")


def one_epoch(images, folder, **options):
    train(small(images, out=str(folder), epochs=1, **options))
    return checkpoint.load(folder / "last.safetensors")


@pytest.fixture(scope="module")
def usual(images, tmp_path_factory):
    return one_epoch(images, tmp_path_factory.mktemp("usual") / "run")


class TestSettingsTakeEffect:
    @pytest.mark.parametrize(
        "changed",
        [
            {"optimizer": "sgd"},
            {"optimizer": "adam"},
            {"momentum": 0.5},
            {"weight_decay": 0.1},
            {"alpha": 0.9},
            {"eps": 0.1},
            {"lr": 1e-3},
            {"schedule": "step", "lr_step": 2},
            {"warmup": 0},
            {"label_smoothing": 0.2},
            {"dropout": 0.0},
            {"min_crop_area": 1.0},
            {"max_crop_aspect": 1.0},
            {"flip": 1.0},
            {"hue": 0.5},
            {"brightness": 0.5},
            {"seed": 1},
        ],
        ids=lambda changed: "-".join(changed),
    )
    def test_each_changes_the_weights(self, images, tmp_path, usual, changed):
        other = one_epoch(images, tmp_path / "run", **changed)
        name = "features.0.weight"
        assert not np.array_equal(usual.parameters[name], other.parameters[name])

    @pytest.mark.equal_bits
    def test_the_same_settings_give_the_same_bytes(self, images, tmp_path, usual):
        again = one_epoch(images, tmp_path / "run")
        assert again.path.read_bytes() == usual.path.read_bytes()

    def test_classes_of_few_images_count_more_when_balanced(self, tmp_path):
        root = write_images(tmp_path / "uneven", each=4)
        write_images(tmp_path / "more", each=12)
        for path in (tmp_path / "more" / "red").iterdir():
            path.rename(root / "red" / f"more-{path.name}")
        settings = small(root, class_weights="balanced")
        (tmp_path / "run").mkdir()
        trainer = Trainer(settings, open_data(settings), tmp_path / "run")
        counts = np.bincount(trainer.state.data.train.targets)
        assert counts.tolist() == [3, 3, 13]
        np.testing.assert_allclose(trainer.step.weight, 19 / (3 * counts), rtol=1e-6)
        even = one_epoch(root, tmp_path / "usual")
        balanced = one_epoch(root, tmp_path / "balanced", class_weights="balanced")
        assert not np.array_equal(
            even.parameters["classifier.6.bias"], balanced.parameters["classifier.6.bias"]
        )

    def test_pretrained_weights_are_where_it_starts(self, images, tmp_path, usual):
        settings = small(images, pretrained=str(usual.path))
        (tmp_path / "run").mkdir()
        trainer = Trainer(settings, open_data(settings), tmp_path / "run")
        given = load_trained(usual.path).model.state_dict()
        for name, x in trainer.state.model.state_dict().items():
            np.testing.assert_array_equal(x, given[name])
        assert trainer.notes == []

    def test_pretrained_weights_for_other_classes_lose_their_last_layer(self, tmp_path, usual):
        two = write_images(tmp_path / "two", classes=CLASSES[:2])
        settings = small(two, pretrained=str(usual.path))
        (tmp_path / "run").mkdir()
        trainer = Trainer(settings, open_data(settings), tmp_path / "run")
        (note,) = trainer.notes
        assert "classifier.6, is replaced" in note
        assert trainer.state.model.classifier[6].weight.shape == (2, 256)

    def test_bad_images_are_skipped_counted_and_named(self, tmp_path):
        root = write_images(tmp_path / "images")
        (root / "red" / "03.png").write_bytes(b"not a picture")
        listener = Listener()
        train(small(root, out=str(tmp_path / "again"), epochs=1, skip_unreadable=True), listener)
        (message,) = listener.of("message")
        listed = tmp_path / "again" / "skipped.txt"
        assert message.startswith(
            f"skipped 1 image that cannot be read, listed in {listed}: {root}"
        )
        assert message.endswith("red/03.png")
        assert listed.read_text().startswith(f"{root / 'red' / '03.png'}: ")
        (plan,) = listener.of("started")
        assert plan.train_images + plan.val_images == 29
        assert listener.of("checking")[-1] == (6, 6)
