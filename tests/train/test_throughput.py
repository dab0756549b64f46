"""Rates, times left and times between saves, by a clock that goes on only where it is told to."""

from types import SimpleNamespace

import numpy as np
import pytest

from minialex.evaluation.evaluate import Evaluation
from minialex.train import loop, recorder, throughput, train
from minialex.train.metrics import read_metrics
from minialex.train.run_state import RunState
from minialex.train.step import TrainStep
from minialex.train.throughput import Throughput
from tests.small_runs import CLASSES, Listener, small


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still: ``clock.now += 2`` lets two seconds pass."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = clock.perf_counter = lambda: clock.now
    for module in loop, recorder, throughput:
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_rates_and_time_left_of_batches_of_known_length(clock):
    speed = Throughput()
    assert speed.images_per_second() == 0
    assert speed.seconds_left(3, 1) is None
    # what passes before training starts is no training
    clock.now += 50
    speed.start()
    assert speed.lap() == 0
    for seconds, images in (0.125, 4), (0.375, 4), (0.25, 1):
        clock.now += seconds
        speed.tick(images)
    assert speed.images_per_second() == 9 / 0.75
    assert speed.lap() == 9 / 0.75
    assert speed.seconds_left(5, 4) == 5 * 0.25
    speed.validation_seconds = 7.0
    assert speed.seconds_left(5, 4) == 5 * 0.25 + 4 * 7
    # a lap begins where the last one ended: at a batch's end, not where it was asked for
    clock.now += 4
    speed.tick(8)
    assert speed.lap() == 8 / 4
    # images from before a start belong to no lap after it
    speed.tick(100)
    clock.now += 90
    speed.start()
    clock.now += 5
    speed.tick(10)
    assert speed.lap() == 2


def test_the_rate_that_is_shown_is_of_the_last_thirty_batches(clock):
    speed = Throughput()
    for _ in range(7):
        clock.now += 100
        speed.tick(1)
    for _ in range(30):
        clock.now += 2
        speed.tick(6)
    assert speed.images_per_second() == 3
    assert speed.seconds_left(10, 0) == 20


@pytest.fixture
def timed(clock, monkeypatch):
    """Let a step of training take two seconds, a validation three, and nothing be computed."""

    def step(self, batch):
        clock.now += 2
        self.optimizer.count_step()

    def evaluate(model, loader, progress):
        clock.now += 3
        return Evaluation(CLASSES, 0.5, np.diag([2, 2, 2]), 6)

    monkeypatch.setattr(TrainStep, "__call__", step)
    monkeypatch.setattr(TrainStep, "failed", lambda self: False)
    monkeypatch.setattr(loop, "evaluate", evaluate)
    monkeypatch.setattr(RunState, "save", lambda self, folder, best: None)


@pytest.mark.usefixtures("no_curves", "timed")
def test_what_a_run_says_of_its_time(images, tmp_path):
    # two epochs of five batches, of 24 images to train on and 6 to validate on
    listener = Listener()
    folder = train(small(images, out=str(tmp_path / "run")), listener).folder
    rates = [(r.split, r.step, r.images_per_second) for r in read_metrics(folder)]
    epoch = [("train", 2, 2.5), ("train", 4, 2.5), ("train", 5, 2.0), ("val", 5, 2.0)]
    assert rates == [*epoch, *((split, step + 5, rate) for split, step, rate in epoch)]
    heard = listener.of("batch")
    # the first validation is not known before it was
    assert [p.seconds_left for p in heard[:5]] == [18, 16, 14, 12, 10]
    assert [p.seconds_left for p in heard[5:]] == [11, 9, 7, 5, 3]
    assert [p.images_per_second for p in heard[:5]] == [2.5, 2.5, 2.5, 2.5, 2.4]
    assert [end.seconds for end in listener.of("epoch_ended")] == [13, 13]


@pytest.mark.usefixtures("no_curves", "timed")
@pytest.mark.parametrize(("minutes", "saved"), [(0, [5]), (3.9 / 60, [2, 4, 5]), (0.1, [3, 5])])
def test_it_is_saved_after_so_many_minutes_and_not_before(images, tmp_path, minutes, saved):
    listener = Listener()
    settings = small(images, out=str(tmp_path / "run"), epochs=1, save_minutes=minutes)
    train(settings, listener)
    steps, seen = [], 0
    for name, *_ in listener.calls:
        seen += name == "batch"
        steps += [seen] * (name == "saved")
    assert steps == saved
