"""Running commands as `minialex` does, and a small folder of images to run them on."""

import sys
from dataclasses import dataclass

import pytest

from minialex.cli import main
from minialex.cli.options import console, messages
from tests.small_runs import write_images


@dataclass
class Answer:
    status: int
    out: str
    err: str


@pytest.fixture
def minialex(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command in an empty folder and returns its `Answer`."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        for output in (console, messages):
            # what an earlier command could not write is gone with its process
            output.begin_capture()
            output.end_capture()
        monkeypatch.setattr(sys, "argv", ["minialex", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capsys.readouterr()
        return Answer(status, out, err)

    return run


def failures(answer):
    """Return the kinds of check that failed, by what `gradcheck` counts in the end."""
    counts = [line for line in answer.out.splitlines() if line.startswith("of kind ")]
    return {line.split(":")[0].removeprefix("of kind ") for line in counts if "FAIL" in line}


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos", 6, ("light", "dark"))


TINY = ("--network", "alexnet-mini", "--image-size", "32", "--batch-size", "4", "--epochs", "1")


@pytest.fixture
def run_folder(minialex, photos, tmp_path):
    """Return the folder of a finished run on `photos`."""
    assert minialex("train", photos, *TINY, "--out", tmp_path / "run").status == 0
    return tmp_path / "run"
