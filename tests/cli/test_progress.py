"""The progress of a run on a terminal: its batch, its figures, how long it will take."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from minialex.arrays import CPU
from minialex.cli.progress import ConsoleReporter, counting, duration
from minialex.train.report import EpochEnd, RunPlan, TrainingProgress
from tests.small_runs import small

PROGRESS = TrainingProgress(
    epoch=2, epochs=3, batch=30, batches=1200, step=1230, loss=0.98765, accuracy=7.25, lr=0.1,
    images_per_second=1234.5, seconds_left=3723.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-:--"), (0.4, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (61.0, "1:01"),
        (3599.0, "59:59"), (3600.0, "1:00:00"), (3723.0, "1:02:03"), (360_000.0, "100:00:00"),
    ],
)  # fmt: skip
def test_times_are_minutes_and_seconds_and_hours_where_there_are_some(seconds, shown):
    assert duration(seconds) == shown


@pytest.fixture
def terminal():
    """Return a console of 80 columns that is a terminal, and what is written to it."""
    written = io.StringIO()
    console = Console(
        file=written, width=80, height=24, force_terminal=True, color_system=None,
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return console, written


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def bar(reporter):
    """Return the line of the bar: its words, and how many percent of it are filled."""
    with reporter.console.capture() as capture:
        reporter.console.print(reporter.live.get_renderable())
    words = re.sub(r"\s+", " ", re.sub("[━╸╺]+", " ", plain(capture.get()))).strip()
    return words, reporter.live.tasks[0].percentage


def test_a_bar_goes_over_the_batches_of_an_epoch_and_the_validation_images(terminal):
    reporter = ConsoleReporter(terminal[0])
    reporter.checking(50, 1000)
    assert bar(reporter) == ("checking the images 50/1,000", 5)
    reporter.batch(PROGRESS)
    words = "epoch 2/3 30/1200 loss 0.988 accuracy 7.2 % 1,234 images/s 1:02:03 left"
    assert bar(reporter) == (words, 2.5)
    reporter.validating(1500, 2000)
    assert bar(reporter) == ("validation 1,500/2,000 images", 75)
    assert len(reporter.live.tasks) == 1


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (79, "30/1200 loss 0.988 accuracy 7.2 % 1:02:03 left"),
        (64, "30/1200 loss 0.988 accuracy 7.2 % 1:02:03 left"),
        (63, "30/1200 loss 0.988 1:02:03 left"),
        (48, "30/1200 loss 0.988 1:02:03 left"),
        (47, "30/1200 1:02:03 left"),
        (36, "30/1200 1:02:03 left"),
        (35, "30/1200"),
    ],
)
def test_a_narrow_terminal_shows_last_of_all_the_batch_and_the_time_left(terminal, width, words):
    reporter = ConsoleReporter(terminal[0])
    reporter.console.width = width
    reporter.batch(PROGRESS)
    assert bar(reporter) == (f"epoch 2/3 {words}", 2.5)


def test_a_run_has_a_bar_on_a_terminal_alone(terminal):
    console, written = terminal
    with ConsoleReporter(console) as reporter:
        reporter.checking(50, 1000)
    assert "checking the images" in written.getvalue()
    # and nothing of it stays: the cursor is back in its line, which is erased
    assert plain(written.getvalue().rpartition("\x1b[2K")[2]).strip() == ""
    pipe = io.StringIO()
    with ConsoleReporter(Console(file=pipe)) as reporter:
        reporter.checking(50, 1000)
    assert pipe.getvalue().strip() == ""


def test_what_is_counted_off_has_a_bar_on_a_terminal_alone(terminal):
    console, written = terminal
    with counting(console, "reading") as move:
        move(1, 1500)
        move(1234, 1500)
    assert re.findall(r"reading .*1,234/1,500", plain(written.getvalue()))
    for stream, show in ((Console(file=io.StringIO()), True), (terminal[0], False)):
        stream.file = io.StringIO()
        with counting(stream, "reading", show=show) as move:
            move(1, 2)
        assert "reading" not in stream.file.getvalue()


def run_plan(**changes):
    settings = small(Path("photos"), epochs=4, freeze=changes.pop("freeze", ""))
    usual = RunPlan(
        settings, ("cat", "dog"), 1400, 1, batches=280, warmup=0, parameters=463_562,
        trained_parameters=1000, device=CPU, folder=Path("runs/my photos"), epoch=0, batch=0,
    )  # fmt: skip
    return replace(usual, **changes)


def said(written, plan):
    ConsoleReporter(Console(file=written, width=300)).started(plan)
    lines = written.getvalue().splitlines()
    written.truncate(written.seek(0))
    return lines


def test_a_run_says_what_it_will_do_where_it_goes_on_and_that_it_is_done():
    written = io.StringIO()
    begins = [
        "alexnet-mini, 463,562 parameters, on cpu; 1,400 training images, 1 validation image, "
        "2 classes, 32x32 pixels",
        "4 epochs of 280 batches of 5, rmsprop at 0.0001 (cosine), seed 0; everything goes to "
        "runs/my photos",
    ]
    assert said(written, run_plan()) == begins
    frozen, of = said(written, run_plan(freeze="features", warmup=112))
    assert "1,000 of 463,562 parameters trained (not features), on" in frozen
    assert "(cosine, warm-up over 112 of 1,120 batches), seed" in of
    assert said(written, run_plan(batch=1))[2:] == ["going on in epoch 1 after 1 batch"]
    assert said(written, run_plan(epoch=3))[2:] == ["going on in epoch 4"]
    assert said(written, run_plan(epoch=4))[2:] == [
        "finished: nothing is left of 4 epochs. To train longer: minialex train --resume "
        "'runs/my photos' --epochs 8, with the learning rate of a run of that length"
    ]


def test_an_epoch_ends_in_a_line():
    written = io.StringIO()
    reporter = ConsoleReporter(Console(file=written, width=200))
    end = EpochEnd(2, 3, 0.12345, 12.345, 0.5, 55.0, best=True, seconds=61.2)
    reporter.epoch_ended(end)
    reporter.epoch_ended(replace(end, best=False))
    line = (
        "epoch 2/3: train loss 0.1235, accuracy 12.35 %; validation loss 0.5000, accuracy 55.00 %; "
        "1:01"
    )
    assert written.getvalue().splitlines() == [f"{line}  best so far", line]
