"""Mutants of the ops: one token of their array code changed; the checks of the op have to notice.

    python -m tests.campaigns op-mutants --count 300 --seed 0 --jobs 2

First every check of the ops that the file belongs to, then the suite's tests of them. What no one
notices is a hole, or changes nothing: such are listed in ``equivalent_mutants.json``, with reasons.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from minialex.autograd import OPS
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.campaigns.mutant import ROOT, Checkout, Mutant, try_each
from tests.campaigns.python_sites import MathSites, by_place, mutants_of

FOLDERS = "minialex/ops", "minialex/optim/plain.py", "minialex/optim/blocked.py"
LEFT_OUT = "cuda.py", "cudnn.py", "minialex/ops/_cuda/"
"""What launches kernels: most of it chooses blocks and tiles, which changes no number."""

OPTIMIZERS = "adam", "rmsprop", "sgd"
CHECKS = "the checks"
SECONDS = 240
"""So long no op's checks take: a mutant of theirs that does, hangs."""


def files() -> list[str]:
    """Return the files that are mutated."""
    there = [ROOT / folder for folder in FOLDERS]
    found = [path for one in there for path in (sorted(one.rglob("*.py")) or [one])]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return [name for name in names if not name.endswith(LEFT_OUT) and LEFT_OUT[-1] not in name]


@functools.cache
def sites() -> list[list[Mutant]]:
    """Return every mutant, those of one place together."""
    return by_place(
        mutant
        for name in files()
        for mutant in mutants_of(name, (ROOT / name).read_text(), MathSites)
    )


def belongs_to(path: str) -> Sequence[str]:
    """Return the ops of a file, or its optimizers; of one that ops share, all."""
    _, room, name, *_ = path.removesuffix(".py").split("/")
    if room == "optim":
        return OPTIMIZERS
    slices = {op: module_of(op).split(".")[2] for op in OPS}
    return [op for op in slices if name in (slices[op], "__init__") or name.startswith("_")]


def module_of(op: str) -> str:
    return str(OPS[op].implementations["plain"].forward.__module__)


def check(checkout: Checkout, path: str) -> str:
    """Return what the checks of a file's ops say; "" where they find nothing."""

    def work() -> int:
        checks = importlib.import_module("tests.campaigns.op_checks")
        return int(checks.main(belongs_to(path)))

    said = checkout.failure(work, SECONDS)
    return f"{CHECKS} of {path}: {said}" if said else ""


def tests_for(path: str) -> list[list[str]]:
    """Return the suite's tests of a file, those that take least first."""
    telling = ["tests/ops/test_public.py", "tests/ops/test_helpers.py"]
    around = [*telling, "tests/ops", "tests/autograd", "tests/nn", "tests/test_device.py"]
    if belongs_to(path) == OPTIMIZERS:
        return [["tests/optim", "tests/test_routines.py", "tests/autograd"]]
    names = " or ".join(belongs_to(path))
    return [around, ["tests/test_conformance.py", "-k", f"({names}) and not emulated"]]


def noticed(checkout: Checkout, mutant: Mutant) -> str:
    by = check(checkout, mutant.path)
    if by or mutant.known():
        return by
    return next(filter(None, map(checkout.first_failure, tests_for(mutant.path))), "")


def passes(checkout: Checkout, by: str) -> bool:
    if not by.startswith(CHECKS):
        return not checkout.first_failure([by])
    path = by.removeprefix(f"{CHECKS} of ").split(":")[0]
    names = tuple(belongs_to(path))
    if names not in _passing:
        _passing[names] = not check(checkout, path)
    return _passing[names]


_passing: dict[tuple[str, ...], bool] = {}
"""Whether the checks of these ops pass without a mutant, of those that were asked for."""


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Try one mutant per seed, in processes that one process forks."""
    return processes.report(__name__, seeds, folder)


CAMPAIGN = Campaign("mutants", attempt, count=300, short=1, batch=100)


def main(seeds: Sequence[int], folder: Path) -> None:
    """Draw one mutant per seed and have it checked; print what is wrong."""
    try_each(seeds, folder, sites(), noticed, passes)


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
