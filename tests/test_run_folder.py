"""A run has its folder to itself."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minialex import run_folder
from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.run_folder import LOCK_FILE, claim


def names(folder):
    return sorted(path.name for path in folder.iterdir())


HOLD = """
import sys
from minialex.run_folder import claim
claim(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Start another process that holds the folder ``run``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


class TestClaim:
    def test_makes_the_folder_and_locks_it(self, tmp_path):
        folder = tmp_path / "runs" / "one"
        with claim(folder) as run:
            assert run.path == folder
            assert names(folder) == [LOCK_FILE]
            with pytest.raises(MinialexError, match=f"{folder} is in use by another run"):
                claim(folder)
            (folder / "settings.json").write_text("{}")
        assert names(folder) == ["settings.json"]

    def test_an_unused_folder_goes_again(self, tmp_path):
        claim(tmp_path / "run").release()
        assert names(tmp_path) == []

    def test_a_folder_that_was_there_stays(self, tmp_path):
        (tmp_path / "run").mkdir()
        claim(tmp_path / "run").release()
        assert names(tmp_path / "run") == []

    def test_releasing_twice_frees_nobody_elses_lock(self, tmp_path):
        first = claim(tmp_path)
        first.release()
        second = claim(tmp_path)
        first.release()
        with pytest.raises(MinialexError, match="in use"):
            claim(tmp_path)
        second.release()

    def test_another_run_is_not_overwritten(self, tmp_path):
        (tmp_path / "metrics.jsonl").write_text("figures")
        with pytest.raises(MinialexError, match=r"already holds files \('metrics.jsonl'\)"):
            claim(tmp_path)
        assert names(tmp_path) == ["metrics.jsonl"]
        with claim(tmp_path, resume=True):
            assert (tmp_path / "metrics.jsonl").read_text() == "figures"

    def test_hidden_files_are_no_run(self, tmp_path):
        (tmp_path / ".gitignore").write_text("*")
        claim(tmp_path).release()
        assert names(tmp_path) == [".gitignore"]

    def test_nothing_to_resume(self, tmp_path):
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(MinialexError, match="no run to resume"):
                claim(folder, resume=True)
        assert names(tmp_path) == []

    def test_places_where_no_folder_can_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(MinialexError, match="a file of this name is in the way"):
            claim(tmp_path / "file")
        with pytest.raises(MinialexError, match="is a file, not a folder"):
            claim(tmp_path / "file" / "run")

    def test_a_folder_that_cannot_be_written(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(run_folder.os, "open", refuse)
        with pytest.raises(MinialexError, match="disk is read-only: choose another folder"):
            claim(tmp_path)

    def test_what_a_killed_process_left_half_written_goes(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            with pytest.raises(KeyboardInterrupt):
                atomic_write(tmp_path / "file", raise_interrupt)
        assert len(names(tmp_path)) == 1
        claim(tmp_path).release()
        assert names(tmp_path) == []

    def test_another_process_is_named(self, tmp_path, other_process):
        with pytest.raises(MinialexError, match=rf"in use .*process {other_process.pid} on"):
            claim(tmp_path / "run")
        other_process.communicate("")
        claim(tmp_path / "run").release()

    def test_a_killed_process_holds_nothing(self, tmp_path, other_process):
        other_process.send_signal(signal.SIGKILL)
        other_process.wait()
        assert names(tmp_path / "run") == [LOCK_FILE]
        with claim(tmp_path / "run"), pytest.raises(MinialexError, match="in use"):
            claim(tmp_path / "run")

    def test_a_lock_removed_between_opening_and_locking_is_no_lock(self, tmp_path, monkeypatch):
        flock = run_folder._flock
        stolen = []

        def steal_first(descriptor):
            if not stolen:
                stolen.append((tmp_path / LOCK_FILE).unlink())
            return flock(descriptor)

        monkeypatch.setattr(run_folder, "_flock", steal_first)
        with claim(tmp_path), pytest.raises(MinialexError, match="in use"):
            claim(tmp_path)
        assert stolen


def raise_interrupt(_):
    raise KeyboardInterrupt


class TestClaimWithoutFileLocks:
    @pytest.fixture(autouse=True)
    def _no_flock(self, monkeypatch):
        monkeypatch.setattr(run_folder, "fcntl", None)

    def test_the_file_is_the_lock(self, tmp_path):
        with claim(tmp_path):
            with pytest.raises(MinialexError, match=f"if nothing uses it, delete {tmp_path}"):
                claim(tmp_path)
            assert names(tmp_path) == [LOCK_FILE]
        claim(tmp_path).release()

    def test_a_lock_of_an_ended_process_is_taken_over(self, tmp_path):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        (tmp_path / LOCK_FILE).write_text(f"{ended.pid} {run_folder.socket.gethostname()}\n")
        with claim(tmp_path):
            assert (tmp_path / LOCK_FILE).read_text().startswith(f"{os.getpid()} ")

    @pytest.mark.parametrize("text", ["", "garbage", "999999 another-host", "1 {host}", "9" * 5000])
    def test_a_lock_of_anyone_else_is_not(self, tmp_path, text):
        text = text.format(host=run_folder.socket.gethostname())
        (tmp_path / LOCK_FILE).write_text(text)
        with pytest.raises(MinialexError, match="in use"):
            claim(tmp_path)
        assert (tmp_path / LOCK_FILE).read_text() == text

    def test_a_process_of_another_user_holds_its_lock(self, tmp_path, monkeypatch):
        asked = []

        def refuse(process, number):
            asked.append((process, number))
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(run_folder.os, "kill", refuse)
        (tmp_path / LOCK_FILE).write_text(f"77 {run_folder.socket.gethostname()}\n")
        with pytest.raises(MinialexError, match=r"in use by another run \(process 77 on"):
            claim(tmp_path)
        # 0 is no signal: it asks whether the process is there
        assert asked == [(77, 0)]


def test_a_file_system_that_refuses_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(run_folder.fcntl, "flock", refuse)
    with claim(tmp_path), pytest.raises(MinialexError, match="in use"):
        claim(tmp_path)
