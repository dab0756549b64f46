"""Whichever way a file of weights comes in, it is opened once and parsed once."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from minialex.arrays import device
from minialex.models import alexnet
from minialex.persistence import load_trained
from minialex.train.factory import make_model
from minialex.train.run import resume, train
from minialex.weights import checkpoint, open_weights, pth, safetensors
from minialex.weights.safetensors import write_safetensors
from tests.small_runs import small, write_images
from tests.weights import pth_writer

OPENED = Counter()


@sys.addaudithook
def note_opening(event, args):
    """Count every file that is opened, by whatever means: a hook, once there, cannot be removed."""
    if event == "open" and isinstance(args[0], str | os.PathLike):
        OPENED[os.fspath(args[0])] += 1


# Pickles a file has: the older form of PyTorch's holds five.
PICKLES = {"zip.pth": 1, "legacy.pth": 5, "plain.safetensors": 0, "checkpoint": 0}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network as each kind of file."""
    folder = tmp_path_factory.mktemp("weights")
    run = train(small(write_images(folder / "images"), out=str(folder / "run"), epochs=1))
    weights = alexnet("alexnet-mini", 3).state_dict()
    pth_writer.write_zip(folder / "zip.pth", weights)
    pth_writer.write_legacy(folder / "legacy.pth", weights)
    write_safetensors(folder / "plain.safetensors", weights, {})
    return {name: folder / name for name in PICKLES} | {"checkpoint": run.checkpoint}


@pytest.fixture
def parsed(monkeypatch):
    """How often a pickle and a header were parsed."""
    count = Counter()

    def counting(module, name, what):
        original = getattr(module, name)

        def counted(*args):
            count[what] += 1
            return original(*args)

        monkeypatch.setattr(module, name, counted)

    counting(pth, "load_pickle", "pickle")
    counting(safetensors, "_parse_header", "header")
    return count


WAYS = {
    "open": open_weights,
    "pretrained": lambda path: make_model(small(Path(), pretrained=str(path)), 3, device("cpu")),
    "evaluate and predict": lambda path: load_trained(path, device="cpu", variant="alexnet-mini"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", PICKLES)
def test_each_kind_and_way(files, parsed, kind, way):
    OPENED.clear()
    WAYS[way](files[kind])
    assert OPENED[str(files[kind])] == 1
    assert parsed == Counter(pickle=PICKLES[kind], header=not PICKLES[kind])


def test_a_run_that_goes_on(files, parsed):
    path = files["checkpoint"]
    OPENED.clear()
    resume(path.parent, epochs=2)
    assert OPENED[str(path)] == 1
    assert parsed == Counter(header=1)


def test_a_checkpoint_read_whole(files, parsed):
    OPENED.clear()
    checkpoint.load(files["checkpoint"])
    assert OPENED[str(files["checkpoint"])] == 1
    assert parsed == Counter(header=1)
