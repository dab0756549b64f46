"""What is timed: the work of each case, its contenders, and what is compared before."""

import numpy as np
import pytest
from PIL import Image

from minialex.arrays import CPU
from minialex.autograd import OPS, Implementation
from minialex.bench import BenchContext, images, networks, optimizers, runner
from minialex.bench.correctness import FLOAT32, UPDATE
from minialex.bench.layer_cases import layer_cases
from minialex.bench.layers import FORWARD, WEIGHT, network_work
from minialex.bench.selection import select_cases
from minialex.bench.workload import NetworkTask, Workload
from minialex.cpu import threads

MINI = "alexnet-mini"


# ---- images -------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """Images and photographs so small that preparing them takes no time."""
    monkeypatch.setattr(images, "SIZE", 12)
    monkeypatch.setattr(images, "PHOTOGRAPH_SIZE", (20, 15))
    monkeypatch.setattr(images, "DISTINCT_PHOTOGRAPHS", 4)


class Flipper:
    """A peer that flips, as it is told, and keeps what it was told."""

    name, description = "flipper", "of this test"

    def flip(self, pixels, mirrored):
        self.mirrored = mirrored
        y = pixels.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
        y[mirrored] = y[mirrored, :, :, ::-1]
        return Workload(lambda: None, lambda: [y])


@pytest.mark.usefixtures("tiny")
def test_images_are_compared_with_their_definition_and_flipped_by_peers_alone():
    flipper = Flipper()
    flip, colours = images.image_cases(5)
    assert (flip.what, colours.what) == ("flip and normalise", "flip, colours and normalise")
    for case, names, compared in ((flip, ["plain", "flipper"], 5), (colours, ["plain"], 2)):
        # bytes are read, float32 written: five bytes and two operations for each value
        values = 5 * 12 * 12 * 3
        assert case.work == ((2 * values, 5 * values),)
        assert (case.per_step, case.images, case.batch) == (0, 5, 5)
        prepared = case.prepare(BenchContext(implementations=(), peers=[flipper]))
        assert [one.name for one in prepared.contenders] == names
        assert (prepared.unavailable, prepared.failed) == ({}, {})
        for one in prepared.contenders:
            (result,), (truth,) = one.workload.result(), prepared.independent()
            assert result.shape == truth.shape == (compared, 3, 12, 12)
            np.testing.assert_allclose(result, truth, atol=1e-5)
    assert 0 < len(flipper.mirrored) < 5


def test_a_folder_is_loaded_by_one_worker_and_by_one_per_core(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)
    cases = images.loader_cases(8, (64, 128))
    sources = ("JPEG folder", "pack", "pack, a GPU's bytes")
    epochs = (
        ("64 images, 1 worker", 64),
        ("64 images, 4 workers", 64),
        ("128 images, 4 workers", 128),
    )
    assert [(one.labels, one.what, one.images) for one in cases] == [
        ((source,), *epoch) for source in sources for epoch in epochs
    ]
    assert {(one.batch, one.per_step, one.work) for one in cases} == {(8, 0, ())}
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert [one.what for one in images.loader_cases(8, (64,))] == ["64 images, 1 worker"] * 3


@pytest.mark.usefixtures("tiny")
def test_photographs_are_written_for_every_class_and_repeated():
    context = BenchContext()
    with context.stack:
        root = images._folder(context, 7)
        written = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.jpg"))}
        assert list(written) == [f"class{n % 4}/{n:05}.jpg" for n in (0, 4, 1, 5, 2, 6, 3)]
        texts = {int(path.stem): path.read_bytes() for path in written.values()}
        assert [texts[n] for n in (4, 5, 6)] == [texts[n] for n in (0, 1, 2)]
        assert len({texts[n] for n in range(4)}) == 4
        with Image.open(written["class0/00000.jpg"]) as picture:
            pixels = np.asarray(picture, np.float64)
    assert not root.exists()
    # about grey, in colour, neither flat nor noise
    assert pixels.shape == (15, 20, 3)
    assert pixels.mean() == pytest.approx(128, abs=30)
    assert 30 < pixels.std() < 110
    assert np.abs(np.diff(pixels, axis=2)).mean() > 10


@pytest.mark.usefixtures("tiny")
def test_an_epoch_is_loaded_whole_and_its_first_batch_compared():
    context = BenchContext(implementations=())
    with context.stack:
        for source in ("JPEG folder", "pack"):
            prepared = images.prepare_loader(source, 3, 7, 1, context)
            (plain,) = prepared.contenders
            (got,), (expected,) = plain.workload.result(), prepared.independent()
            np.testing.assert_array_equal(got, expected)
            assert got.shape == (3, 3, 12, 12)
            # the last batch of an epoch is what is left
            assert plain.workload.run().shape == (1, 3, 12, 12)


@pytest.mark.usefixtures("tiny")
def test_crops_for_a_gpu_are_copied_for_a_whole_epoch_and_make_the_images_of_the_host():
    context = BenchContext(implementations=())
    with context.stack:
        prepared = images.prepare_crop_copies(3, 7, 1, context)
        (plain,) = prepared.contenders
        (got,), (expected,) = plain.workload.result(), prepared.independent()
        np.testing.assert_array_equal(got, expected)
        assert len(plain.workload.run()) == 1


# ---- optimizers ---------------------------------------------------------------------------------


def test_the_work_of_an_optimizer(monkeypatch):
    monkeypatch.setattr(optimizers, "shapes", lambda network: ((3, 5), (7,)))
    # of each of 22 parameters, with weight decay (2 operations). RMSprop: the average of squares
    # 4, its root, eps, the quotient 3, momentum 2, the step 2; SGD: momentum 2, the step 2; Adam:
    # both averages 3 and 4, the root, its correction, eps 3, the step 3. Parameter, gradient and
    # states are read; parameter and states are written
    works = {name: optimizers.update_work("any", name) for name in ("RMSprop", "SGD", "Adam")}
    assert works["RMSprop"] == (13 * 22, 4 * 7 * 22)
    assert works["SGD"] == (6 * 22, 4 * 5 * 22)
    assert works["Adam"] == (15 * 22, 4 * 7 * 22)
    cases = optimizers.optimizer_cases()
    assert [(one.what, one.work, one.per_step) for one in cases] == [
        (name, (work,), int(name == "RMSprop")) for name, work in works.items()
    ]
    assert {(one.batch, one.labels, one.images) for one in cases} == {(0, ("alexnet",), 0)}


# ---- whole networks -----------------------------------------------------------------------------


def test_the_work_of_a_step_is_its_layers_and_the_update():
    step, inference = networks.network_cases([MINI], 3, {"step", "inference"})
    update = optimizers.update_work(MINI, "RMSprop")
    assert step.work == (*network_work(MINI, 3, True), update)
    assert inference.work == tuple(network_work(MINI, 3, False))
    assert (step.op, step.images, step.labels) == ("step", 3, (MINI,))
    assert (inference.op, inference.images, inference.labels) == ("inference", 3, (MINI,))
    assert networks.network_cases([MINI], 3, {"step"})[0].op == "step"
    assert networks.network_cases([MINI], 3, {"conv2d"}) == []


def test_a_choice_that_comes_to_the_default_is_timed_once_as_the_default(monkeypatch):
    names = networks._contender_names
    # of softmax plain is the default on a CPU: there is nothing else to tell apart
    assert names({"softmax"}, BenchContext()) == ["plain", "kernel"]
    assert names({"relu"}, BenchContext()) == ["plain", "kernel", "default"]
    assert names({"relu", "conv2d"}, BenchContext(implementations=("blocked", "winograd"))) == [
        *("plain", "blocked", "winograd", "default")
    ]
    assert names({"relu"}, BenchContext(implementations=())) == ["plain", "default"]


class Recorder:
    """A peer that infers and does not train."""

    name, description = "recorder", "of this test"

    def __init__(self, work):
        self.work = work

    def inference(self, task):
        return self.work("inference", "recorder", task)

    def step(self, task):
        return None


def test_results_are_compared_on_a_few_images_without_dropout_and_once_per_run(monkeypatch):
    made = []

    def work(op, name, task):
        """Note the task; what comes out tells its type and how often that was asked for."""
        made.append((op, name, len(task.images), len(task.targets), task.dropout))
        return Workload(lambda: None, lambda: [(task.images.dtype, len(made))])

    monkeypatch.setattr(networks, "_workload", work)
    context = BenchContext(implementations=(), peers=[Recorder(work)])
    for batch in (1, 2):
        prepared = networks.prepare_network(MINI, "inference", batch, context)
        names = [one.name for one in prepared.contenders]
        assert names == ["plain", "default", "recorder"]
        # each is compared when it was made ready first, and made anew to be timed
        compared = [] if batch == 2 else [("inference", n, 8, 8, 0) for n in names]
        timed = [("inference", n, batch, batch, 0.5) for n in names]
        assert sorted(made) == sorted(compared + timed)
        results = [one.workload.result() for one in prepared.contenders]
        assert results == [[(np.float32, n)] for n in (1, 3, 5)]
        assert (prepared.default, prepared.tolerance) == ("default", FLOAT32)
        made.clear()
    truth = prepared.independent()
    assert truth[0][0] == np.float64
    assert made == [("inference", "plain", 8, 8, 0)]
    assert networks.prepare_network(MINI, "inference", 1, context).independent() is truth
    prepared = networks.prepare_network(MINI, "step", 1, context)
    assert [one.name for one in prepared.contenders] == ["plain", "default"]
    assert prepared.tolerance == UPDATE


def test_a_task_has_the_settings_of_its_optimizer():
    task = networks.network_task(MINI, 3, CPU)
    assert task.images.shape == (3, 3, 64, 64)
    assert task.targets.min() >= 0
    names = "lr", "alpha", "eps", "momentum", "weight_decay"
    assert task.rmsprop == {name: getattr(task, name) for name in names}
    timed = optimizers.OPTIMIZERS["RMSprop"].settings
    assert NetworkTask(MINI, task.images, task.targets).rmsprop | {"lr": timed["lr"]} == timed


# ---- layers -------------------------------------------------------------------------------------


def test_an_implementation_that_gives_all_gradients_at_once_is_timed_forward_alone(monkeypatch):
    op = OPS["linear"]
    right = op.implementations["plain"]
    whole = Implementation(right.forward, lambda gy, saved: right.backward(gy, saved))
    monkeypatch.setitem(op.implementations, "whole", whole)
    context = BenchContext(implementations=("whole",))
    for case in layer_cases([MINI], 2, {"linear"})[:3]:
        row = runner.empty_row(case)
        runner.verify(case.prepare(context), row, context)
        reason = "" if case.what == FORWARD else "its backward gives all gradients at once"
        assert row.timings["whole"].reason == reason
        assert not row.timings["whole"].failed
        assert row.timings["plain"].reason == ""


def test_weight_gradients_are_timed_as_training_writes_them_into_given_arrays(monkeypatch):
    op, asked = OPS["linear"], []
    right = op.implementations["plain"]

    def backward(gy, saved, *, needs, out=None):
        asked.append((needs, out and tuple(None if a is None else a.shape for a in out)))
        return right.backward(gy, saved, needs=needs)

    made = Implementation(right.forward, backward)
    monkeypatch.setitem(op.implementations, "made", made)
    context = BenchContext(implementations=("made",))
    for case in layer_cases([MINI], 2, {"linear"})[:3]:
        (_, one) = case.prepare(context).contenders
        one.workload.run()
        if case.what == WEIGHT:
            assert asked == [((False, True, True), (None, (256, 576), (256,)))]
        elif case.what != FORWARD:
            assert asked == [((True, False, False), None)]
        asked.clear()


# ---- by name ------------------------------------------------------------------------------------


def test_a_quick_run_is_shorter():
    whole, quick = (select_cases([MINI], [2, 4], ["loader", "images"], quick=q) for q in (0, 1))
    assert (whole.repetitions, whole.rounds) == (3, 3)
    assert (quick.repetitions, quick.rounds) == (2, 2)
    loaded = [{c.images for c in plan.cases if c.op == "loader"} for plan in (whole, quick)]
    assert loaded == [{256, 1024}, {64}]
    assert {c.batch for c in whole.cases if c.op == "loader"} == {2}
    assert [c.batch for c in whole.cases if c.op == "images"] == [2, 2, 4, 4]
    assert {c.op for c in select_cases([MINI], [2], ["loader", "relu"]).cases} == {"loader", "relu"}
