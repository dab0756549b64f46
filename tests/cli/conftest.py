"""Running commands as `minialex` does, and a small folder of images to run them on."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from minialex.cli import main


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
        monkeypatch.setattr(sys, "argv", ["minialex", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capsys.readouterr()
        return Answer(status, out, err)

    return run


def write_images(folder, classes=("light", "dark"), count=6):
    """Write images of two brightnesses, told apart at a glance, with a little noise."""
    rng = np.random.default_rng(len(classes) + count)
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 40, (20, 24, 3)) + (200 if c == 0 else 10 * c)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos")


TINY = ("--network", "alexnet-mini", "--image-size", "32", "--batch-size", "4", "--epochs", "1")


@pytest.fixture
def run_folder(minialex, photos, tmp_path):
    """Return the folder of a finished run on `photos`."""
    assert minialex("train", photos, *TINY, "--out", tmp_path / "run").status == 0
    return tmp_path / "run"
