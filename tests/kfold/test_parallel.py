"""Folds in processes of their own: the same bytes, progress, stops, kills, what stays behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from multiprocessing.connection import Connection

import pytest

from minialex import arrays
from minialex.arrays import Device
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.kfold import parallel, worker
from minialex.kfold.fold import Fold
from minialex.kfold.fold_images import divide, open_images
from minialex.kfold.folds import kfold
from minialex.run_folder import claim
from minialex.train.run_state import RunData
from minialex.train.signals import SIGNALS
from tests.kfold.conftest import K, content
from tests.small_runs import Listener, kill, small


@pytest.fixture(autouse=True)
def two_cores(monkeypatch, one_thread):
    """Two processes with a core each, however many this machine has."""
    monkeypatch.setattr(threads, "cores", lambda: 2)


class Process(threading.Thread):
    """A thread in place of a process."""

    def __init__(self, act, descriptor):
        super().__init__(daemon=True)
        self.act, self.parent, self.status = act, Connection(descriptor), 0
        self.start()

    def run(self):
        with self.parent, contextlib.suppress(EOFError, OSError):
            self.status = self.act(self.parent, self.parent.recv()[0].number)

    def kill(self):
        self.status = "killed"

    def wait(self):
        self.join(0.1)
        return self.status


@pytest.fixture
def play(monkeypatch):
    """Have the processes do something else, and return them."""

    def with_act(act):
        started = []

        def start(command, *, pass_fds, **options):
            started.append(Process(act, os.dup(pass_fds[0])))
            return started[-1]

        monkeypatch.setattr(parallel.subprocess, "Popen", start)
        return started

    return with_act


def a_fold(images, out):
    settings = small(images, out=str(out), epochs=1000)
    train, val = divide(open_images(settings)[0], 2, 0)[0]
    return Fold(settings, RunData(train, val, fold=(1, 2)), 1, 2, out)


def names(out):
    """Return what is in a folder; the names of TensorBoard's files hold the time."""
    files = {str(path.relative_to(out)) for path in out.rglob("*")}
    return {name for name in files if "tfevents" not in name}


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


def test_a_second_signal_ends_the_processes_at_once(images, tmp_path, play):
    def act(parent, fold):
        parent.send(("message", "here"))
        parent.recv()

    processes = play(act)
    settings = small(images, out=str(tmp_path / "folds"))
    with pytest.raises(KeyboardInterrupt):
        kfold(settings, K, jobs=2, reporter=Listener(("message", 1), kill(15, 2)))
    assert [process.status for process in processes] == ["killed"] * 2
    claim(tmp_path / "folds", resume=True).release()


@pytest.mark.parametrize(
    ("sent", "status", "error", "message"),
    [
        ((), -9, MinialexError, "its process was killed by SIGKILL, perhaps .* and resume"),
        ((), 3, MinialexError, "its process exited 3, perhaps"),
        (("failed", "the disk is full"), 0, MinialexError, "the disk is full"),
        (("crashed", "Traceback"), 0, RuntimeError, "Traceback"),
    ],
)
def test_what_fails_is_named_and_the_others_may_save(
    images, tmp_path, play, sent, status, error, message
):
    saved = []

    def act(parent, fold):
        if fold != 1:
            saved.append(parent.recv())
            parent.send(("ended", saved[-1]))
        elif sent:
            parent.send(sent)
        return status

    processes = play(act)
    with pytest.raises(error, match=rf"^fold 1: {message}"):
        kfold(small(images, out=str(tmp_path / "folds")), K, jobs=2)
    assert len(processes) == 2
    assert saved == [signal.SIGTERM]


def test_signals_are_blocked_in_processes_alone():
    code = "import signal; print(*sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    with parallel._signals_blocked():
        blocked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert [int(number) for number in blocked.stdout.split()] == sorted(SIGNALS)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


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
    assert listener.of("message") == ["2 at a time, not 9: there are 3 folds and 2 cores"]


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


def test_each_fold_has_a_gpu_to_itself_and_gives_it_back(images, play, tmp_path):
    play(lambda parent, fold: None)
    fold, devices = a_fold(images, tmp_path), Counter({"cuda:0": 0, "cuda:1": 0})

    def start():
        return parallel._Worker(fold, 3, devices, 0, Listener())

    workers = [start() for _ in range(3)]
    assert [w.device for w in workers] == ["cuda:0", "cuda:1", "cuda:0"]
    workers[1].close()
    assert start().device == "cuda:1"
