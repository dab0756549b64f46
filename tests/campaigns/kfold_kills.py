"""Folds trained in processes, of which some or all are killed at a random moment.

Each attempt begins a tiny cross-validation with two folds at a time, kills its parent, one of its
workers, or all of them with SIGKILL, resumes what is left, perhaps kills again, and lets it end.
A kill counts only if it ended something: one that had ended before is begun anew. Then its
checkpoints, metrics and records must be those of one that was never stopped, with nothing beside
them. No process may outlive its parent, and none be alive while the folder is free.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.kfold.fold_records import PLAN, read_plan
from minialex.kfold.folds import kfold
from minialex.run_folder import claim
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.small_runs import checkpoints, small, without_rates, write_images

FOLDS, JOBS = 3, 2
SECONDS_TO_DIE = 30
SECONDS_TO_EXIT = 0.5
"""How long a process may still be listed that has let go of its lock."""


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Kill one cross-validation per seed, all begun by one process."""
    return processes.report(__name__, seeds, folder)


CAMPAIGN = Campaign("cross-validations that are killed", attempt, count=60, short=0, batch=20)


def main(seeds: Sequence[int], folder: Path) -> None:
    """Print a line per fault."""
    data, whole = write_images(folder / "images", 6), folder / "whole"
    began = time.monotonic()
    child = _forked(data, whole)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(_said(whole))
    seconds = time.monotonic() - began
    for seed in seeds:
        for fault in _tried(random.Random(seed), data, whole, seconds, folder / f"run-{seed}"):
            print(f"seed {seed}: {fault}", flush=True)


def _tried(rng: random.Random, data: Path, whole: Path, seconds: float, folder: Path) -> list[str]:
    """Kill a cross-validation, and perhaps what goes on with it; returns what is wrong then."""
    kills, story = 1 + (rng.random() < 0.3), list[str]()
    while len(story) < kills:
        victim, after = rng.choice(("parent", "worker", "all")), rng.uniform(0, seconds)
        arrived, fault = _killed(rng, victim, after, data, folder)
        story.append(f"{victim} after {after:.2f} s")
        if fault:
            return [f"{', then '.join(story)}: {fault}"]
        if not arrived:  # it had ended before: begin anew
            story.clear()
            shutil.rmtree(folder)
    child = _forked(data, folder)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    faults = _differences(folder, whole)
    if code or _said(folder):
        faults = [f"going on ended with {code}: {_said(folder)}"]
    shutil.rmtree(folder)
    return [f"{', then '.join(story)}: {fault}" for fault in faults]


def _killed(
    rng: random.Random, victim: str, after: float, data: Path, folder: Path
) -> tuple[bool, str]:
    """Kill some of a cross-validation's processes; returns whether that ended it, and a fault."""
    child = _forked(data, folder)
    time.sleep(after)
    workers = [pid for pid in _alive(child) if pid != child]
    if not workers:
        victim = "parent"
    victims = {"parent": [child], "worker": workers[:1], "all": [child, *workers]}[victim]
    for pid in rng.sample(victims, len(victims)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 2 if victim == "worker" else -signal.SIGKILL):
        return True, f"status {code}: {_said(folder)}"
    if code == 2 and "was killed by SIGKILL, perhaps for want of memory" not in _said(folder):
        return True, f"status 2: {_said(folder)}"
    return code != 0, _left_alive(child, folder)


def _left_alive(child: int, folder: Path) -> str:
    """Wait until the processes of a cross-validation have ended; returns what was wrong."""
    gave_up = time.monotonic() + SECONDS_TO_DIE
    while _alive(child):
        free = _is_free(folder)
        if free:
            time.sleep(SECONDS_TO_EXIT)
        if _alive(child) and (free or time.monotonic() > gave_up):
            os.killpg(child, signal.SIGKILL)
            return "a process lived on where the folder was free" if free else "a process lived on"
        time.sleep(0.02)
    return ""


def _is_free(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        claim(folder, resume=(folder / PLAN).exists()).release()
    except MinialexError:
        return False
    return True


def _alive(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    command = ["ps", "-axo", "pid=,pgid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (line.split() for line in listed.splitlines())
    return [int(pid) for pid, pgid, state in found if int(pgid) == group and state[0] != "Z"]


def _differences(folder: Path, whole: Path) -> list[str]:
    """Return how what is in a folder differs from what one leaves that was never stopped."""
    names, expected = ({_stable(p.relative_to(f)) for p in f.rglob("*")} for f in (folder, whole))
    found = [f"{name} is left over" for name in sorted(names - expected)]
    found += [f"{name} is missing" for name in sorted(expected - names)]
    if found:
        return found
    for part in sorted(whole.glob("fold-*")):
        other = folder / part.name
        if checkpoints(part) != checkpoints(other):
            found.append(f"{part.name}: the checkpoints differ")
        if without_rates(part) != without_rates(other):
            found.append(f"{part.name}: the metrics differ")
        if (part / "fold.json").read_bytes() != (other / "fold.json").read_bytes():
            found.append(f"{part.name}: the records differ")
    return found


def _stable(path: Path) -> str:
    """Return a file's name; those of TensorBoard's events hold the time, and each resume adds."""
    return str(path.parent / "events") if "tfevents" in path.name else str(path)


def _forked(data: Path, folder: Path) -> int:
    """Begin, or go on with, a cross-validation in a child of this process, a group of its own."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    status = 99
    with open(folder.with_suffix(".said"), "w") as said:
        # what the workers write too
        os.dup2(said.fileno(), 2)
        try:
            status = _work(data, folder)
        except MinialexError as error:
            print(error, file=said)
            status = 2
        except BaseException:
            traceback.print_exc(file=said)
        said.flush()
        os._exit(status)


def _work(data: Path, folder: Path) -> int:
    # as many on every machine
    threads.cores = lambda: JOBS
    if (folder / PLAN).exists():
        settings, k = read_plan(folder)
        return len(kfold(settings, k, jobs=JOBS, resume=True).records) - k
    often = {"epochs": 2, "save_minutes": 1e-9, "log_every": 1, "warmup": 0}
    settings = small(data, out=str(folder), **often)
    return len(kfold(settings, FOLDS, jobs=JOBS).records) - FOLDS


def _said(folder: Path) -> str:
    return folder.with_suffix(".said").read_text()


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
