"""The table of `evaluate`: on narrow terminals, with long names and many classes."""

import re
import sys

import numpy as np
import pytest
from rich.console import Console

from minialex.cli import evaluate as command
from minialex.evaluation.evaluate import Evaluation

LONG = "n02099601 golden retriever, Canis lupus familiaris"


def shown(capsys, monkeypatch, classes, columns, terminal=True):
    console = Console(
        file=sys.stdout, width=columns, force_terminal=terminal, color_system=None, soft_wrap=True
    )
    monkeypatch.setattr(command, "console", console)
    C = len(classes)
    # of class i all but i of 1,999 images are right
    confusion = np.diag(1999 - np.arange(C)) + np.diag(np.arange(1, C), -1)
    command._print(Evaluation(tuple(classes), 0.25, confusion, 1999 * C - 1), "images of photos")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_no_column_is_lost(capsys, monkeypatch, columns):
    title, heading, rule, *rows, last = shown(capsys, monkeypatch, ["cat", LONG], columns)
    assert title == "3,998 images: images of photos; in percent"
    assert heading.split() == [
        "class",
        "prec." if columns < 60 else "precision",
        "recall",
        "F1",
        "images",
    ]
    assert max(map(len, (heading, rule, *rows))) <= columns
    assert rows[0].split() == ["cat", "99.95", "100.00", "99.97", "1,999"]
    # the name goes on below itself, whole
    first = re.sub(r"( +[\d.,]+){4} *$", "", rows[1])
    assert "".join([first, *rows[2:]]).replace(" ", "") == LONG.replace(" ", "")
    assert rows[1].split()[-4:] == ["100.00", "99.95", "99.97", "1,999"]
    assert last == "top-1 accuracy 99.97 % (3,997 of 3,998), loss 0.2500"


@pytest.mark.parametrize(("C", "expected"), [(5, ""), (6, ", top-5 99.99 %")])
def test_top5_is_said_of_more_classes_than_five(capsys, monkeypatch, C, expected):
    last = shown(capsys, monkeypatch, list("abcdefgh"[:C]), 80)[-1]
    assert re.sub("^.*[)]|, loss.*$", "", last) == expected


@pytest.mark.parametrize(
    ("C", "terminal", "rows"), [(50, True, 50), (1000, True, 20), (60, False, 60)]
)
def test_of_many_classes_a_terminal_shows_the_worst(capsys, monkeypatch, C, terminal, rows):
    names = [f"class-{i}" for i in range(C)]
    title, _, _, *lines, _ = shown(capsys, monkeypatch, names, 80, terminal)
    assert len(lines) == rows
    if rows == 20:
        assert "; the 20 of 1,000 classes with the lowest F1; in percent" in title
        assert lines[0].split()[0] in ("class-999", "class-998")
