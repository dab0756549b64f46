"""A campaign's attempts in a process of their own, which imports what they need once.

``python -m MODULE FOLDER BROKEN SEED...`` prints a line per fault; BROKEN, if not empty, names a
function that first breaks something on purpose.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from minialex.cpu import threads

ROOT = Path(__file__).parents[2]


def report(module: str, seeds: Sequence[int], folder: Path, broken: str = "") -> list[str]:
    """Run a module's attempts; returns their faults, and the process's own if it fails."""
    command = [sys.executable, "-m", module, str(folder), broken, *map(str, seeds)]
    # what is tiny is slower on several threads
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", threads.VARIABLE: "1"}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    faults = ended.stdout.splitlines()
    if ended.returncode:
        faults.append(f"seeds {seeds[0]} to {seeds[-1]}: status {ended.returncode}: {ended.stderr}")
    return faults


def run(main: Callable[[Sequence[int], Path], None], arguments: Sequence[str]) -> None:
    """Run a module's `main` as its command line says."""
    folder, broken, *seeds = arguments
    if broken:
        module, _, name = broken.rpartition(".")
        getattr(importlib.import_module(module), name)()
    main([int(seed) for seed in seeds], Path(folder))
