"""What `evaluate` prints: class by class, on narrow terminals, of long names and many classes."""

import re
import sys

import numpy as np
import pytest
from rich.console import Console

from minialex.cli import evaluate as command
from minialex.cli import options
from minialex.evaluation.evaluate import Evaluation

LONG = "n02099601 golden retriever, Canis lupus familiaris"


def shown(capsys, monkeypatch, classes, columns, terminal=True):
    console = Console(
        file=sys.stdout, width=columns, force_terminal=terminal, color_system=None, soft_wrap=True
    )
    for module in (command, options):
        monkeypatch.setattr(module, "console", console)
    C = len(classes)
    # of class i all but i of 1,999 images are right
    confusion = np.diag(1999 - np.arange(C)) + np.diag(np.arange(1, C), -1)
    command._print(Evaluation(tuple(classes), 0.25, confusion, 1999 * C - 1), "images of photos")
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_nothing_of_a_class_is_lost(capsys, monkeypatch, columns):
    text = shown(capsys, monkeypatch, ["cat", LONG], columns)
    assert "3,998 images: images of photos" in text
    entries = iter(text.replace(",", "").split())
    expected = f"cat 99.95 100.00 99.97 1999 {LONG} 100.00 99.95 99.97 1999"
    for entry in expected.replace(",", "").split():
        assert entry in entries, f"{entry!r} is missing, or not in its place"
    assert text.endswith("top-1 accuracy 99.97 % (3,997 of 3,998), loss 0.2500\n")


@pytest.mark.parametrize(("C", "expected"), [(5, ""), (6, ", top-5 99.99 %")])
def test_top5_is_said_of_more_classes_than_five(capsys, monkeypatch, C, expected):
    last = shown(capsys, monkeypatch, list("abcdefgh"[:C]), 80).splitlines()[-1]
    assert re.sub("^.*[)]|, loss.*$", "", last) == expected


@pytest.mark.parametrize(
    ("C", "terminal", "rows"), [(50, True, 50), (1000, True, 20), (60, False, 60)]
)
def test_of_many_classes_a_terminal_shows_the_worst(capsys, monkeypatch, C, terminal, rows):
    text = shown(capsys, monkeypatch, [f"class-{i}" for i in range(C)], 80, terminal)
    names = re.findall(r"class-\d+", text)
    assert len(names) == rows
    assert ("; the 20 of 1,000 classes with the lowest F1\n" in text) == (rows == 20)
    if rows == 20:
        assert {"class-998", "class-990"} <= set(names)
