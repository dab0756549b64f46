"""A run that was stopped and went on ends with the bytes of one that was not."""

import copy
import functools
import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from minialex.autograd import using
from minialex.errors import MinialexError
from minialex.train import Trainer, resume, train
from minialex.train.factory import open_data
from minialex.train.metrics import read_metrics
from minialex.train.run import engine
from minialex.weights import checkpoint
from tests.small_runs import Listener, kill, small, without_rates

# Moments at which the run is asked to stop: in the middle of a window of the log, at its end, after
# the epoch's last batch, during validation, after an epoch, in the last epoch.
MOMENTS = [
    ("batch", 1),
    ("batch", 4),
    ("batch", 5),
    ("validating", 1),
    ("validating", 2),
    ("epoch_ended", 1),
    ("batch", 8),
    ("batch", 10),
    ("validating", 4),
]


pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run that was not stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(small(images, out=str(out)))


def assert_same_end(folder, whole):
    for name in ("last.safetensors", "best.safetensors"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert without_rates(folder) == without_rates(whole.folder)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_stopped_once(images, tmp_path, whole, moment):
    stopped = train(small(images, out=str(tmp_path / "run")), Listener(moment, kill(signal.SIGINT)))
    assert stopped.signal == signal.SIGINT
    outcome = resume(tmp_path / "run")
    assert outcome.signal is None
    assert outcome.step == 10
    assert_same_end(tmp_path / "run", whole)


@pytest.mark.equal_bits
def test_stopped_after_every_batch(images, tmp_path, whole):
    stop = kill(signal.SIGTERM)
    outcome = train(small(images, out=str(tmp_path / "run")), Listener(("batch", 1), stop))
    times = 0
    while outcome.signal:
        outcome = resume(tmp_path / "run", Listener(("batch", 1), stop))
        times += 1
    assert times == 10
    assert_same_end(tmp_path / "run", whole)


class CrashError(Exception):
    """What a power cut looks like from inside: nothing more is written."""


def crash():
    raise CrashError


@pytest.mark.parametrize(
    "moment", [("batch", 6), ("line", 4), ("validating", 4), ("saved", 2)], ids=str
)
def test_killed(images, tmp_path, whole, moment):
    """The checkpoint is older than the metrics, which are cut back to it."""
    with pytest.raises(CrashError):
        train(small(images, out=str(tmp_path / "run")), Listener(moment, crash))
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", whole)


def test_killed_between_the_last_and_the_best_checkpoint(images, tmp_path, whole, monkeypatch):
    assert whole.best_epoch == 2
    calls = []

    def link(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise CrashError
        shutil.copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("minialex.train.run_state.link_or_copy", link)
        with pytest.raises(CrashError):
            train(small(images, out=str(tmp_path / "run")))
    assert resume(tmp_path / "run").best_epoch == 2
    assert_same_end(tmp_path / "run", whole)


def test_where_and_how_it_computes_may_change(images, tmp_path, whole):
    out = tmp_path / "run"
    train(small(images, out=str(out)), Listener(("batch", 3), kill(signal.SIGINT)))
    resume(out, workers=3, save_minutes=1e-9)
    assert_same_end(out, whole)
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert (settings["workers"], settings["log_every"]) == (3, 2)


def test_the_folder_may_move(images, tmp_path, whole):
    train(small(images, out=str(tmp_path / "run")), Listener(("batch", 3), kill(signal.SIGINT)))
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert resume(moved / "last.safetensors").folder == moved
    assert_same_end(moved, whole)


@pytest.mark.equal_bits
def test_every_kind_of_state_goes_on(images, tmp_path):
    """Other optimizers, and all that draws random numbers."""
    for optimizer in ("sgd", "adam"):
        options = {"optimizer": optimizer, "dropout": 0.7, "hue": 0.2, "epochs": 1}
        a, b = tmp_path / f"{optimizer}-a", tmp_path / f"{optimizer}-b"
        train(small(images, out=str(a), **options))
        train(small(images, out=str(b), **options), Listener(("batch", 2), kill(signal.SIGINT)))
        resume(b)
        assert (a / "last.safetensors").read_bytes() == (b / "last.safetensors").read_bytes()


class TestMoreEpochs:
    def test_a_finished_run_has_nothing_to_do(self, images, tmp_path, whole):
        shutil.copytree(whole.folder, tmp_path / "run")
        listener = Listener()
        outcome = resume(tmp_path / "run", listener)
        assert (outcome.epochs, outcome.signal) == (2, None)
        assert [what[0] for what in listener.calls] == ["opened", "started"]
        assert_same_end(tmp_path / "run", whole)

    def test_an_epoch_that_has_begun_cannot_be_taken_back(self, images, tmp_path, whole):
        out = shutil.copytree(whole.folder, tmp_path / "run")
        train(small(images, out=str(tmp_path / "begun")), stop_after=6)
        before = (out / "settings.json").read_bytes()
        for folder in (out, tmp_path / "begun"):
            with pytest.raises(MinialexError, match="epochs is 1, but the run is in epoch 2 alrea"):
                resume(folder, epochs=1)
        assert (out / "settings.json").read_bytes() == before
        assert_same_end(out, whole)

    @pytest.mark.equal_bits
    def test_but_can_have_more(self, images, tmp_path):
        short, long = tmp_path / "short", tmp_path / "long"
        train(small(images, out=str(short), epochs=1, schedule="constant"))
        train(small(images, out=str(long), epochs=2, schedule="constant"))
        resume(short, epochs=2)
        one, other = (checkpoint.load(f / "last.safetensors") for f in (short, long))
        for name in one.tensors:
            np.testing.assert_array_equal(one.tensors[name], other.tensors[name])
        assert without_rates(short) == without_rates(long)


class TestRefusals:
    @pytest.fixture(scope="class")
    @classmethod
    def stopped(cls, images, tmp_path_factory):
        out = tmp_path_factory.mktemp("stopped") / "run"
        train(small(images, out=str(out)), Listener(("batch", 3), kill(signal.SIGINT)))
        return out

    @pytest.fixture
    def run(self, stopped, tmp_path):
        return shutil.copytree(stopped, tmp_path / "run")

    @pytest.mark.parametrize(("name", "value"), [("lr", 0.1), ("out", "elsewhere")])
    def test_settings_that_decide_the_result_and_its_place_stay(self, run, name, value):
        with pytest.raises(MinialexError, match=f"^{name} cannot change when a run goes on"):
            resume(run, **{name: value})

    def test_another_engine_is_told_where_something_is_left(self, run):
        path = run / "settings.json"
        told = "until now on cpu by hand, from here on cpu with "
        for left in (1, 0):
            table = json.loads(path.read_text())
            assert table["engine"].startswith("cpu with ")
            path.write_text(json.dumps({**table, "engine": "cpu by hand"}))
            listener = Listener()
            resume(run, listener)
            assert [text.startswith(told) for text in listener.of("message")] == [True] * left

    def test_an_engine_is_known_by_what_is_chosen_too(self):
        settings = small("digits", device="cpu")
        with using("plain", linear="blocked", precision="fp32"):
            assert engine(settings, 1) == "cpu with 1 core, plain, linear=blocked"
        assert engine(settings, 2) == "cpu with 2 cores"

    def test_options_that_are_none_are_not_given(self, run):
        assert resume(run, lr=None, epochs=1).epochs == 1

    def test_other_images(self, run, images, tmp_path):
        fewer = shutil.copytree(images, tmp_path / "fewer")
        (fewer / "red" / "00.png").unlink()
        with pytest.raises(MinialexError, match=r"trained on other images .class 'red' had 8"):
            resume(run, data=str(fewer))

    def test_images_that_were_moved(self, run, whole, images, tmp_path):
        there = shutil.copytree(images, tmp_path / "there")
        elsewhere = shutil.copytree(run, tmp_path / "elsewhere")
        settings = json.loads((run / "settings.json").read_text())["settings"]
        assert settings["data"] == str(images)
        outcome = resume(run, data=str(there))
        ours, theirs = (checkpoint.load(o.checkpoint).tensors for o in (outcome, whole))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
        shutil.rmtree(there)
        with pytest.raises(MinialexError, match=r"no longer in .*there: .* --resume .*run DATA"):
            resume(run)
        assert resume(elsewhere, stop_after=1).step > 0

    def test_other_classes(self, run, images, tmp_path):
        renamed = shutil.copytree(images, tmp_path / "renamed")
        (renamed / "red").rename(renamed / "rouge")
        with pytest.raises(MinialexError, match="was trained on other classes"):
            resume(run, data=str(renamed))

    def test_no_run(self, tmp_path):
        with pytest.raises(MinialexError, match="there is no run to resume in"):
            resume(tmp_path / "nowhere")

    def test_a_run_without_a_checkpoint(self, run):
        (run / "last.safetensors").unlink()
        with pytest.raises(MinialexError, match="there is no checkpoint to go on from in"):
            resume(run)

    def test_a_run_that_does_not_say_where_it_computed_goes_on(self, run, whole):
        (run / "settings.json").unlink()
        resume(run)
        assert (run / "last.safetensors").read_bytes() == whole.checkpoint.read_bytes()

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": 3}', "[" * 100_000])
    def test_damaged_settings_are_not_passed_over(self, run, text):
        (run / "settings.json").write_text(text)
        with pytest.raises(MinialexError, match=r"settings\.json is damaged: remove it, and give"):
            resume(run)

    def test_a_truncated_checkpoint_is_left_as_it_is(self, run):
        path = run / "last.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        before = path.read_bytes()
        with pytest.raises(MinialexError, match=r"damaged|truncated"):
            resume(run)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m.pop("running_totals"),
            lambda m: m["random"].pop("dropout"),
            lambda m: m["best"].update(odd=1),
            lambda m: m["running_totals"].update(totals=None),
        ],
    )
    def test_a_manifest_that_lacks_something(self, run, change):
        saved = checkpoint.load(run / "last.safetensors")
        manifest = {k: v for k, v in saved.manifest.items() if k not in ("format", "minialex")}
        change(manifest)
        tensors = {name: x.copy() for name, x in saved.tensors.items()}
        checkpoint.save(run / "last.safetensors", tensors=tensors, manifest=manifest)
        with pytest.raises(MinialexError, match="is damaged"):
            resume(run)

    @pytest.fixture(scope="class")
    @classmethod
    def begun(cls, stopped, images):
        settings = small(images)
        saved = checkpoint.load(stopped / "last.safetensors")
        return Trainer(settings, open_data(settings), stopped).state, saved

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            ({"train": 23, "val": 6}, "23 for training and 6 for validation"),
            ({"train": 24, "val": 7}, "24 for training and 7 for validation"),
            ({"train": 24, "val": -1}, "an unknown number"),
            (None, "an unknown number"),
        ],
    )
    def test_as_many_images_as_the_run_had(self, begun, sizes, words):
        """Of unreadable ones, which the split counts, there may be more or fewer."""
        state, saved = begun
        changed = replace(saved, manifest={**saved.manifest, "images": sizes})
        there = "there are 24 for training and 6 for validation"
        with pytest.raises(MinialexError, match=rf"on other images \({words}; {there}\)"):
            state.restore(changed)

    @pytest.mark.parametrize(
        ("place", "good", "bad"),
        [
            (("best", "epoch"), [0], [-1, 1, 0.5, None]),
            (("best", "accuracy"), [0.0, 100], [-0.5, 100.5, "50"]),
            (("random", "dropout", "seed"), [0, 2**64 - 1], [-1, 2**64, 1.0]),
            (("random", "dropout", "offset"), [0, 7], [-1, 2**62, 1.0]),
            (("running_totals", "images"), [10, 15], [9, -1, 15.0, None]),
            (("running_totals", "logged_images"), [0, 15], [16, None]),
            (("running_totals", "totals"), [[1, 2.5]], [[1.0], [1.0, 2.0, 3.0]]),
            (("running_totals", "logged_totals"), [[1, 2.5]], [[1.0], 1.0]),
        ],
    )
    def test_a_manifest_of_numbers_that_cannot_be(self, begun, place, good, bad):
        """Of a run that was stopped in its first epoch, after three batches of five images."""
        state, saved = begun
        *tables, name = place

        def changed(value):
            manifest = copy.deepcopy(saved.manifest)
            functools.reduce(dict.__getitem__, tables, manifest)[name] = value
            return replace(saved, manifest=manifest)

        for value in good:
            state.restore(changed(value))
        for value in bad:
            with pytest.raises(MinialexError, match="is damaged"):
                state.restore(changed(value))

    def test_metrics_stay_as_they_were_when_refused(self, run):
        before = read_metrics(run)
        with pytest.raises(MinialexError, match="lr cannot change"):
            resume(run, lr=0.1)
        assert read_metrics(run) == before
