"""Figures are in the file when they are written, survive resuming, and make a picture."""

import errno
import json
import math
import os
import struct
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
from minialex.train import metrics
from minialex.train.metrics import MetricsRecord, MetricsWriter, draw_curves, read_metrics
from minialex.train.run_state import RunState

TRAIN = MetricsRecord("train", 1, 10, 2.25, 12.5, 0.001, 480.0)
VAL = MetricsRecord("val", 1, 20, 1.5, 55.25, 0.001, 900.0)


def run_of(epochs, batches=20, every=5, rate=100.0):
    """Return the records of a run, in order."""
    records = []
    for step in range(1, epochs * batches + 1):
        epoch, loss = (step - 1) // batches + 1, 2.5 / step + 0.1
        figures = (loss, 100 - 20 * loss, 0.001, rate)
        if step % every == 0:
            records.append(MetricsRecord("train", epoch, step, *figures))
        if step % batches == 0:
            records.append(MetricsRecord("val", epoch, step, *figures))
    return records


def write_all(folder, records, **options):
    with MetricsWriter(folder, **options) as writer:
        for record in records:
            writer.write(record)


@pytest.fixture
def without_tensorboard(monkeypatch):
    """Make tensorboardX look as if it were not installed."""
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)


@pytest.mark.usefixtures("without_tensorboard")
class TestWriting:
    def test_one_object_a_line(self, tmp_path):
        write_all(tmp_path, [TRAIN, VAL])
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[0]) == {
            "split": "train",
            "epoch": 1,
            "step": 10,
            "loss": 2.25,
            "accuracy": 12.5,
            "lr": 0.001,
            "images_per_second": 480.0,
        }
        assert len(lines) == 2
        assert read_metrics(tmp_path) == [TRAIN, VAL]
        assert read_metrics(tmp_path / "metrics.jsonl") == [TRAIN, VAL]

    def test_a_line_is_there_at_once(self, tmp_path):
        with MetricsWriter(tmp_path) as writer:
            assert read_metrics(tmp_path) == []
            writer.write(TRAIN)
            assert read_metrics(tmp_path) == [TRAIN]

    def test_the_file_stays_json_whatever_was_measured(self, tmp_path):
        write_all(tmp_path, [replace(TRAIN, loss=math.inf, images_per_second=math.nan)])
        line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
        assert line["loss"] is line["images_per_second"] is None
        assert math.isnan(read_metrics(tmp_path)[0].loss)

    def test_another_runs_figures_are_not_overwritten(self, tmp_path):
        write_all(tmp_path, [TRAIN])
        with pytest.raises(MinialexError, match="choose another folder or resume"):
            MetricsWriter(tmp_path)
        assert read_metrics(tmp_path) == [TRAIN]

    def test_no_folder(self, tmp_path):
        with pytest.raises(MinialexError, match=r"cannot write .*: its folder does not exist"):
            MetricsWriter(tmp_path / "missing")

    def test_a_full_disk(self, tmp_path):
        resource = pytest.importorskip("resource", reason="this system has no limits on file sizes")
        writer = MetricsWriter(tmp_path)
        writer.write(TRAIN)
        size = (tmp_path / "metrics.jsonl").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, before[1]))
        try:
            with pytest.raises(MinialexError, match=r"cannot write .*metrics\.jsonl"):
                writer.write(VAL)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.close()
        # Thirty bytes of the second line are there; they are no figures.
        assert (tmp_path / "metrics.jsonl").stat().st_size == size + 30
        assert read_metrics(tmp_path) == [TRAIN]
        write_all(tmp_path, [VAL], resume_at=10)
        assert read_metrics(tmp_path) == [TRAIN, VAL]

    def test_no_tensorboard_no_events(self, tmp_path):
        write_all(tmp_path, [TRAIN])
        assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.usefixtures("without_tensorboard")
class TestResuming:
    @pytest.mark.parametrize("saved", [0, 1, 5, 7, 20, 21, 40])
    @pytest.mark.parametrize("reached", [40, 43])
    def test_the_file_is_that_of_a_run_never_interrupted(self, tmp_path, saved, reached):
        records = run_of(3)
        write_all(tmp_path, [record for record in records if record.step <= reached])
        rest = [record for record in run_of(3, rate=50.0) if record.step > saved]
        write_all(tmp_path, rest, resume_at=saved)
        read = read_metrics(tmp_path)
        assert [replace(record, images_per_second=100.0) for record in read] == records
        rates = {record.images_per_second for record in read if record.step > saved}
        assert rates == {50.0}

    def test_killed_between_validation_and_checkpoint(self, tmp_path):
        write_all(tmp_path, run_of(1))
        # The checkpoint was saved before validation, which therefore runs again.
        write_all(tmp_path, [run_of(1, rate=50.0)[-1], *run_of(2)[5:]], resume_at=20)
        assert read_metrics(tmp_path) == run_of(2)

    def test_killed_before_validation(self, tmp_path):
        write_all(tmp_path, run_of(1)[:-1])
        write_all(tmp_path, run_of(2)[4:], resume_at=20)
        assert read_metrics(tmp_path) == run_of(2)

    def test_no_file_yet(self, tmp_path):
        write_all(tmp_path, [VAL], resume_at=10)
        assert read_metrics(tmp_path) == [VAL]

    def test_a_damaged_file_stays_as_it_is(self, tmp_path):
        (tmp_path / "metrics.jsonl").write_text("{}\n")
        with pytest.raises(MinialexError, match="line 1 is not a record"):
            MetricsWriter(tmp_path, resume_at=10)
        assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


class TestReading:
    def test_a_line_half_written_is_left_out(self, tmp_path):
        line = metrics._to_line(TRAIN)
        (tmp_path / "metrics.jsonl").write_text(line + line[:-1])
        assert read_metrics(tmp_path) == [TRAIN]

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "{",
            "[]",
            "3",
            "[" * 100_000,
            '{"split": "train"}',
            metrics._to_line(replace(TRAIN, split="test")).strip(),
            metrics._to_line(TRAIN).strip().replace("2.25", '"much"'),
            metrics._to_line(TRAIN).strip().replace("10", "[1]"),
            metrics._to_line(TRAIN).strip().replace("10", "null"),
            metrics._to_line(TRAIN).strip().replace("10", "1e999"),
            metrics._to_line(TRAIN).strip().replace("2.25", "9" * 4000),
            metrics._to_line(replace(TRAIN, accuracy=5000.0)).strip(),
            metrics._to_line(replace(TRAIN, accuracy=-0.5)).strip(),
        ],
    )
    def test_what_is_no_record_is_named(self, tmp_path, line):
        path = tmp_path / "metrics.jsonl"
        path.write_text(metrics._to_line(TRAIN) + line + "\n")
        with pytest.raises(MinialexError, match=f"{path}, line 2 is not a record"):
            read_metrics(path)

    def test_no_file(self, tmp_path):
        with pytest.raises(MinialexError, match="No such file"):
            read_metrics(tmp_path / "missing")


def events_of(path, event):
    """Parse TensorBoard's file: length, its checksum, an event, its checksum, and again."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        events.append(event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


class TestEvents:
    @pytest.fixture
    def event(self):
        reason = "needs tensorboardX"
        return pytest.importorskip("tensorboardX.proto.event_pb2", reason=reason).Event

    def test_tensorboard_gets_the_same_figures(self, tmp_path, event):
        write_all(tmp_path, [TRAIN, VAL])
        (path,) = tmp_path.glob("events.out.tfevents.*")
        figures = {
            (value.tag, one.step): value.simple_value
            for one in events_of(path, event)
            for value in one.summary.value
        }
        assert figures == {
            ("loss/train", 10): 2.25,
            ("accuracy/train", 10): 12.5,
            ("lr", 10): np.float32(0.001),
            ("images_per_second", 10): 480.0,
            ("loss/val", 20): 1.5,
            ("accuracy/val", 20): 55.25,
        }

    def test_resuming_tells_it_what_to_forget(self, tmp_path, event):
        write_all(tmp_path, [TRAIN, VAL])
        write_all(tmp_path, [VAL], resume_at=10)
        paths = sorted(tmp_path.glob("events.out.tfevents.*"))
        assert len(paths) == 2
        starts = [one for path in paths for one in events_of(path, event) if one.session_log.status]
        assert [(one.step, one.session_log.status) for one in starts] == [(11, 1)]

    @pytest.mark.usefixtures("event")
    def test_a_full_disk_costs_the_events_alone(self, tmp_path):
        resource = pytest.importorskip("resource", reason="this system has no limits on file sizes")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        records = [TRAIN, VAL, replace(VAL, step=30)]
        told = []
        writer = MetricsWriter(tmp_path, tell=told.append)
        # the lines fit, and two of a record's figures
        limit = sum(len(metrics._to_line(record)) for record in records)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            for record in records:
                writer.write(record)
            writer.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert told == [
            f"TensorBoard's events are no longer written: cannot write {tmp_path}/events.out."
            "tfevents: files may not be that large here: raise 'ulimit -f' or choose another folder"
        ]
        assert read_metrics(tmp_path) == records

    @pytest.mark.usefixtures("event")
    def test_events_that_cannot_be_opened_cost_no_run(self, tmp_path, monkeypatch):
        def read_only(*_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr("tensorboardX.record_writer.open_file", read_only)
        told = []
        write_all(tmp_path, [TRAIN, VAL], tell=told.append)
        assert len(told) == 1
        assert told[0].endswith("the disk is read-only: choose another folder")
        assert read_metrics(tmp_path) == [TRAIN, VAL]
        # without a callback it is no failure either
        write_all(tmp_path, [VAL], resume_at=20)


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
            patch.setattr(metrics, "atomic_write", lambda *_: None)
            draw_curves(records, tmp_path / "curves.png", 20)
        return figures[-1].axes[picture].get_lines()

    return lines


class TestCurves:
    def test_both_curves_are_in_the_picture(self, tmp_path):
        draw_curves(run_of(8), tmp_path / "curves.png", 20)
        train, val = ink(tmp_path / "curves.png")
        assert train > 400
        assert val > 400
        assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]

    def test_one_split_alone(self, tmp_path):
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
    def test_whatever_there_is_makes_a_picture(self, tmp_path, records):
        draw_curves(records, tmp_path / "curves.png", 20)
        with Image.open(tmp_path / "curves.png") as picture:
            assert picture.format == "PNG"
            assert picture.width > picture.height > 400

    def test_figures_stand_at_their_epochs(self, drawn):
        records = run_of(3)
        training, validation, _ = drawn(records)
        assert validation.get_xdata().tolist() == [1, 2, 3]
        assert validation.get_ydata().tolist() == [r.loss for r in records if r.split == "val"]
        assert training.get_xdata()[0] == 0.25

    @pytest.mark.parametrize("seen", [1, 3])
    def test_a_run_that_stopped_within_its_first_epoch_is_drawn_to_there(self, drawn, seen):
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
        self, drawn, accuracies, losses, best
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
            assert f"best: epoch {best}, " in curve.get_label()
        state = RunState(None, None, None, None, SimpleNamespace(reset=lambda: None))
        for accuracy, loss in measured:
            if math.isfinite(loss):
                state.close_epoch(SimpleNamespace(accuracy=accuracy, loss=loss))
        assert state.best.epoch == best

    def test_the_running_mean_does_not_sag_at_the_ends(self, tmp_path):
        figure = Figure()
        axes = figure.subplots()
        metrics._draw_training(axes, np.arange(100.0), np.full(100, 3.0))
        assert np.allclose(axes.get_lines()[-1].get_ydata(), 3.0)

    def test_low_values_get_a_logarithmic_scale(self):
        scales = []
        for low in (0.5, 0.01, 0.0):
            axes = Figure().subplots()
            axes.plot([0, 1], [2.0, low])
            metrics._spread_low_values(axes)
            scales.append(axes.get_yscale())
        assert scales == ["linear", "log", "linear"]

    def test_a_failure_keeps_the_last_picture(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(28, "No space left on device")

        path = tmp_path / "curves.png"
        path.write_bytes(b"before")
        monkeypatch.setattr("minialex.files.os.fsync", refuse)
        with pytest.raises(MinialexError, match="disk is full"):
            draw_curves(run_of(2), path, 20)
        assert path.read_bytes() == b"before"
        assert list(tmp_path.iterdir()) == [path]

    def test_pyplot_is_never_imported(self, tmp_path):
        code = (
            "import sys; from minialex.train.metrics import draw_curves, MetricsRecord; "
            f"draw_curves([{VAL!r}], {str(tmp_path / 'curves.png')!r}, 20); "
            "sys.exit('matplotlib.pyplot' in sys.modules)"
        )
        root = Path(__file__).parents[2]
        assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
