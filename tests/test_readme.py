"""README's Python, run in its order, on fewer digits."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import minialex.data
from minialex.data import Subset
from minialex.train import train
from tests.small_runs import small, write_images

ROOT = Path(__file__).parents[1]


def blocks(document):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


BLOCKS = blocks("README.md")


class FewDigits(Subset):
    def __init__(self):
        super().__init__(minialex.data.digits.Digits(), np.arange(200))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where README's commands were run: its run has a name, if not its size."""
    there = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "docs" / "programs", there / "docs" / "programs")
    images = write_images(there / "images")
    train(small(images, out=str(there / "runs" / "digits"), epochs=1, image_size=64))
    return there


@pytest.mark.usefixtures("no_curves")
def test_its_python_runs_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("minialex.data.Digits", FewDigits)
    names = {}
    for block in BLOCKS:
        if "PyTorch" not in block:
            exec(compile(block, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert re.search(r"^epoch 2: loss \d\.\d{3}, \d+\.\d\d % of validation images$", said, re.M)
    assert "FAIL" not in said
    assert said.count("PASS") >= 2
    assert names["five"].num_classes == 5


def test_kernels_of_others_run_as_their_document_says(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {}
    for block in blocks("docs/your-kernels.md"):
        exec(compile(block, "your-kernels.md", "exec"), names)
    said = capsys.readouterr().out.replace(f"{folder}/", "")
    document = (ROOT / "docs" / "your-kernels.md").read_text()
    assert f"```text\n{said}```" in document


def without_rounding(report):
    """Return a report without what differs from one processor to another."""
    report = re.sub(r", \d+ of them smaller than what is allowed", "", report)
    error = r"(?<=largest error )0|(?<=of )0(?= allowed)"
    return re.sub(rf"-?\d+\.\d+(e-?\d+)?|\d+e-\d+|{error}", "#", report)


def test_the_checker_says_what_its_document_shows(monkeypatch, capsys):
    document = (ROOT / "docs" / "checker.md").read_text()
    monkeypatch.chdir(ROOT)
    names, shown = {}, re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", re.M | re.S)
    found = shown.findall(document)
    assert len(found) == len(blocks("docs/checker.md"))
    for block, text in found:
        exec(compile(block, "checker.md", "exec"), names)
        assert without_rounding(capsys.readouterr().out) == without_rounding(text)


def test_pytorch_reads_what_it_says(torch, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (block,) = [block for block in BLOCKS if "PyTorch" in block]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    model, _, _ = minialex.load("runs/digits")
    assert {name: tuple(w.shape) for name, w in names["weights"].items()} == {
        name: w.shape for name, w in model.state_dict().items()
    }
