"""Checkpoints and saved models: damaged ones, and edited ones whose checksums are right."""

from __future__ import annotations

import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import minialex
from minialex.data import ImageFolder
from minialex.train import factory
from minialex.train.given import make_settings
from minialex.train.run_state import BestEpoch, Position, RunData, RunningTotals, RunState
from minialex.weights import checkpoint, open_weights
from minialex.weights.safetensors import HEADER_CHECKSUM, HostArray, write_safetensors
from tests.campaigns.fuzz import files
from tests.campaigns.mutations import damage, edited
from tests.small_runs import write_images

SETTINGS = make_settings(image_size=32, optimizer="sgd", device="cpu")

# there until the process ends
FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


@cache
def state() -> RunState:
    """Return the state of a run in its second epoch, of which checkpoints are made."""
    FOLDERS.append(tempfile.TemporaryDirectory(prefix="campaign-"))
    images = ImageFolder(write_images(Path(FOLDERS[0].name) / "images", each=2))
    data = RunData(images, images)
    model = factory.make_model(SETTINGS, len(data.train.classes), minialex.arrays.CPU)
    made = RunState(
        SETTINGS, data, model, factory.make_optimizer(SETTINGS, model), RunningTotals(np.zeros(2))
    )
    made.position, made.best = Position(1, 3), BestEpoch(1, 62.5, 1.25)
    made.totals.images = 96
    return made


@cache
def whole() -> tuple[bytes, dict[str, HostArray], dict[str, str]]:
    """Return a checkpoint as it is written, and its parts."""
    with tempfile.TemporaryDirectory() as folder:
        state().save(Path(folder), best=False)
        path = Path(folder) / checkpoint.LAST_CHECKPOINT
        saved = checkpoint.load(path)
        tensors = {name: x.copy() for name, x in saved.tensors.items()}
        content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return content, tensors, json.loads(content[8:start])["__metadata__"]


def prepare() -> None:
    """Make and read a whole checkpoint: what all of this imports and keeps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole"
        path.write_bytes(whole()[0])
        assert read(path, made=True) is None


def make(draw: random.Random, path: Path) -> bool:
    """Write one file; returns whether its content must be as it was."""
    content, tensors, metadata = whole()
    start = 8 + int.from_bytes(content[:8], "little")
    if draw.random() < 0.5:
        cut = draw.choice((start, start, start + 4000, len(content)))
        path.write_bytes(damage(draw, content[:cut]) + content[cut:])
        return True
    manifest = json.loads(metadata[checkpoint.MANIFEST_KEY])
    if draw.random() < 0.3:
        for name in ("position", "optimizer", "schedule", "random"):
            del manifest[name]
    inner = draw.choice([manifest, *(x for x in manifest.values() if x and isinstance(x, dict))])
    text = edited(draw, inner)
    if inner is not manifest:
        name = next(name for name, x in manifest.items() if x is inner)
        text = json.dumps({**manifest, name: "<<>>"}).replace('"<<>>"', text)
    changed = {**metadata, HEADER_CHECKSUM: "", checkpoint.MANIFEST_KEY: text}
    kept = dict(tensors)
    if draw.random() < 0.2:
        name = draw.choice(list(kept))
        kept[name] = draw.choice((kept[name][:1], kept[name].astype("<i4"), np.zeros(0, "<f4")))
    write_safetensors(path, kept, changed)
    return False


def read(path: Path, made: bool) -> str | None:
    """Read it in all ways; returns what is wrong with what was read, or None."""
    errors = []
    for way in (load_model, restore):
        try:
            way(path)
        except minialex.MinialexError as error:
            errors.append(error)
    if made and len(errors) < 2:
        return _differences(path)
    if errors:
        raise errors[0]
    return None


def load_model(path: Path) -> None:
    """Load it as a model."""
    model, classes, transform = minialex.load(path)
    if len(classes) not in (0, model.num_classes) or not 1 <= transform.size <= 4096:
        raise AssertionError(f"{len(classes)} names for {model.num_classes} classes")


def restore(path: Path) -> None:
    """Go on with its run."""
    run = state()
    run.restore(checkpoint.load(path))
    best, position = run.best, run.position
    numbers: list[Any] = [best.epoch, position.epoch, position.batch, run.model.generator.offset]
    if any(type(x) is not int for x in numbers) or not 0 <= best.accuracy <= 100:
        raise AssertionError(f"{numbers} and {best} were taken")


def _differences(path: Path) -> str | None:
    """Say what differs in a damaged file that was taken: nothing of a model may."""
    _, tensors, metadata = whole()
    found = open_weights(path)
    manifest = json.loads(metadata[checkpoint.MANIFEST_KEY])
    equal = all(np.array_equal(x, tensors[name]) for name, x in found.parameters.items())
    same = equal and isinstance(found, checkpoint.Checkpoint) and found.manifest == manifest
    return None if same else "it was damaged, and was taken"


CAMPAIGN = files(__name__, "checkpoints", count=10_000, short=15, megabytes=400)
