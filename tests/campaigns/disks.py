"""Commands whose disk fails: one line, status 2, and what was written before is whole.

Each attempt runs a command in which one of the steps of writing (`write_points`) fails: once, or
from then on, as on a disk that is full or was mounted anew. A command that ends with status 0 all
the same has done without that step, as runs do without by-products. Runs then go on, on a disk
that is whole again, and end with the files of a run that met no fault.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import io
import os
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import minialex.train.run
from minialex.cli.main import main as command
from minialex.files import atomic_write
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.campaigns.write_points import drawn_step, watched
from tests.small_runs import checkpoints, without_rates, write_images

CODES = errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO
SMALL_RUN = (
    *("--network", "alexnet-mini", "--image-size", "32", "--batch-size", "10", "--warmup", "0"),
    *("--optimizer", "sgd", "--lr", "0.0001", "--save-minutes", "1e-9", "--log-every", "1"),
    *("--workers", "1", "--device", "cpu"),
)
WORDS = {
    "train": ("train", "IMAGES", *SMALL_RUN, "--epochs", "2", "--out", "OUT"),
    "kfold": ("kfold", "IMAGES", *SMALL_RUN, "--epochs", "1", "--folds", "2", "--out", "OUT"),
    "evaluate": ("evaluate", "RUN", "IMAGES", "--all", "--out", "OUT"),
    "data": ("data", "digits", "OUT"),
}
BY_PRODUCTS = "curves.png", "tfevents"
FIRST_STEPS = 50
"""Of the steps of a command, from its first: `data digits` writes 1,797 files alike."""


def attempt(seeds: Sequence[int], folder: Path, broken: str = "") -> list[str]:
    """Have a disk fail once per seed, all in one process."""
    return processes.report(__name__, seeds, folder, broken)


CAMPAIGN = Campaign("failing disks", attempt, count=500, short=2, batch=50)


class Commands:
    """The commands, and what they leave where nothing fails.

    Parameters
    ----------
    folder : Path
        For images, and for what is run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = write_images(folder / "images", 8)
        self.steps: dict[str, Counter[str]] = {}

    def whole(self, name: str) -> Path:
        """Return the folder of a command that met no fault, and count its steps."""
        out = self.folder / f"whole-{name}"
        if name not in self.steps:
            seen: list[str] = []
            with watched(out, seen.append):
                status, said = self.run(name, out)
            if status:
                raise RuntimeError(f"{name}: {said}")
            self.steps[name] = Counter(seen)
        return out

    def run(self, name: str, out: Path) -> tuple[int, str]:
        """Run a command, which writes to `out`; returns its status and standard error."""
        trained = self.whole("train") if name == "evaluate" else out
        paths = {"IMAGES": self.images, "OUT": out, "RUN": trained}
        return _called(*(str(paths.get(word, word)) for word in WORDS[name]))


def _called(*words: str) -> tuple[int, str]:
    """Run ``minialex`` with these words; returns its status and standard error."""
    err = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["minialex", *words]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(err),
    ):
        try:
            command()
        except SystemExit as ended:
            return int(ended.code or 0), err.getvalue()
    return 0, err.getvalue()


class Disk:
    """Fails at a step of a kind: once, or in all steps from then on. Given to `watched`.

    Attributes
    ----------
    checkpoints : set of Path
        Those that were there at some step.
    """

    def __init__(self, out: Path, kind: str, number: int, code: int, lasting: bool) -> None:
        self.out, self.kind, self.number = out, kind, number
        self.code, self.lasting = code, lasting
        self.seen, self.failed = 0, False
        self.checkpoints: set[Path] = set()

    def __call__(self, step: str) -> None:
        self.seen += step == self.kind
        if step != "write":
            self.checkpoints.update(self.out.rglob("*.safetensors"))
        here = step == self.kind and self.seen == self.number + 1
        # what is full can be emptied
        spared = step == "unlink" and self.code in (errno.ENOSPC, errno.EDQUOT)
        if here or (self.failed and self.lasting and not spared):
            self.failed = True
            raise OSError(self.code, os.strerror(self.code))


def main(seeds: Sequence[int], folder: Path) -> None:
    """Print a line per fault."""
    # the picture takes longer than the run; its file is written all the same
    minialex.train.run.draw_curves = lambda _, path, __: atomic_write(path, b"curves")
    commands = Commands(folder)
    for seed in seeds:
        for fault in _tried(random.Random(seed), commands, folder / f"run-{seed}"):
            print(f"seed {seed}: {fault}", flush=True)


def _tried(rng: random.Random, commands: Commands, out: Path) -> list[str]:
    """Have a drawn step of a drawn command fail; returns what is wrong."""
    name = rng.choices(list(WORDS), (6, 3, 2, 1))[0]
    whole = commands.whole(name)
    kind, number = drawn_step(rng, commands.steps[name])
    number = number % FIRST_STEPS if name == "data" else number
    disk = Disk(out, kind, number, rng.choice(CODES), lasting=rng.random() < 0.6)
    if name == "evaluate":
        # as of an earlier evaluation
        shutil.copytree(whole, out)
    try:
        with watched(out, disk):
            status, said = commands.run(name, out)
        faults = _wrong_answer(status, said)
        faults += [f"{path.name} has gone" for path in disk.checkpoints if not path.exists()]
        left = list(out.rglob(".minialex*"))
        if not disk.lasting and kind != "unlink":
            faults += [f"{path.name} is left over" for path in left]
        for path in left:
            # what could not be removed
            path.unlink()
        if name != "data" or status == 0:
            faults += _afterwards(commands, name, out, whole, status)
    except Exception as error:
        faults = [f"{type(error).__name__}: {error}"]
    shutil.rmtree(out, ignore_errors=True)
    how = f"{name}: {errno.errorcode[disk.code]} at {kind} {number}{' and on' * disk.lasting}"
    return [f"{how}: {fault}" for fault in faults]


def _wrong_answer(status: int, said: str) -> list[str]:
    """Return how a command answered other than it should."""
    if status not in (0, 2):
        return [f"status {status}: {said}"]
    one_line = re.fullmatch(r"minialex: error: cannot write [^\n]+\n", said)
    if status == 2 and any(name in said for name in BY_PRODUCTS):
        return [f"a by-product ended it: {said!r}"]
    return [f"status 2 and {said!r}"] if status == 2 and not one_line else []


def _afterwards(commands: Commands, name: str, out: Path, whole: Path, status: int) -> list[str]:
    """Go on where the disk is whole again; returns how the end differs from that without fault."""
    if name == "evaluate":
        files = {path.name for path in (*out.iterdir(), *whole.iterdir())}
        _, differ, missing = filecmp.cmpfiles(out, whole, files, shallow=False)
        return [f"{file} is not as it was" for file in (*differ, *missing)]
    kept = sorted(out.rglob("last.safetensors"))
    if not (kept and status):
        return [] if status else _differences(out, whole)
    again, said = _called("kfold" if name == "kfold" else "train", "--resume", str(out))
    return [f"again: status {again}: {said}"] if again else _differences(out, whole)


def _differences(out: Path, whole: Path) -> list[str]:
    """Return in what two folders of a command differ."""
    here, there = (_names(folder) for folder in (out, whole))
    found = [f"{name} is left over or missing" for name in sorted(here ^ there)]
    for file in sorted(whole.rglob("*.json")):
        other = out / file.relative_to(whole)
        if file.name != "settings.json" and other.exists():
            text = file.read_text().replace(str(whole), str(out))
            if _without_checksum(text) != _without_checksum(other.read_text()):
                found.append(f"{file.name} differs")
    for file in whole.rglob("metrics.jsonl"):
        part, other = file.parent, out / file.parent.relative_to(whole)
        if checkpoints(part) != checkpoints(other) or without_rates(part) != without_rates(other):
            found.append(f"{other.name}: checkpoints or metrics differ")
    return found


def _names(folder: Path) -> set[str]:
    # a run does without by-products, and events hold the time in their names
    files = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {file for file in files if not any(name in file for name in BY_PRODUCTS)}


def _without_checksum(text: str) -> str:
    """Leave out of a record the checksum, which is also of the folder's name."""
    return re.sub(r'"crc32": \d+', "", text)


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
