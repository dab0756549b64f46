"""What only a fresh process can tell: the peak memory of a training step, the time of an import.

The process is this module's `child`: it takes training steps and prints, as JSON, the memory that
it held after its imports and at its peak.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from minialex.arrays import CPU, device
from minialex.bench import drawn
from minialex.bench.networks import our_step, task_of
from minialex.bench.peers import find
from minialex.cpu import threads

OURS = "minialex"
STEPS = 3
IMPORTS = 7


def peak_memory(who: str, network: str, batch: int, where: str = "cpu") -> dict[str, Any]:
    """Return the memory that training steps take in a process of their own.

    Parameters
    ----------
    who : str
        "minialex" or a peer's name.

    Returns
    -------
    dict
        `peak` and `base` in bytes: the most that the process held, and what it held after its
        imports. On a GPU both are what the device held.

    Raises
    ------
    RuntimeError
        If the process failed.
    """
    code = "from minialex.bench import fresh; fresh.child()"
    words = [sys.executable, "-c", code, who, network, str(batch), where]
    found: dict[str, Any] = json.loads(_output(words))
    return {"who": who, "network": network, "batch": batch, **found}


def import_times() -> list[dict[str, Any]]:
    """Return how long imports take: NumPy's, and what this package adds to it; medians."""
    code = (
        "import time; a = time.perf_counter(); import numpy; b = time.perf_counter(); "
        "import minialex; c = time.perf_counter(); print(b - a, c - b)"
    )
    said = [_output([sys.executable, "-c", code]).split() for _ in range(IMPORTS)]
    numpy, ours = (map(float, column) for column in zip(*said, strict=True))
    return [
        {"what": "import numpy", "seconds": median(numpy)},
        {"what": "import minialex, after it", "seconds": median(ours)},
    ]


def _output(words: list[str]) -> str:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(words[3:])} failed: {last}")
    return done.stdout.strip().splitlines()[-1]


def resident(which: str) -> int:
    """Return the bytes that this process holds now ("VmRSS") or held at most ("VmHWM").

    From the kernel's own account of this program: the peak that `resource` gives may be that of
    the process which started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    found = re.search(rf"^{which}:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def child() -> None:
    """Take steps as the command line says: who, network, batch, device."""
    who, network, batch, where = sys.argv[1:]
    place = device(where)
    peers, absent = find([] if who == OURS else [who], place, threads.cores())
    if absent:
        raise SystemExit(f"{who}: {absent[who]}")
    held = _on_host if place == CPU else _on_gpu
    base, task = held(who, False), task_of(network, int(batch), place)
    step = peers[0].step(task) if peers else our_step(task)
    assert step is not None
    # what is held beside a step is no part of its memory
    drawn.forget()
    for _ in range(STEPS):
        step.run()
    print(json.dumps({"base": base, "peak": held(who, True)}))


def _on_host(who: str, peak: bool) -> int:
    return resident("VmHWM" if peak else "VmRSS")


def _on_gpu(who: str, peak: bool) -> int:
    """Return what the process's pool holds on the GPU; CuPy's gives nothing back meanwhile."""
    if who == OURS:
        return int(importlib.import_module("cupy").get_default_memory_pool().total_bytes())
    cuda = importlib.import_module("torch").cuda
    return int(cuda.max_memory_reserved() if peak else cuda.memory_reserved())
