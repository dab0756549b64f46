"""Compare four gradient checkers, and write `docs/checker.md`'s tables.

From the root of a source tree,

    pip install -e '.[checkers]'
    python -m tests.campaigns.checkers --autograd CHECKOUT --jax CHECKOUT   # asks them, and writes
    python -m tests.campaigns.checkers --check    # changes nothing; status 1 where a table is stale

The suites are in the checkouts of autograd and of JAX whose versions are installed: of autograd the
source distribution will do (``pip download --no-deps --no-binary :all: autograd``), JAX's holds no
tests (``git clone --depth 1 --branch jax-v0.10.2 https://github.com/jax-ml/jax``).
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import minialex
from minialex.bench.report import fill_page
from minialex.files import atomic_write
from tests.campaigns.checkers.op_mutants import TEN
from tests.campaigns.checkers.record import mutants_record, page, suite_record

PACKAGE = "tests.campaigns.checkers"
PAGE, RECORD = Path("docs/checker.md"), Path("benchmarks/results/checkers.json")
PEERS = "torch", "jax", "autograd"

CALLS = {"autograd": r"check_grads|_check\(", "jax": "check_grads"}
"""What a file of a suite calls from which `check_grads` is reached."""

TASK_SECONDS = 7200
"""A process that takes longer hangs: what it has written until then counts."""


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Only compare the page with the record.")
@click.option("--autograd", type=click.Path(path_type=Path), help="A checkout of autograd.")
@click.option("--jax", type=click.Path(path_type=Path), help="A checkout of JAX.")
@click.option("--share", type=float, default=1.0, help="Of JAX's functions, how many are drawn.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="At a time.")
def main(
    check: bool, autograd: Path | None, jax: Path | None, share: float, seed: int, jobs: int
) -> None:
    """Ask the checkers and write record and page, or only compare these."""
    if not check:
        suites = {"autograd": _suite("autograd", autograd), "jax": _suite("jax", jax)}
        print(f"seed {seed}, {share:.0%} of JAX's functions", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            made = record(suites, share, seed, jobs, Path(folder))
        atomic_write(RECORD, json.dumps(made, indent=1).encode() + b"\n")
    text = page(json.loads(RECORD.read_text(encoding="utf-8")))
    sys.exit(fill_page(PAGE, text, PACKAGE, check=check))


def _suite(name: str, checkout: Path | None) -> list[Path]:
    """Return the files of a suite; refuse a checkout without them."""
    missing = [one for one in PEERS if importlib.util.find_spec(one) is None]
    if missing:
        raise click.UsageError(f"{missing[0]} is missing: pip install -e '.[checkers]'")
    found = sorted((checkout / "tests").rglob("*test*.py")) if checkout else []
    files = [path for path in found if re.search(CALLS[name], path.read_text(encoding="utf-8"))]
    if not files:
        raise click.UsageError(
            f"--{name} has to be the path of a checkout of {name}, whose tests/ call check_grads; "
            "--help says where to get it"
        )
    return files


def record(
    suites: dict[str, list[Path]], share: float, seed: int, jobs: int, folder: Path
) -> dict[str, Any]:
    """Ask the checkers, in processes of their own, and return what they said."""
    mutants = [_Task("op_mutants", [op], folder / f"{op}.jsonl") for op in ("right", *TEN)]
    shares = {"autograd": 1.0, "jax": share}
    files = {
        name: [
            _Task("suites", [name, str(path), f"--share={shares[name]}"], folder / path.name)
            for path in paths
        ]
        for name, paths in suites.items()
    }
    tasks = [*mutants, *files["autograd"], *files["jax"]]
    with ThreadPoolExecutor(jobs) as workers:
        list(workers.map(lambda task: task.run(seed), tasks))
    right, *rows = (task.rows() for task in mutants)
    versions = {name: importlib.metadata.version(name) for name in ("numpy", *PEERS)}
    names = {name: f"{name} {versions[name]}" for name in files}
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "minialex": minialex.__version__,
            **versions,
        },
        "mutants": mutants_record([row for own in rows for row in own], right, seed),
        "suites": {
            names[name]: suite_record(
                [row for task in own for row in task.rows()], len(own), shares[name], seed
            )
            for name, own in files.items()
        },
    }


@dataclass(frozen=True)
class _Task:
    """What one process does: a module of this package, its arguments, and where it writes rows."""

    module: str
    arguments: Sequence[str]
    out: Path

    def run(self, seed: int) -> None:
        command = [sys.executable, "-m", f"{PACKAGE}.{self.module}", *self.arguments]
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            ended = subprocess.run(
                [*command, str(self.out), f"--seed={seed}"],
                capture_output=True,
                timeout=TASK_SECONDS,
                check=False,
            )
            seconds = time.monotonic() - began
            print(f"{' '.join(self.arguments)}: {ended.returncode}, {seconds:.0f} s", flush=True)

    def rows(self) -> list[dict[str, Any]]:
        written = self.out.read_text() if self.out.exists() else ""
        return [json.loads(line) for line in written.splitlines()]


if __name__ == "__main__":
    main()
