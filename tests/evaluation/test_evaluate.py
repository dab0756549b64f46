import csv
import io
import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from safetensors.numpy import save_file
from sklearn import metrics as sk

from minialex.autograd import Tensor
from minialex.data import DataLoader, Digits, Subset, eval_transform
from minialex.errors import MinialexError
from minialex.evaluation.confusion import (
    classes_table,
    confusion_picture,
    confusion_table,
    write_evaluation,
)
from minialex.evaluation.evaluate import Evaluation, NonFiniteOutputsError, evaluate, target_rank
from minialex.kfold.evaluation_set import evaluation_set
from minialex.models import alexnet
from minialex.nn import Module
from minialex.ops import cross_entropy
from minialex.persistence import load_trained, save
from minialex.train import train
from tests.small_runs import CLASSES, small, write_images


class Oracle(Module):
    """Gives logits that were written down, in order."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.at, self.modes = logits.astype(np.float32), 0, []

    def forward(self, x):
        self.modes.append(self.training)
        rows = self.logits[self.at : self.at + len(x)]
        self.at += len(x)
        return Tensor(rows)


@pytest.fixture(scope="module")
def digits():
    return Digits()


def first_images(digits, n):
    """Return `n` of the digits, spread over the classes."""
    return Subset(digits, np.arange(n) * 7 % len(digits))


def evaluation_of(digits, logits, batch_size=8):
    loader = DataLoader(first_images(digits, len(logits)), batch_size, eval_transform(8), workers=0)
    return evaluate(Oracle(logits), loader)


class TestFigures:
    @given(
        logits=hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(10)),
                          elements=st.floats(-5, 5, width=16)),
        batch_size=st.integers(1, 50),
    )  # fmt: skip
    def test_they_are_scikit_learns(self, digits, logits, batch_size):
        targets = first_images(digits, len(logits)).targets
        predicted = logits.argmax(axis=1)
        e = evaluation_of(digits, logits, batch_size)
        np.testing.assert_array_equal(
            e.confusion, sk.confusion_matrix(targets, predicted, labels=range(10))
        )
        assert e.confusion.dtype == np.int64
        wanted = sk.precision_recall_fscore_support(
            targets, predicted, labels=range(10), zero_division=0
        )
        got = [(c.precision / 100, c.recall / 100, c.f1 / 100, c.support) for c in e.per_class()]
        np.testing.assert_allclose(np.array(got).T, np.array(wanted), rtol=1e-12)
        assert e.accuracy == pytest.approx(100 * sk.accuracy_score(targets, predicted))
        assert e.loss == pytest.approx(cross_entropy(Tensor(logits), targets).item(), rel=1e-4)

    def test_top_5_against_a_sort(self, digits):
        logits = np.random.default_rng(0).normal(size=(60, 10))
        e = evaluation_of(digits, logits)
        best = np.argsort(-logits, axis=1)[:, :5]
        right = (best == first_images(digits, 60).targets[:, None]).any(axis=1)
        assert 0 < e.top5_correct == right.sum() < 60
        assert e.top5_accuracy == 100 * right.sum() / 60

    def test_equal_logits_are_no_credit(self):
        logits = np.zeros((3, 8), np.float32)
        assert target_rank(logits, np.array([0, 4, 7])).tolist() == [0, 4, 7]

    def test_percent_with_two_decimals_where_shown(self):
        shown = Evaluation(("cat", "dog"), 0.1234567, np.array([[5, 3], [1, 2]]), 10).to_json()
        assert json.loads(json.dumps(shown)) == {
            "images": 11, "correct": 7, "accuracy": 63.64, "top5_accuracy": 90.91,
            "loss": 0.1234567,
            "classes": [
                {"name": "cat", "precision": 83.33, "recall": 62.5, "f1": 71.43, "support": 8},
                {"name": "dog", "precision": 40.0, "recall": 66.67, "f1": 50.0, "support": 3},
            ],
            "confusion": [[5, 3], [1, 2]],
        }  # fmt: skip


class TestHow:
    def test_nothing_drops_and_the_mode_is_as_before(self, digits):
        loader = DataLoader(first_images(digits, 5), 2, eval_transform(8), workers=0)
        for mode in (True, False):
            model = Oracle(np.zeros((5, 10)))
            model.train(mode)
            evaluate(model, loader)
            assert model.modes == [False] * 3
            assert model.training is mode

    def test_the_mode_is_as_before_after_an_error_too(self, digits):
        model = Oracle(np.zeros((5, 3)))
        with pytest.raises(ValueError, match=r"gives \(3,\) outputs per image, but .* 10 classes"):
            evaluate(model, DataLoader(first_images(digits, 5), 5, eval_transform(8), workers=0))
        assert model.training

    def test_progress(self, digits):
        heard = []
        loader = DataLoader(first_images(digits, 5), 2, eval_transform(8), workers=0)
        evaluate(Oracle(np.zeros((5, 10))), loader, lambda *counts: heard.append(counts))
        assert heard == [(2, 5), (4, 5), (5, 5)]

    def test_no_images(self, digits):
        with pytest.raises(MinialexError, match="no images to evaluate on"):
            evaluation_of(digits, np.zeros((0, 10)))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_outputs_that_are_not_finite_are_no_result(self, digits, value):
        logits = np.zeros((20, 10))
        logits[17, 3] = value
        with pytest.raises(NonFiniteOutputsError, match="outputs are not finite"):
            evaluation_of(digits, logits)


@pytest.fixture
def made_up():
    confusion = np.array([[8, 2, 0], [1, 6, 0], [0, 0, 0]])
    return Evaluation(("a,b", "c$d", "empty"), 0.5, confusion, 17)


class TestTables:
    def test_the_confusion_matrix(self, made_up):
        rows = list(csv.reader(io.StringIO(confusion_table(made_up))))
        assert rows[0] == ["true\\predicted", "a,b", "c$d", "empty"]
        assert rows[1:] == [
            ["a,b", "8", "2", "0"],
            ["c$d", "1", "6", "0"],
            ["empty", "0", "0", "0"],
        ]

    def test_the_classes(self, made_up):
        rows = list(csv.DictReader(io.StringIO(classes_table(made_up))))
        assert rows[0] == {
            "class": "a,b", "precision": "88.89", "recall": "80.00", "f1": "84.21", "images": "10"
        }  # fmt: skip
        assert rows[2] == {
            "class": "empty", "precision": "0.00", "recall": "0.00", "f1": "0.00", "images": "0"
        }  # fmt: skip

    def test_the_files(self, made_up, tmp_path):
        files = write_evaluation(made_up, tmp_path / "new" / "folder")
        assert {p.name for p in files} == {p.name for p in (tmp_path / "new" / "folder").iterdir()}
        assert json.loads(files[0].read_text()) == made_up.to_json()
        with Image.open(tmp_path / "new" / "folder" / "confusion.png") as picture:
            picture.load()
            assert picture.format == "PNG"


class TestPicture:
    @pytest.mark.parametrize("classes", [2, 10, 26, 130])
    def test_names_do_not_overlap(self, classes):
        rng = np.random.default_rng(0)
        confusion = rng.integers(0, 9, (classes, classes)) + 90 * np.eye(classes, dtype=int)
        names = tuple(f"class number {i}" for i in range(classes))
        figure = confusion_picture(Evaluation(names, 0.1, confusion, 0))
        FigureCanvasAgg(figure).draw()
        axes = figure.axes[0]
        for labels, side in ((axes.get_xticklabels(), "x"), (axes.get_yticklabels(), "y")):
            boxes = [label.get_window_extent() for label in labels]
            spans = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
            assert all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(spans))
        width, height = figure.get_size_inches() * figure.dpi
        assert max(width, height) < 3000

    def test_few_classes_show_their_numbers_where_they_belong(self, made_up):
        axes = confusion_picture(made_up).axes[0]
        # across: what was predicted; down: the true class
        shown = {t.get_position(): t.get_text() for t in axes.texts}
        assert shown == {(0, 0): "8", (1, 0): "2", (0, 1): "1", (1, 1): "6"}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
        assert axes.get_title() == "82.35 % of 17 images correct"

    @pytest.mark.parametrize(
        ("C", "labelled", "numbers"), [(25, 25, 25), (26, 26, 0), (121, 61, 0)]
    )
    def test_each_label_is_at_its_class(self, C, labelled, numbers):
        names = tuple(f"class {i}" for i in range(C))
        axes = confusion_picture(Evaluation(names, 0.1, np.eye(C, dtype=int), C)).axes[0]
        for ticks, labels in (
            (axes.get_xticks(), axes.get_xticklabels()),
            (axes.get_yticks(), axes.get_yticklabels()),
        ):
            assert len(ticks) == labelled
            assert [label.get_text() for label in labels] == [f"class {i}" for i in ticks]
        assert len(axes.texts) == numbers

    def test_a_long_name_is_cut_to_24_characters(self):
        names = ("a" * 24, "b" * 25)
        axes = confusion_picture(Evaluation(names, 0.1, np.eye(2, dtype=int), 2)).axes[0]
        assert [t.get_text() for t in axes.get_xticklabels()] == [names[0], "b" * 23 + "…"]

    def test_the_scale_says_which_share_a_colour_is(self, made_up):
        axes, bar = confusion_picture(made_up).axes
        assert axes.images[0].get_clim() == (0, 1)
        shares = [f"{100 * tick**2:.0f} %" for tick in bar.get_yticks()]
        assert [label.get_text() for label in bar.get_yticklabels()] == shares
        assert shares == ["0 %", "1 %", "10 %", "25 %", "50 %", "100 %"]

    def test_a_row_is_as_dark_as_its_share(self, made_up):
        image = confusion_picture(made_up).axes[0].images[0].get_array()
        np.testing.assert_allclose(image[0], np.sqrt([0.8, 0.2, 0]))
        np.testing.assert_allclose(image[2], 0)


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minialex.train.run.draw_curves", lambda *_: None)
        return train(small(images, out=str(tmp_path_factory.mktemp("run") / "run"), epochs=1))


class TestTrained:
    def test_classes_and_sizes_come_from_the_checkpoint(self, run):
        trained = load_trained(run.checkpoint, device="cpu")
        assert trained.classes == CLASSES
        assert trained.settings.image_size == 32
        assert trained.settings.variant == trained.model.variant.name == "alexnet-mini"
        assert not trained.model.training

    def test_a_runs_folder_stands_for_its_best_checkpoint(self, run):
        assert load_trained(run.folder, device="cpu").path == run.best_checkpoint

    def test_or_its_last_where_there_is_no_best(self, run, tmp_path):
        shutil.copy(run.checkpoint, tmp_path)
        assert load_trained(tmp_path, device="cpu").path == tmp_path / "last.safetensors"

    def test_a_folder_without_checkpoints(self, tmp_path):
        with pytest.raises(MinialexError, match="there is no checkpoint in"):
            load_trained(tmp_path)

    def test_another_network(self, run):
        with pytest.raises(MinialexError, match="checkpoint of 'alexnet-mini', not of 'alexnet'"):
            load_trained(run.checkpoint, variant="alexnet")

    def test_weights_from_elsewhere_know_only_how_many_classes(self, tmp_path):
        model = alexnet("alexnet-mini", 7)
        save_file(model.state_dict(), tmp_path / "weights.safetensors")
        trained = load_trained(tmp_path / "weights.safetensors", variant="alexnet-mini")
        assert trained.classes == ()
        assert trained.model.num_classes == 7
        assert trained.settings.image_size == 64
        for name, x in trained.model.state_dict().items():
            np.testing.assert_array_equal(x, model.state_dict()[name])


class TestEvaluationSet:
    def test_what_knows_no_images_asks_for_some(self, tmp_path):
        path = tmp_path / "saved.safetensors"
        save(alexnet("alexnet-mini", 2), path, classes=("cat", "dog"))
        message = "does not say which images it was trained on: name some as DATA"
        with pytest.raises(MinialexError, match=rf"^{path} {message}$"):
            evaluation_set(load_trained(path, device="cpu"))

    def test_the_validation_images_of_what_it_was_trained_on(self, run, images):
        trained = load_trained(run.checkpoint, device="cpu")
        found = evaluation_set(trained)
        assert len(found.dataset) == 6
        assert found.description == f"validation images of {images}"
        assert len(evaluation_set(trained, str(images / ".." / "images")).dataset) == 6
        assert len(evaluation_set(trained, everything=True).dataset) == 30

    def test_the_same_figure_as_in_training(self, run):
        trained = load_trained(run.best_checkpoint, device="cpu")
        loader = DataLoader(evaluation_set(trained).dataset, 5, eval_transform(32), workers=0)
        assert evaluate(trained.model, loader).accuracy == run.best_accuracy

    def test_all_of_another_folder(self, run, tmp_path):
        trained = load_trained(run.checkpoint, device="cpu")
        other = write_images(tmp_path / "other", each=2)
        assert len(evaluation_set(trained, str(other)).dataset) == 6

    def test_the_validation_folder_where_there_is_one(self, run, tmp_path):
        trained = load_trained(run.checkpoint, device="cpu")
        write_images(tmp_path / "both" / "train", each=3)
        write_images(tmp_path / "both" / "val", each=1)
        found = evaluation_set(trained, str(tmp_path / "both"))
        assert len(found.dataset) == 3
        assert found.description.endswith("both/val")

    def test_unreadable_images_can_be_left_out(self, run, tmp_path):
        trained = load_trained(run.checkpoint, device="cpu")
        other = write_images(tmp_path / "other", each=2)
        (other / "red" / "00.png").write_bytes(b"")
        found = evaluation_set(trained, str(other), skip_unreadable=True)
        assert len(found.dataset) == 5
        assert [image.name for image in found.skipped] == [str(other / "red" / "00.png")]

    def test_other_classes_are_listed(self, run, tmp_path):
        trained = load_trained(run.checkpoint, device="cpu")
        other = write_images(tmp_path / "other", each=2, classes=("cyan", "green", "red"))
        with pytest.raises(
            MinialexError, match="only the network knows: blue; only the images show: cyan"
        ):
            evaluation_set(trained, str(other))
        with pytest.raises(MinialexError, match="only the images show: 0, 1, 2"):
            evaluation_set(trained, "digits")
