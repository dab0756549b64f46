"""The figures of a run make a picture."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from minialex.errors import MinialexError
from minialex.train import curves
from minialex.train.curves import draw_curves
from minialex.train.run_state import RunState
from tests.train.test_metrics import TRAIN, VAL, run_of


def ink(path):
    """Return how many pixels of a picture have each of the two curves' colours."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    colours = [(0x44, 0x77, 0xAA), (0xCC, 0x55, 0x33)]
    return [int((np.abs(pixels.astype(int) - colour).sum(axis=1) < 12).sum()) for colour in colours]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return a function that draws records and returns a picture's lines: 0 is the loss."""
    figures = []

    class Kept(Figure):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            figures.append(self)

    def lines(records, picture=0):
        with monkeypatch.context() as patch:
            patch.setattr("matplotlib.figure.Figure", Kept)
            patch.setattr(curves, "atomic_write", lambda *_: None)
            draw_curves(records, tmp_path / "curves.png", 20)
        return figures[-1].axes[picture].get_lines()

    return lines


def test_both_curves_are_in_the_picture(tmp_path):
    draw_curves(run_of(8), tmp_path / "curves.png", 20)
    train, val = ink(tmp_path / "curves.png")
    assert train > 400
    assert val > 400
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_one_split_alone(tmp_path):
    path = tmp_path / "curves.png"
    draw_curves([record for record in run_of(8) if record.split == "train"], path, 20)
    assert ink(path)[0] > 400
    assert ink(path)[1] == 0
    draw_curves([record for record in run_of(8) if record.split == "val"], path, 20)
    assert ink(path)[0] == 0
    assert ink(path)[1] > 400


@pytest.mark.parametrize(
    "records",
    [
        [],
        [TRAIN],
        [VAL],
        [replace(TRAIN, loss=math.nan, accuracy=math.nan)],
        [replace(TRAIN, step=0, epoch=0, loss=0.0)],
        [*run_of(2), replace(VAL, loss=math.inf)],
        run_of(100, every=1),
    ],
)
def test_whatever_there_is_makes_a_picture(tmp_path, records):
    draw_curves(records, tmp_path / "curves.png", 20)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 400


def test_figures_stand_at_their_epochs(drawn):
    records = run_of(3)
    training, validation, _ = drawn(records)
    assert validation.get_xdata().tolist() == [1, 2, 3]
    assert validation.get_ydata().tolist() == [r.loss for r in records if r.split == "val"]
    assert training.get_xdata()[0] == 0.25


@pytest.mark.parametrize("seen", [1, 3])
def test_a_run_that_stopped_within_its_first_epoch_is_drawn_to_there(drawn, seen):
    (training,) = drawn(run_of(1)[:seen])
    assert training.get_xdata().tolist() == [0.25, 0.5, 0.75][:seen]
    assert training.axes.get_xlim() == (0, pytest.approx(1.02))
    # a line through one point cannot be seen
    assert training.get_marker() == ("o" if seen == 1 else "")


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [
        ([50, 80, 70], [0.9, 0.8, 0.1], 2),
        ([50, 80, 80], [0.9, 0.8, 0.7], 3),
        ([50, 80, 80], [0.9, 0.7, 0.7], 2),
        ([50, 80, math.nan], [0.9, 0.8, math.nan], 2),
    ],
)
def test_one_epoch_is_the_best_in_both_pictures_and_in_the_checkpoint(
    drawn, accuracies, losses, best
):
    measured = list(zip(accuracies, losses, strict=True))
    records = [
        replace(VAL, epoch=e, step=20 * e, accuracy=accuracy, loss=loss)
        for e, (accuracy, loss) in enumerate(measured, 1)
    ]
    for picture, values in enumerate((losses, accuracies)):
        curve, ring = drawn(records, picture)
        assert ring.get_xdata().tolist() == [best]
        assert ring.get_ydata().tolist() == [values[best - 1]]
        shown = [f"{values[best - 1]:g}", f"{values[best - 1]}.00 %"][picture]
        assert curve.get_label() == f"validation (best: epoch {best}, {shown})"
        title = curve.axes.get_title(loc="left")
        assert (title, curve.axes.get_xlabel()) == (
            ["Loss (nats)", "Accuracy (%)"][picture],
            "Epoch",
        )
        assert curve.axes.get_ylim()[0] == 0
    state = RunState(None, None, None, None, SimpleNamespace(reset=lambda: None))
    for accuracy, loss in measured:
        if math.isfinite(loss):
            state.close_epoch(SimpleNamespace(accuracy=accuracy, loss=loss))
    assert state.best.epoch == best


def test_the_running_mean_does_not_sag_at_the_ends(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    curves._draw_training(axes, np.arange(100.0), np.full(100, 3.0))
    assert np.allclose(axes.get_lines()[-1].get_ydata(), 3.0)


def test_thirty_figures_have_a_running_mean_of_five_around_each():
    axes = Figure().subplots(1, 2)
    for one, count in zip(axes, (29, 30), strict=True):
        curves._draw_training(one, np.arange(count), np.arange(count) ** 2.0)
    assert [line.get_label() for line in axes[0].get_lines()] == ["training"]
    figures, mean = axes[1].get_lines()
    assert figures.get_ydata().tolist() == [n**2 for n in range(30)]
    assert mean.get_label() == "training (running mean)"
    # of 0, 1, 4; then also of 9; then of five each
    inner = [n**2 + 2 for n in range(2, 28)]
    np.testing.assert_allclose(mean.get_ydata()[:-2], [5 / 3, 14 / 4, *inner])


def test_low_values_get_a_logarithmic_scale():
    scales = []
    for low in (0.5, 0.01, 0.0):
        axes = Figure().subplots()
        axes.plot([0, 1], [2.0, low])
        curves._spread_low_values(axes)
        scales.append(axes.get_yscale())
    assert scales == ["linear", "log", "linear"]


def test_a_failure_keeps_the_last_picture(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "curves.png"
    path.write_bytes(b"before")
    monkeypatch.setattr("minialex.files.os.fsync", refuse)
    with pytest.raises(MinialexError, match="disk is full"):
        draw_curves(run_of(2), path, 20)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys; from minialex.train.curves import draw_curves, MetricsRecord; "
        f"draw_curves([{VAL!r}], {str(tmp_path / 'curves.png')!r}, 20); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
