import hashlib
import importlib.resources
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from minialex.data import Digits, ImageFolder, split, write_digits
from minialex.data import digits as module
from minialex.errors import MinialexError


@pytest.fixture(scope="module")
def dataset():
    return Digits()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    calls = []
    counts = write_digits(out, progress=lambda done, total: calls.append((done, total)))
    return out, counts, calls


def ink_of(pixels):
    paper, pen = np.array(module.PAPER, float), np.array(module.PEN, float)
    return ((paper - pixels) / (paper - pen)).mean(axis=-1)


def test_they_are_scikit_learns(dataset):
    theirs = load_digits()
    assert len(dataset) == 1797
    np.testing.assert_array_equal(dataset.targets, theirs.target)
    assert dataset.classes == [str(name) for name in theirs.target_names]
    for index in range(0, 1797, 37):
        pixels = dataset.load(index).pixels()
        assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
        # Averaged over each cell, the drawing follows the grey values it was made from.
        ink = Image.fromarray(ink_of(pixels).astype(np.float32))
        cells = ink.resize((8, 8), Image.Resampling.BOX, box=(4.17, 4.17, 59.83, 59.83))
        related = np.corrcoef(np.asarray(cells).ravel(), theirs.images[index].ravel())
        assert related[0, 1] > 0.9


def test_paper_and_pen_are_the_ends_of_the_scale():
    blank, full = (module.draw(np.full((8, 8), ink)) for ink in (0, 16))
    assert (blank == module.PAPER).all()
    np.testing.assert_array_equal(full[20:44, 20:44].reshape(-1, 3)[0], module.PEN)
    np.testing.assert_array_equal(full[0, 0], module.PAPER)


def test_a_drawing_is_the_right_way_up():
    ink = np.zeros((8, 8), int)
    ink[1, 6] = 16
    rows, columns = np.nonzero(module.draw(ink)[..., 0] < 100)
    assert rows.max() < 25
    assert columns.min() > 39


@pytest.mark.equal_bits
def test_they_are_always_the_same(dataset):
    drawn = np.stack([dataset.load(index).pixels() for index in range(100)])
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:12] == "1d85ad4efd88"


def test_without_scikit_learn_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MinialexError, match="pip install scikit-learn"):
        Digits()


@pytest.mark.parametrize("at", [0, 5000, -20, -3], ids=str)
def test_a_damaged_file_is_noticed(tmp_path, monkeypatch, at):
    """In its head, its content and its checksum."""
    package = importlib.resources.files("sklearn.datasets.data")
    content = bytearray((package / "digits.csv.gz").read_bytes())
    content[at] ^= 1
    (tmp_path / "digits.csv.gz").write_bytes(content)
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    with pytest.raises(MinialexError, match=r"cannot read .*digits\.csv\.gz: install scikit-learn"):
        Digits()


def test_the_written_folder_is_the_split_that_training_uses(dataset, written):
    out, counts, calls = written
    train, val = split(dataset, module.VAL_FRACTION, 0)
    assert counts == (len(train), len(val)) == (1438, 359)
    assert calls[0] == (1, 1797)
    assert calls[-1] == (1797, 1797)
    for part, name in ((train, "train"), (val, "val")):
        folder = ImageFolder(out / name)
        assert folder.classes == dataset.classes
        files = {Path(path).stem: i for i, path in enumerate(folder.paths)}
        assert len(files) == len(part)
        for index in range(0, len(part), 53):
            i = files[part.name(index)]
            assert folder.targets[i] == part.targets[index]
            np.testing.assert_array_equal(folder.load(i).pixels(), part.load(index).pixels())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(MinialexError, match="is not empty: name a new folder"):
        write_digits(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MinialexError, match=r"cannot write .*file.*: a part of this path"):
        write_digits(tmp_path / "file" / "out")


def test_a_full_disk_is_told():
    with pytest.raises(MinialexError, match="cannot write /proc"):
        write_digits("/proc/minialex")
