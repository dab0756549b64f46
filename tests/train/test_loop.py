import contextlib
import math
import shutil

import numpy as np
import pytest

from minialex import arrays
from minialex.autograd import Tensor, using
from minialex.data import DataLoader, UnreadableImageError, eval_transform
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import evaluate
from minialex.models import alexnet
from minialex.ops import cross_entropy
from minialex.optim import RMSprop, make_schedule
from minialex.train import NonFiniteLossError, make_settings, replay, train
from minialex.train.factory import open_data
from minialex.train.loop import Trainer
from minialex.train.metrics import read_metrics
from minialex.train.run import resume
from minialex.weights import checkpoint
from tests.capture_double import Gpu
from tests.small_runs import CLASSES, Listener, small

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run of two epochs of 24 images in batches of 5, and 6 to validate on."""
    listener = Listener()
    settings = small(images, out=str(tmp_path_factory.mktemp("runs") / "run"))
    return settings, listener, train(settings, listener)


@pytest.fixture(scope="module")
def plain(finished):
    settings, _, _ = finished
    data = open_data(settings)
    model = alexnet("alexnet-mini", 3, dropout=settings.dropout, seed=settings.seed)
    optimizer = RMSprop(
        model.parameters(), lr=1e-4, momentum=0.9, weight_decay=0.0005, eps=settings.eps
    )
    schedule = make_schedule("cosine", total=10, warmup=3)
    loader = DataLoader(
        data.train, 5, settings.training_transform(), shuffle=True, seed=0, workers=0
    )
    losses, right, step = [], [], 0
    for epoch in range(2):
        model.train()
        for batch in loader.epoch(epoch):
            optimizer.zero_grad()
            logits = model(Tensor(batch.images))
            loss = cross_entropy(logits, batch.targets)
            loss.backward()
            optimizer.scale_lr(schedule(step))
            optimizer.step()
            step += 1
            losses.append((epoch + 1, loss.item(), len(batch)))
            guesses = [scores.index(max(scores)) for scores in logits.data.tolist()]
            right.append(sum(g == t for g, t in zip(guesses, batch.targets.tolist(), strict=True)))
    loader = DataLoader(data.val, 5, eval_transform(32), workers=0)
    return model, losses, evaluate(model, loader), right


class TestAgainstTheArticlesLoop:
    """The loop of the article's section 3.4, written out, gives the same numbers."""

    def test_the_lines_of_the_log(self, finished, plain):
        _, listener, _ = finished
        losses = [loss for _, loss, _ in plain[1]]
        means = {
            (epoch, batch): (losses[5 * (epoch - 1) + batch - 2 :][:2])
            for epoch in (1, 2)
            for batch in (2, 4)
        }
        wanted = [f"[{e}, {b:5d}] loss: {sum(two) / 2:.3f}" for (e, b), two in means.items()]
        assert listener.of("line") == wanted

    @pytest.mark.equal_bits
    def test_the_weights_to_the_last_bit(self, finished, plain):
        saved = checkpoint.load(finished[2].checkpoint).parameters
        for name, x in plain[0].state_dict().items():
            np.testing.assert_array_equal(saved[name], x, name)

    def test_the_epochs_loss_is_the_mean_over_its_images(self, finished, plain):
        ends = finished[1].of("epoch_ended")
        for epoch in (1, 2):
            rows = [(loss, n) for e, loss, n in plain[1] if e == epoch]
            assert [n for _, n in rows] == [5, 5, 5, 5, 4]
            mean = sum(loss * n for loss, n in rows) / 24
            assert ends[epoch - 1].train_loss == pytest.approx(mean, rel=1e-12)

    def test_the_accuracy_is_the_share_of_right_guesses_so_far(self, finished, plain):
        right = np.array(plain[3]).reshape(2, 5)
        seen = [5, 10, 15, 20, 24]
        # neither none nor half nor all, whose opposites are alike
        assert not set(right.sum(axis=1)) & {0, 12, 24}
        expected = 100 * right.cumsum(axis=1) / seen
        heard = np.reshape([p.accuracy for p in finished[1].of("batch")], (2, 5))
        np.testing.assert_allclose(heard, expected, rtol=1e-12)
        ends = [end.train_accuracy for end in finished[1].of("epoch_ended")]
        np.testing.assert_allclose(ends, expected[:, -1], rtol=1e-12)

    def test_the_validation(self, finished, plain):
        end = finished[1].of("epoch_ended")[-1]
        assert end.val_loss == plain[2].loss
        assert end.val_accuracy == plain[2].accuracy


class TestMetrics:
    def test_every_image_is_in_one_record(self, finished):
        records = read_metrics(finished[2].folder)
        steps = [(r.split, r.epoch, r.step) for r in records]
        first = [("train", 1, 2), ("train", 1, 4), ("train", 1, 5), ("val", 1, 5)]
        assert steps == [*first, *((split, 2, step + 5) for split, _, step in first)]
        parts = np.array([[r.loss, r.accuracy] for r in records if r.split == "train"])
        means = np.average(parts[:3], axis=0, weights=[10, 10, 4])
        end = finished[1].of("epoch_ended")[0]
        np.testing.assert_allclose(means, [end.train_loss, end.train_accuracy], rtol=1e-12)

    def test_the_learning_rate_is_that_of_the_last_batch(self, finished):
        schedule = make_schedule("cosine", total=10, warmup=3)
        for record in read_metrics(finished[2].folder):
            assert record.lr == 1e-4 * schedule(record.step - 1)

    def test_the_outcome_has_them(self, finished):
        assert finished[2].metrics == read_metrics(finished[2].folder)

    def test_rates_are_positive(self, finished):
        assert all(r.images_per_second > 0 for r in read_metrics(finished[2].folder))


class TestProgressCallbacks:
    def test_the_plan(self, finished):
        settings, listener, outcome = finished
        (plan,) = listener.of("started")
        assert plan.classes == CLASSES
        assert (plan.train_images, plan.val_images, plan.batches) == (24, 6, 5)
        assert plan.parameters == sum(p.size for p in alexnet("alexnet-mini", 3).parameters())
        assert (plan.settings, plan.folder) == (settings, outcome.folder)
        assert (plan.epoch, plan.batch, plan.device) == (0, 0, arrays.CPU)

    def test_every_batch_in_order(self, finished):
        heard = finished[1].of("batch")
        places = [(p.epoch, p.batch, p.step) for p in heard]
        assert places == [(1 + s // 5, 1 + s % 5, 1 + s) for s in range(10)]
        assert all((p.epochs, p.batches) == (2, 5) for p in heard)
        assert all(math.isfinite(p.loss) and 0 <= p.accuracy <= 100 for p in heard)
        assert all(p.images_per_second > 0 and p.seconds_left > 0 for p in heard)

    def test_the_order_of_things(self, finished):
        names = [what[0] for what in finished[1].calls]
        batch, line = ["batch"], ["line"]
        epoch = [
            *2 * (2 * batch + line),
            *batch,
            "validating",
            "validating",
            "saved",
            "epoch_ended",
        ]
        assert names == ["opened", "started", *epoch, *epoch]
        assert finished[1].of("validating") == 2 * [(5, 6), (6, 6)]


class TestTheFolder:
    def test_its_files(self, finished):
        names = {p.name for p in finished[2].folder.iterdir() if "tfevents" not in p.name}
        assert names == {
            "best.safetensors",
            "curves.png",
            "last.safetensors",
            "metrics.jsonl",
            "settings.json",
        }

    def test_the_best_checkpoint_is_of_the_best_epoch(self, finished):
        _, listener, outcome = finished
        ends = listener.of("epoch_ended")
        best = max(ends, key=lambda end: (end.val_accuracy, -end.val_loss))
        assert (outcome.best_epoch, outcome.best_accuracy) == (best.epoch, best.val_accuracy)
        manifest = checkpoint.load(outcome.best_checkpoint).manifest
        assert manifest["position"]["epoch"] == best.epoch
        assert [end.best for end in ends] == [best for _, best in listener.of("saved")]

    def test_a_better_epoch_is_kept_when_a_worse_one_follows(self, images, tmp_path):
        out = tmp_path / "run"
        # a rate that ruins the second epoch
        settings = small(images, out=str(out), schedule="step", lr_step=5, lr_gamma=1e-9, warmup=0)
        trainers = []

        def ruin():
            trainers[0].state.model.classifier[6].bias.data[:] = [1e3, 0, 0]

        out.mkdir()
        trainers.append(Trainer(settings, open_data(settings), out))
        outcome = trainers[0].run(Listener(("batch", 8), ruin))
        assert outcome.best_epoch == 1
        assert checkpoint.load(outcome.best_checkpoint).manifest["position"]["epoch"] == 1
        assert checkpoint.load(outcome.checkpoint).manifest["position"]["epoch"] == 2

    def test_a_folder_in_use_is_not_touched(self, images, finished):
        before = {p: p.read_bytes() for p in finished[2].folder.iterdir() if p.is_file()}
        with pytest.raises(MinialexError, match="already holds files"):
            train(finished[0])
        assert before == {p: p.read_bytes() for p in before}

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"device": "gpu"}, "unknown device 'gpu'"),
            ({"data": "nowhere"}, "no folder .*nowhere"),
            ({"image_size": 20}, "image_size 20 is too small for alexnet-mini"),
            ({"pretrained": "nowhere.pth"}, "cannot read nowhere.pth"),
        ],
    )
    def test_a_run_that_cannot_start_leaves_nothing(self, images, tmp_path, wrong, message):
        with pytest.raises(MinialexError, match=message):
            train(small(images, out=str(tmp_path / "run")).replace(**wrong))
        assert not list(tmp_path.iterdir())

    def test_without_a_name_the_folder_is_new(self, images, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "images").mkdir(parents=True)
        outcome = train(small(images, epochs=1))
        assert str(outcome.folder) == "runs/images-2"


def test_a_folder_is_learnt_by_its_recipe(images, tmp_path):
    """With PyTorch's eps of 1e-8 in place of the recipe's, one image in three is right by then."""
    tiny = {"variant": "alexnet-mini", "image_size": 32, "batch_size": 8, "workers": 0}
    out = str(tmp_path / "run")
    outcome = train(make_settings(data=str(images), epochs=7, device="cpu", out=out, **tiny))
    assert outcome.best_accuracy > 80


def test_what_was_trained_before_a_bad_image_is_saved(images, finished, tmp_path):
    root = shutil.copytree(images, tmp_path / "images")
    bad = root / "red" / "03.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:-30])
    run, listener = tmp_path / "run", Listener()
    with pytest.raises(
        UnreadableImageError, match=r"03\.png: .* saved after .*: replace .* resume, or"
    ):
        train(small(root, out=str(run)))
    saved = checkpoint.load(run / "last.safetensors").manifest["position"]
    assert saved["epoch"] == 0
    assert saved["step"] == saved["batch"] > 0
    bad.write_bytes(good)
    assert resume(run, listener).finished
    assert listener.of("message") == [
        "images of class 'red' were replaced since the run stopped (their files have other sizes): "
        "it goes on with the new ones"
    ]
    one, other = (
        checkpoint.load(path).tensors for path in (run / "last.safetensors", finished[2].checkpoint)
    )
    assert all(np.array_equal(one[name], other[name]) for name in other)


def test_saving_within_an_epoch(images, tmp_path):
    listener = Listener()
    train(small(images, out=str(tmp_path / "run"), epochs=1, save_minutes=1e-9), listener)
    # after each batch, and at the end of the epoch
    assert [best for _, best in listener.of("saved")] == 5 * [False] + [True]


@pytest.fixture(params=["plain", "kernels"])
def double(request, monkeypatch):
    """The stand-in for a GPU: on it array operations, or kernels, whose steps are captured."""
    # without tensor cores, which the emulator is slow on
    gpu = Gpu.installed(monkeypatch, compute_capability="75")
    with using("plain") if request.param == "plain" else contextlib.nullcontext():
        yield gpu, request.param == "kernels"


class TestOnAnotherDevice:
    """The whole run on the stand-in for CuPy: arrays stay on the device until they are shown."""

    def test_the_same_numbers(self, images, tmp_path, double, finished):
        listener = Listener()
        outcome = train(small(images, out=str(tmp_path / "run"), device="cuda"), listener)
        assert listener.of("started")[0].device == arrays.Device("cuda", 0)
        for one, other in zip(
            listener.of("epoch_ended"), finished[1].of("epoch_ended"), strict=True
        ):
            assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
            assert one.val_accuracy == other.val_accuracy
        # every second batch, as the log, and the last of the epoch
        assert [p.batch for p in listener.of("batch")] == [2, 4, 5, 2, 4, 5]
        assert checkpoint.load(outcome.checkpoint).manifest["position"]["epoch"] == 2
        gpu, captured = double
        why = [line for line in listener.of("message") if "not captured as a CUDA graph" in line]
        if captured:
            assert not why
            # of five batches per epoch the last is smaller
            assert [graph.launches for graph in gpu.graphs] == [8 - replay.WARM_UP_STEPS]
        else:
            assert len(why) == 1
            assert "rmsprop runs as array operations" in why[0]

    def test_a_loss_that_is_not_finite_changes_nothing_until_it_is_seen(
        self, images, tmp_path, double
    ):
        out = tmp_path / "run"
        out.mkdir()
        settings = small(images, out=str(out), device="cuda", log_every=4)
        trainer = Trainer(settings, open_data(settings), out)
        layer = dict(trainer.state.model.named_modules())["features.6"]

        def poison():
            layer.bias.data[3] = np.nan

        # after the fourth batch: seen with the last of the epoch, which is the fifth
        with pytest.raises(NonFiniteLossError) as caught:
            trainer.run(Listener(("line", 1), poison))
        assert (caught.value.layer, caught.value.step) == ("features.6", 4)
        assert "its bias is no longer finite" in str(caught.value)
        assert (trainer.state.position.batch, trainer.state.optimizer.steps) == (4, 4)
