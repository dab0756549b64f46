"""Runs small enough to be repeated: a folder of tiny images, settings for it, a reporter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minialex.train.given import make_settings
from minialex.train.metrics import read_metrics
from minialex.train.settings import Settings

CLASSES = "blue", "green", "red"


def write_images(root: Path, each: int = 10, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write `each` noisy images per class, told apart by their colour, as ROOT/<class>/*.png."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 120, (20, 24, 3), np.uint8)
            pixels[:, :, 2 - c % 3] += 100
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
    return root


def small(data: Path, **options: Any) -> Settings:
    """Return settings of a run that takes a second."""
    usual: dict[str, Any] = {
        "variant": "alexnet-mini",
        "image_size": 32,
        "epochs": 2,
        "batch_size": 5,
        "lr": 1e-4,
        "warmup": 3,
        "schedule": "cosine",
        "log_every": 2,
        "workers": 1,
        "device": "cpu",
    }
    return make_settings("images", **{**usual, "data": str(data), **options})


class Listener:
    """A reporter that keeps its callbacks' arguments, and does something at a chosen one.

    Parameters
    ----------
    at : (str, int), optional
        The name of the callback, and which of its calls, from 1.
    do : callable, optional
        What to do then.
    """

    def __init__(self, at: tuple[str, int] | None = None, do: Any = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.at, self.do = at, do

    def _record(self, name: str, *what: Any) -> None:
        self.calls.append((name, *what))
        if self.at == (name, len(self.of(name))):
            self.do()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *what: self._record(name, *what)

    def of(self, name: str) -> list[Any]:
        """Return the arguments of all calls of a callback."""
        return [what[1] if len(what) == 2 else what[1:] for what in self.calls if what[0] == name]


def kill(*signals: int) -> Any:
    """Return a function that sends this process signals."""

    def send() -> None:
        for signal in signals:
            os.kill(os.getpid(), signal)

    return send


def without_rates(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics in a folder without what depends on the clock."""
    return [{**vars(record), "images_per_second": 0} for record in read_metrics(folder)]


def checkpoints(folder: Path) -> dict[str, bytes]:
    """Return the checkpoints in a folder by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
