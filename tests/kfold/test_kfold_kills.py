"""What the campaign of killed cross-validations looks for, it finds."""

import random
import subprocess
import time

import pytest

from minialex.run_folder import claim
from tests.campaigns import kfold_kills


@pytest.fixture
def killed(monkeypatch, tmp_path):
    """Return a function that kills the parent of what has a process beside it."""
    folder = tmp_path / "folds"

    def kill(victim, *, shares_lock, outlives):
        def work(data, folder):
            with claim(folder) as claimed:
                lock = [claimed.lock] if shares_lock else []
                seconds = "100" if outlives else "0.2"
                subprocess.Popen(["sleep", seconds], pass_fds=lock)
                (folder / "kfold.json").touch()
                time.sleep(100)

        monkeypatch.setattr(kfold_kills, "_work", work)
        monkeypatch.setattr(kfold_kills, "SECONDS_TO_DIE", 0.3)
        monkeypatch.setattr(kfold_kills.time, "sleep", until_ready)
        arrived, fault = kfold_kills._killed(random.Random(0), victim, 1.0, tmp_path, folder)
        assert arrived
        return fault

    def until_ready(seconds, sleep=time.sleep):
        while seconds == 1.0 and not (folder / "kfold.json").exists():
            sleep(0.01)
        sleep(seconds if seconds != 1.0 else 0)

    return kill


def test_a_process_that_lives_on_where_the_folder_is_free(killed):
    fault = killed("parent", shares_lock=False, outlives=True)
    assert fault == "a process lived on where the folder was free"


def test_a_process_that_lives_on_for_ever(killed):
    assert killed("parent", shares_lock=True, outlives=True) == "a process lived on"


def test_one_that_ends_soon_and_holds_the_lock_until_then_is_no_fault(killed):
    assert killed("parent", shares_lock=True, outlives=False) == ""


def test_a_parent_that_does_not_say_which_worker_was_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(kfold_kills, "_work", lambda *_: 2)
    _, fault = kfold_kills._killed(random.Random(0), "worker", 0, tmp_path, tmp_path / "folds")
    assert fault.startswith("status 2: ")


def test_a_kill_that_comes_too_late_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setattr(kfold_kills, "_work", lambda *_: 0)
    monkeypatch.setattr(kfold_kills.os, "kill", lambda *_: None)
    late = kfold_kills._killed(random.Random(0), "all", 0, tmp_path, tmp_path / "folds")
    assert late == (False, "")


def test_what_differs_is_named(tmp_path):
    for folder in ("whole", "folds"):
        for name in ("last.safetensors", "fold.json", "events.out.tfevents.7" + folder):
            (tmp_path / folder / "fold-1").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "fold-1" / name).write_text("same")
        (tmp_path / folder / "fold-1" / "metrics.jsonl").touch()
    both = tmp_path / "folds", tmp_path / "whole"
    assert kfold_kills._differences(*both) == []
    (tmp_path / "folds" / "fold-1" / "last.safetensors").write_text("other")
    (tmp_path / "folds" / "fold-1" / "fold.json").write_text("other")
    assert kfold_kills._differences(*both) == [
        "fold-1: the checkpoints differ",
        "fold-1: the records differ",
    ]
    (tmp_path / "folds" / "fold-1" / ".minialex-1.part").touch()
    assert kfold_kills._differences(*both) == ["fold-1/.minialex-1.part is left over"]
