"""Folds in processes of their own: the same bytes, progress, stops, kills, what stays behind."""

import os
import signal
from collections import Counter

import pytest

from minialex import arrays
from minialex.arrays import Device
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.kfold import parallel, worker
from minialex.kfold.fold import Fold
from minialex.kfold.fold_images import divide, open_images
from minialex.kfold.folds import kfold
from minialex.train.run_folder import claim
from minialex.train.run_state import RunData
from tests.kfold.conftest import K, content
from tests.small_runs import Listener, kill, small, write_images


@pytest.fixture(autouse=True)
def two_cores(monkeypatch, one_thread):
    """Two processes with a core each, however many this machine has."""
    monkeypatch.setattr(threads, "cores", lambda: 2)


@pytest.fixture
def workers(monkeypatch):
    """The processes that are started."""
    started, start = [], parallel._Worker.__init__

    def note(self, *arguments):
        start(self, *arguments)
        started.append(self.process)

    monkeypatch.setattr(parallel._Worker, "__init__", note)
    return started


def a_fold(images, out):
    settings = small(images, out=str(out), epochs=1000)
    train, val = divide(open_images(settings)[0], 2, 0)[0]
    return Fold(settings, RunData(train, val, fold=(1, 2)), 1, 2, out)


def names(out):
    return {str(path.relative_to(out)) for path in out.rglob("*")}


@pytest.mark.equal_bits
def test_the_same_bytes_as_one_after_the_other(images, whole, tmp_path):
    out, listener = tmp_path / "folds", Listener()
    folds = kfold(small(images, out=str(out)), K, jobs=2, reporter=listener)
    assert folds == whole[2]
    assert content(out) == content(whole[0])
    assert names(out) == names(whole[0])
    assert sorted(r.fold for r in listener.of("fold_ended")) == [1, 2, 3]
    # each fold is heard of while it goes on
    (plan,) = listener.of("planned")
    assert (plan.jobs, plan.threads) == (2, 1)
    assert Counter(end.epoch for end in listener.of("epoch_ended")) == {1: 3, 2: 3}
    assert len(listener.of("started")) == 3
    assert listener.of("batch")


def test_a_stop_reaches_every_process_and_can_be_gone_on_from(images, whole, tmp_path):
    out = tmp_path / "folds"
    settings = small(images, out=str(out))
    stopped = kfold(settings, K, jobs=2, reporter=Listener(("fold_ended", 1), kill(15)))
    assert stopped.signal == signal.SIGTERM
    assert 1 <= len(stopped.records) < K
    assert kfold(settings, K, jobs=2, resume=True) == whole[2]
    assert content(out) == content(whole[0])
    assert names(out) == names(whole[0])


def test_a_second_signal_ends_the_processes_at_once(images, tmp_path, workers):
    settings = small(images, out=str(tmp_path / "folds"))
    with pytest.raises(KeyboardInterrupt):
        kfold(settings, K, jobs=2, reporter=Listener(("started", 1), kill(15, 2)))
    assert [process.returncode for process in workers] == [-signal.SIGKILL] * 2
    claim(tmp_path / "folds", resume=True).release()


def test_a_killed_process_is_named_and_the_others_save(images, tmp_path, workers):
    settings = small(images, out=str(tmp_path / "folds"), epochs=50)
    listener = Listener(("epoch_ended", 1), lambda: workers[0].kill())
    with pytest.raises(MinialexError, match=r"^fold 1: its process was killed by SIGKILL, .*resu"):
        kfold(settings, K, jobs=2, reporter=listener)
    assert [process.returncode for process in workers] == [-signal.SIGKILL, 0]
    assert (tmp_path / "folds" / "fold-2" / "last.safetensors").exists()


def test_a_process_whose_parent_dies_ends_and_holds_the_lock_until_then(images, tmp_path):
    fold = a_fold(images, tmp_path / "folds")
    folder = claim(fold.out)
    one = parallel._Worker(fold, 2, Counter(cpu=0), folder.lock, Listener())
    # what the system does where a process dies
    os.close(folder.lock)
    while not one.connection.poll(1):
        pass
    with pytest.raises(MinialexError, match="in use by another run"):
        claim(fold.out, resume=True)
    one.connection.close()
    assert one.process.wait() == 1
    claim(fold.out, resume=True).release()


def test_an_error_in_a_fold_comes_back_as_one_line(tmp_path):
    root = write_images(tmp_path / "images", each=3)
    (root / "red" / "01.png").write_bytes(b"no picture")
    with pytest.raises(MinialexError, match=r"^fold \d: cannot read image .*01\.png"):
        kfold(small(root, out=str(tmp_path / "folds")), K, jobs=2)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (MinialexError("the disk is full"), ("failed", "the disk is full")),
        (
            MemoryError(),
            ("failed", "not enough memory: lower --jobs, --batch-size or --image-size"),
        ),
    ],
    ids=str,
)
def test_what_a_process_sends_of_an_error(error, sent):
    class Failing:
        def train(self, reporter, asked):
            raise error

    assert worker._outcome(Failing(), None, []) == sent


def test_what_was_not_foreseen_comes_back_with_its_traceback():
    class Failing:
        def train(self, reporter, asked):
            return 1 / 0

    name, text = worker._outcome(Failing(), None, [])
    assert name == "crashed"
    assert "ZeroDivisionError" in text


def test_more_jobs_than_folds_or_cores_are_lowered_and_said(images, whole, tmp_path):
    listener = Listener(("planned", 1), kill(15))
    kfold(small(images, out=str(tmp_path / "folds")), K, jobs=9, reporter=listener)
    assert listener.of("planned")[0].jobs == 2
    assert "2 at a time, not 9: 3 folds are left to train, 2 cores available" in listener.of(
        "message"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", ["cpu"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", ["cuda:1"]),
    ],
)
def test_the_gpus_that_folds_are_given(monkeypatch, name, expected):
    kind, _, index = name.partition(":")
    monkeypatch.setattr(arrays, "device", lambda name: Device(kind, int(index or 0)))
    monkeypatch.setattr(arrays, "cuda_count", lambda: 3)
    assert parallel.devices_for(name) == expected


def test_each_fold_has_a_gpu_to_itself_and_gives_it_back(images, monkeypatch, tmp_path):
    monkeypatch.setattr(parallel.subprocess, "Popen", lambda command, **options: Process())
    fold, devices = a_fold(images, tmp_path), Counter({"cuda:0": 0, "cuda:1": 0})

    def start():
        return parallel._Worker(fold, 3, devices, 0, Listener())

    workers = [start() for _ in range(3)]
    assert [w.device for w in workers] == ["cuda:0", "cuda:1", "cuda:0"]
    workers[1].close()
    assert start().device == "cuda:1"


class Process:
    """One that does nothing."""

    def kill(self):
        pass

    def wait(self):
        return 0
