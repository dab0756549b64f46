"""What `kfold` shows: its plan, bars on a terminal and lines in a pipe, and how to go on."""

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from signal import SIGHUP

import pytest
from rich.console import Console

from minialex.arrays import CPU
from minialex.cli import kfold as command
from minialex.cli.fold_progress import ConsoleFoldReporter
from minialex.kfold.evaluate_folds import evaluate_folds
from minialex.kfold.fold_records import FoldRecord, KFoldResult
from minialex.kfold.fold_reporter import FoldsPlan
from minialex.train.report import RunPlan, TrainingProgress
from tests.cli.conftest import TINY
from tests.small_runs import small, write_images


def test_a_pipe_gets_the_plan_and_a_line_per_epoch_and_fold(minialex, photos, monkeypatch):
    monkeypatch.setenv("MINIALEX_THREADS", "1")
    shutil.copy(photos / "dark" / "00.png", photos / "light" / "00.png")
    answer = minialex("kfold", photos, *TINY, "--folds", "2", "--recipe", "images")
    assert answer.status == 0
    assert "\x1b" not in answer.out
    lines = [re.sub(r"\d+\.\d+|\d:\d\d", "#", line) for line in answer.out.splitlines()]
    copied = r"light/00\.png \(fold 1\) = dark/00\.png \(fold 2\)"
    assert re.fullmatch(
        f"2 images also in another fold, .*: {copied}; remove the copies", lines.pop(2)
    )
    epoch = "epoch 1/1: train loss #, # %; validation loss #, # %"
    assert lines == [
        "classes: dark, light",
        "validation: each of 2 folds of 12 images in turn",
        "alexnet-mini, 32x32 pixels, on cpu; 2 folds of 1 epoch, batches of 4, rmsprop at # "
        "(cosine), seed 0",
        "one fold at a time, on 1 core; everything goes to runs/photos-kfold",
        "images  dark  light",
        "fold 1     3      3",
        "fold 2     3      3",
        f"fold 1, {epoch}",
        "fold 1/2: # % of 6 validation images (fold-1/last.safetensors)",
        f"fold 2, {epoch}",
        "fold 2/2: # % of 6 validation images (fold-2/last.safetensors)",
        "Mean Accuracy: # % +- # % (standard deviation of 2 folds, divisor 2)",
    ]
    again = minialex("kfold", "--resume", "runs/photos-kfold")
    done = [line for line in answer.out.splitlines() if " validation images (" in line]
    assert again.out.splitlines()[-3:] == [*done, answer.out.splitlines()[-1]]
    other = minialex("kfold", "--resume", "runs/photos-kfold", "--folds", "3")
    assert other.status == 2
    assert "--folds is 3, but runs/photos-kfold has 2: leave it out" in other.err


def test_evaluate_only_prints_what_each_network_makes_of_its_fold(minialex, run_folder):
    other = write_images(Path("other"), 8, ("light", "dark"))
    last = run_folder / "last.safetensors"
    answer = minialex(
        "kfold", other, "--folds", "2", "--evaluate-only", run_folder, "--evaluate-only", last
    )
    result = evaluate_folds([run_folder, last], 2, data=str(other))
    first, second = result.records
    assert (first.images, second.images) == (8, 8)
    assert answer.out.splitlines() == [
        f"fold 1/2: {first.accuracy:.2f} % of 8 images ({run_folder / 'best.safetensors'})",
        f"fold 2/2: {second.accuracy:.2f} % of 8 images ({last})",
        f"{result.summary} (standard deviation of 2 folds, divisor 2)",
    ]
    assert answer.status == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [((), ""), (("--jobs", 3), " --jobs 3"), (("--use", "relu=plain"), " --use relu=plain")],
)
def test_after_a_signal_a_line_says_where_and_how_to_go_on(
    minialex, photos, monkeypatch, options, kept
):
    record = FoldRecord(1, 5, "fold-1/last.safetensors", 8, 2, 1, 50.0, 100.0, 0.7)
    result = KFoldResult((record,), 5, SIGHUP, folder=Path("runs/my photos-kfold"))
    monkeypatch.setattr(command, "cross_validate", lambda *_, **__: result)
    answer = minialex("kfold", photos, *TINY, "--recipe", "images", *options)
    assert answer.status == 128 + SIGHUP
    assert answer.out.splitlines() == [
        "Mean Accuracy: 50.00 % +- 0.00 % (standard deviation of 1 of 5 folds, divisor 1)",
        "stopped by SIGHUP; saved in runs/my photos-kfold. Go on with: minialex kfold --resume "
        f"'runs/my photos-kfold'{kept}",
    ]
    assert answer.err == ""


# On a terminal -----------------------------------------------------------------------------------

PROGRESS = TrainingProgress(
    epoch=12, epochs=50, batch=1, batches=4, step=45, loss=0.1, accuracy=100.0, lr=0.1,
    images_per_second=1.0, seconds_left=36000.0,
)  # fmt: skip


@pytest.fixture
def terminal():
    """Return a function that returns a reporter on a terminal of a size, and what that shows."""

    def sized(width, height=24):
        written = io.StringIO()
        console = Console(
            file=written, width=width, height=height, force_terminal=True, color_system=None,
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        reporter = ConsoleFoldReporter(console)

        def bars():
            with console.capture() as capture:
                console.print(reporter.live.get_renderable())
            return re.sub(r"\x1b\[[0-9;]*m", "", capture.get()).splitlines()

        return reporter, bars, written

    return sized


def plan(k, classes=("cat", "dog"), count=7):
    settings, counts = small("photos", epochs=50), [[count] * len(classes)] * k
    return FoldsPlan(settings, tuple(classes), counts, ("cpu",), 2, 1, Path("runs/photos-kfold"))


def record(fold, k):
    return FoldRecord(fold, k, f"fold-{fold}/last.safetensors", 8, 2, 1, 50.0, 100.0, 0.7)


@pytest.mark.parametrize(
    ("width", "running"),
    [
        (80, "epoch 12/50  loss 0.100  accuracy 100.0 %  10:00:00 left"),
        (60, "epoch 12/50  accuracy 100.0 %  10:00:00 left"),
        (40, "epoch 12/50  10:00:00 left"),
    ],
)
def test_every_fold_has_a_bar_from_the_beginning(terminal, width, running):
    reporter, bars, _ = terminal(width)
    reporter.checking(1, 10)
    reporter.planned(plan(3))
    assert [(line.split()[:2], line.split()[-1]) for line in bars()] == [
        (["fold", str(n)], "waiting") for n in (1, 2, 3)
    ]
    reporter.fold_ended(record(1, 3))
    run = reporter.fold_started(2, 3)
    assert bars()[1].endswith(" starting")
    run.batch(PROGRESS)
    first, second, third = bars()
    assert first.endswith(" 50.00 %")
    assert second.endswith(running)
    # 11 epochs and a quarter of 50
    assert [task.percentage for task in reporter.live.tasks] == [100, 22.5, 0]
    assert third.endswith(" waiting")
    assert {len(line) for line in bars()} == {width}
    run.validating(1000, 2000)
    assert bars()[1].endswith(" validation 1,000/2,000")
    assert reporter.live.tasks[1].percentage == 22.5


def test_where_lines_are_few_only_folds_that_are_trained_have_bars(terminal):
    reporter, bars, _ = terminal(80, height=10)
    reporter.planned(plan(10))
    assert bars() == []
    reporter.fold_started(3, 10)
    assert [line.split()[1] for line in bars()] == ["3"]
    reporter.fold_ended(record(3, 10))
    assert bars() == []


@pytest.mark.parametrize(
    ("epoch", "batch", "said"),
    [(0, 0, ""), (6, 3, "fold 2: going on in epoch 7 after batch 3\n"), (50, 0, "")],
)
def test_a_fold_that_goes_on_says_where(terminal, epoch, batch, said):
    reporter, _, written = terminal(80)
    whole = plan(3)
    reporter.planned(whole)
    before = written.getvalue()
    run = RunPlan(
        whole.settings,
        whole.classes,
        14,
        7,
        4,
        0,
        100,
        100,
        CPU,
        whole.folder / "fold-2",
        epoch,
        batch,
    )
    reporter.fold_started(2, 3).started(run)
    assert re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()[len(before) :]) == said
    done = (epoch + batch / run.batches) / run.settings.epochs
    assert reporter.live.tasks[1].percentage == pytest.approx(100 * done)


@pytest.mark.parametrize(
    ("width", "k", "classes", "said"),
    [
        (42, 3, 4, "images  class 0  class 1  class 2  class 3"),
        (41, 3, 4, "images   fold 1  fold 2  fold 3"),
        (30, 3, 4, "each fold has 7 images of class 'class 0', the smallest, "),
        (80, 5, 100, "each fold has 7 images of class 'class 0', the smallest, "),
        (200, 13, 13, "each fold has 7 images of class 'class 0', the smallest, "),
        (200, 13, 2, "images   fold 1  fold 2  fold 3  fold 4"),
    ],
)
def test_the_counts_are_a_table_where_one_fits(terminal, width, k, classes, said):
    reporter, _, written = terminal(width)
    reporter.planned(plan(k, [f"class {n}" for n in range(classes)]))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue())
    assert said in re.sub(r"\n(?=\S)", " ", shown)


def test_the_smallest_and_the_largest_class_are_told_apart(terminal):
    reporter, _, written = terminal(60)
    counts = [[90, 3, 1200, *[40] * 17], [90, 4, 1200, *[40] * 17]]
    names = tuple("abcdefghijklmnopqrst")
    reporter.planned(replace(plan(2), classes=names, counts=counts))
    said = "has 3 or 4 images of class 'b', the smallest, to 1,200 images of 'c', the largest\n"
    assert said in written.getvalue()
