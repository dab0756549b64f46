"""Mutants of the kernels: one token of a .cu or .cuh file changed; what it computes is checked.

    python -m tests.campaigns kernel-mutants --count 60 --seed 0

The cases of the ops and routines whose kernels are in the file, or include it, run under the
emulator that watches them; then the suite's tests of kernels. Files that compile no more are drawn
anew.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from minialex.autograd import OPS
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign
from tests.campaigns.cpp_sites import mutants_of
from tests.campaigns.mutant import HANGS, ROOT, UNBORN, Checkout, Mutant, try_each
from tests.campaigns.python_sites import by_place
from tests.cuda.zoo import faults

FOLDER = ROOT / "kernels"
CHECKS = "the checks"
SECONDS = 120
"""So long no checks of one implementation take: a mutant of which they do, hangs."""


@functools.cache
def sites() -> list[list[Mutant]]:
    """Return every mutant, those of one place together."""
    paths = sorted([*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")])
    return by_place(
        mutant for path in paths for mutant in mutants_of(f"kernels/{path.name}", path.read_text())
    )


def users(file: str) -> list[tuple[str, str]]:
    """Return (op or routine, implementation) of all that run what is in a file.

    Those of a .cu file are those that the zoo plants faults in, and that it has in its names.
    """
    there = {path.name for path in FOLDER.glob("*.cu") if file in included(path.name)}
    planted = {(f.op, f.implementation) for f in faults() if f.file in there | {file}}
    text = "".join((FOLDER / name).read_text() for name in there)
    named = {
        (op, one) for op in OPS for one in OPS[op].implementations if f"{op}_forward_{one}" in text
    }
    return sorted(planted | named)


@functools.cache
def included(file: str) -> frozenset[str]:
    """Return a file, and all that it includes."""
    names = re.findall(r'^#include "(.*)"', (FOLDER / file).read_text(), re.MULTILINE)
    return frozenset({file, "common.cuh"}.union(*(included(name) for name in names)))


def check(checkout: Checkout, path: str) -> str:
    """Return what the checks of a file's users say; "" where they find nothing."""
    for name, implementation in users(Path(path).name):
        said = checkout.failure(functools.partial(_work, name, implementation), SECONDS)
        if said.startswith(UNBORN):
            return UNBORN
        if said:
            return HANGS if said == HANGS else f"{CHECKS} of {path}: {said}"
    return ""


def _work(name: str, implementation: str) -> int:
    checks = importlib.import_module("tests.campaigns.op_checks")
    return int(checks.main([name], [implementation], kernels=True))


def tests_for(path: str) -> list[str]:
    """Return the suite's tests of the kernels of a file."""
    names = " or ".join(sorted({name for name, _ in users(Path(path).name)}))
    own = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("tests/cuda/test_*_kernels.py"))
    rest = ["tests/test_conformance.py", "tests/test_routines.py", "tests/cuda/test_split_sum.py"]
    return [*own, *rest, "-k", f"({names}) and not foreign"]


def noticed(checkout: Checkout, mutant: Mutant) -> str:
    by = check(checkout, mutant.path)
    return by if by or mutant.known() else checkout.first_failure(tests_for(mutant.path))


@functools.cache
def passes(checkout: Checkout, by: str) -> bool:
    if by.startswith(CHECKS):
        return not check(checkout, by.removeprefix(f"{CHECKS} of ").split(":")[0])
    return not checkout.first_failure([by])


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Try one mutant per seed, in processes that one process forks."""
    return processes.report(__name__, seeds, folder)


CAMPAIGN = Campaign("mutants", attempt, count=60, short=0, batch=20)


def main(seeds: Sequence[int], folder: Path) -> None:
    """Draw one mutant per seed and have it checked; print what is wrong."""
    try_each(seeds, folder, sites(), noticed, passes)


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
