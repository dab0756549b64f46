"""What narrow terminals show: names and figures whole, of a bar what matters most."""

import pytest

from minialex.cli import options
from minialex.cli.progress import fitting_status
from minialex.models import alexnet
from minialex.study import summarise


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_summary_shows_every_name_and_figure_whole(minialex, monkeypatch, width):
    monkeypatch.setattr(options.console, "width", width)
    answer = minialex("summary", "alexnet-mini", "--classes", "10")
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert max(map(len, lines[1:-1])) <= width
    assert "…" not in answer.out
    words = answer.out.replace(",\n", "\n").split()
    for row in summarise(alexnet("alexnet-mini", 10)).rows:
        assert row.name in words
        assert "x".join(map(str, row.shape)) in " ".join(words).replace(",", " ").split()
    assert "717,992" not in words
    assert "463,562" in " ".join(words)


def test_an_evaluation_keeps_the_names_of_classes(minialex, run_folder, monkeypatch):
    monkeypatch.setattr(options.console, "width", 30)
    answer = minialex("evaluate", run_folder)
    assert {"light", "dark"} <= set(answer.out.split())
    assert "  precision " in answer.out


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (99, "3/45  loss 2.1  9 images/s  2:35 left"),
        (37, "3/45  loss 2.1  9 images/s  2:35 left"),
        (36, "3/45  loss 2.1  2:35 left"),
        (20, "3/45  2:35 left"),
        (1, "3/45"),
    ],
)
def test_a_bar_drops_what_matters_least_and_the_time_left_last(columns, shown):
    parts = {"3/45": 4, "loss 2.1": 2, "9 images/s": 1, "2:35 left": 3}
    assert fitting_status(parts, columns) == shown
