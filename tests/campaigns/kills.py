"""Runs that are killed: what they leave goes on, and ends as if nothing had happened.

Each attempt trains a tiny network, or two folds, in a process that gets a signal: SIGKILL, SIGTERM,
SIGINT or SIGHUP, at a random time or at one of the steps in which it writes (`write_points`). What
is left is resumed, perhaps killed once more, and must end with the checkpoints, the metrics and the
files of a run that was never stopped, and with no others.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import minialex.train.run
from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.kfold.fold_records import read_plan
from minialex.kfold.folds import kfold
from minialex.train import resume, train
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.campaigns.write_points import Moment, drawn_step, watched
from tests.small_runs import checkpoints, small, without_rates, write_images

SIGNALS = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
FOLDS = 2


def attempt(seeds: Sequence[int], folder: Path, broken: str = "") -> list[str]:
    """Kill one run per seed, all in one process, whose children they are."""
    return processes.report(__name__, seeds, folder, broken)


CAMPAIGN = Campaign("kills", attempt, count=200, short=1, batch=20)


@dataclass
class Whole:
    """A run that is never stopped: its folder, how long it took, and in how many steps it wrote."""

    folder: Path
    seconds: float
    steps: Counter[str]


class Run:
    """A small run, or two folds, that can be begun and resumed in a child of this process."""

    def __init__(self, data: Path, folds: bool) -> None:
        self.data, self.folds = data, folds

    def begin(self, folder: Path) -> int:
        """Begin in a new folder; returns the status that the command would exit with."""
        often = {"batch_size": 10, "warmup": 0, "save_minutes": 1e-9, "log_every": 1}
        epochs = 1 if self.folds else 2
        settings = small(self.data, out=str(folder), epochs=epochs, optimizer="sgd", **often)
        if self.folds:
            return _status(kfold(settings, FOLDS).signal)
        return train(settings).exit_status

    def resume(self, folder: Path) -> int:
        """Go on with what is in a folder."""
        if self.folds:
            settings, k = read_plan(folder)
            return _status(kfold(settings, k, resume=True).signal)
        return resume(folder).exit_status

    def parts(self, folder: Path) -> list[Path]:
        """Return the folders that have checkpoints and metrics."""
        return [folder / f"fold-{i}" for i in range(1, FOLDS + 1)] if self.folds else [folder]


def _status(number: signal.Signals | None) -> int:
    return 0 if number is None else 128 + number


def main(seeds: Sequence[int], folder: Path) -> None:
    """Print a line per fault."""
    # the picture takes longer than the run; its file is written all the same
    minialex.train.run.draw_curves = lambda _, path, __: atomic_write(path, b"curves")
    wholes: dict[bool, tuple[Run, Whole]] = {}
    data = write_images(folder / "images", 8)
    for seed in seeds:
        rng = random.Random(seed)
        folds = rng.random() < 0.3
        if folds not in wholes:
            run = Run(data, folds)
            wholes[folds] = run, _whole(run, folder / f"whole-{folds}")
        for fault in _tried(rng, *wholes[folds], folder / f"run-{seed}"):
            print(f"seed {seed}: {fault}", flush=True)


def _whole(run: Run, folder: Path) -> Whole:
    """Run without a stop, twice: to count its steps, and to time it."""
    counted = folder.with_suffix(".counts")

    def count() -> int:
        steps: list[str] = []
        with watched(folder, steps.append):
            status = run.begin(folder)
        counted.write_text(" ".join(steps))
        return status

    began = time.monotonic()
    if _exit_code(_forked(count, folder)):
        raise RuntimeError(_said(folder))
    return Whole(folder, time.monotonic() - began, Counter(counted.read_text().split()))


def _tried(rng: random.Random, run: Run, whole: Whole, folder: Path) -> list[str]:
    """Kill a run, and perhaps what goes on with it; returns what is wrong in the end."""
    story = []
    work = run.begin
    for _ in range(1 + (rng.random() < 0.3)):
        number = rng.choice(SIGNALS)
        code, how = _killed(rng, number, work, whole, folder)
        story.append(f"{number.name} {how}")
        told = ", then ".join(story)
        if code not in (0, -number, 128 + number):
            return [f"{told}: status {code}: {_said(folder)}"]
        saved = [part for part in run.parts(folder) if (part / "last.safetensors").exists()]
        if code == 128 + number and not saved and number != signal.SIGINT:
            return [f"{told}: it saved nothing"]
        work = run.resume
        begun = (folder / "kfold.json").exists() if run.folds else saved
        if not begun:
            code = _exit_code(_forked(lambda: run.resume(folder), folder))
            said = _said(folder)
            refused = code == 2 and "there is no " in said
            return [] if refused else [f"{told}: resumed from nothing: {code}: {said}"]
    code = _exit_code(_forked(lambda: run.resume(folder), folder))
    if code:
        return [f"{told}: going on ended with {code}: {_said(folder)}"]
    faults = _differences(run, folder, whole.folder)
    shutil.rmtree(folder)
    return [f"{told}: {fault}" for fault in faults]


def _killed(
    rng: random.Random,
    number: signal.Signals,
    work: Callable[[Path], int],
    whole: Whole,
    folder: Path,
) -> tuple[int, str]:
    """Run `work` in a child that gets a signal; returns its status, and when it got it."""
    if rng.random() < 0.3:
        seconds = rng.uniform(0, whole.seconds)
        child = _forked(lambda: work(folder), folder)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
        return _exit_code(child), f"after {seconds:.2f} s"
    kind, which = drawn_step(rng, whole.steps)

    def watch() -> int:
        with watched(folder, Moment(kind, which, lambda: os.kill(os.getpid(), number))):
            return work(folder)

    return _exit_code(_forked(watch, folder)), f"at {kind} {which}"


def _differences(run: Run, folder: Path, whole: Path) -> list[str]:
    """Return how what is in a folder differs from what a run leaves that was never stopped."""
    found = []
    names, expected = ({_stable(p.relative_to(f)) for p in f.rglob("*")} for f in (folder, whole))
    found += [f"{name} is left over" for name in sorted(names - expected)]
    found += [f"{name} is missing" for name in sorted(expected - names)]
    for part, other in zip(run.parts(folder), run.parts(whole), strict=True):
        if checkpoints(part) != checkpoints(other):
            found.append(f"{part.name}: the checkpoints differ")
        if without_rates(part) != without_rates(other):
            found.append(f"{part.name}: the metrics differ")
        if run.folds and (part / "fold.json").read_bytes() != (other / "fold.json").read_bytes():
            found.append(f"{part.name}: the records differ")
    return found


def _stable(path: Path) -> str:
    """Return a file's name; those of TensorBoard's events hold the time, and each resume adds."""
    return str(path.parent / "events") if "tfevents" in path.name else str(path)


def _forked(work: Callable[[], int], folder: Path) -> int:
    """Run `work` in a child of this process and have it exit with what that returns."""
    child = os.fork()
    if child:
        return child
    status = 99
    with open(folder.with_suffix(".said"), "w") as said:
        try:
            status = work()
        except MinialexError as error:
            print(error, file=said)
            status = 2
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc(file=said)
        said.flush()
        os._exit(status)


def _said(folder: Path) -> str:
    lines = folder.with_suffix(".said").read_text().splitlines()
    return lines[-1] if lines else ""


def _exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
