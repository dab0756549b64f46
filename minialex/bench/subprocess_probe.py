"""What only a new process can tell: the peak memory of a training step, the time of an import.

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
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from minialex.arrays import CPU, device
from minialex.bench import cached_networks
from minialex.bench.networks import default_step, network_task
from minialex.bench.peers import find_peers
from minialex.cpu import threads

OURS = "minialex"
MEMORY_STEPS = 3
"""Training steps after which the peak is reached: state is allocated in the first one."""
IMPORT_REPETITIONS = 7


def peak_memory(library: str, network: str, batch: int, device_name: str = "cpu") -> dict[str, Any]:
    """Return the memory that training steps take in a process of their own.

    Parameters
    ----------
    library : str
        "minialex" or a peer's name.
    network : str
    batch : int
    device_name : str

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
    code = "from minialex.bench import subprocess_probe; subprocess_probe.child()"
    words = [sys.executable, "-c", code, library, network, str(batch), device_name]
    found: dict[str, Any] = json.loads(_output(words))
    return {"library": library, "network": network, "batch": batch, **found}


def import_times() -> list[dict[str, Any]]:
    """Return how long imports take: NumPy's, and what this package adds to it; medians.

    They find compiled modules, as after an installation, whatever this process is told of them.
    """
    code = (
        "import time; a = time.perf_counter(); import numpy; b = time.perf_counter(); "
        "import minialex; c = time.perf_counter(); print(b - a, c - b)"
    )
    with tempfile.TemporaryDirectory(prefix="minialex-bench-") as compiled:
        # the first import fills the folder, and the median leaves it out
        variables = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        outputs = [
            _output([sys.executable, "-c", code], variables).split()
            for _ in range(IMPORT_REPETITIONS)
        ]
    numpy, ours = (map(float, column) for column in zip(*outputs, strict=True))
    return [
        {"what": "import numpy", "seconds": median(numpy)},
        {"what": "import minialex, after it", "seconds": median(ours)},
    ]


def _output(words: list[str], variables: Mapping[str, str] = MappingProxyType({})) -> str:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(words[3:])} failed: {last}")
    return done.stdout.strip().splitlines()[-1]


def resident_bytes(field: str) -> int:
    """Return the bytes that this process holds now ("VmRSS") or held at most ("VmHWM").

    From the kernel's own account of this program: the peak that `resource` gives may be that of
    the process which started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def child() -> None:
    """Take steps as the command line says: library, network, batch, device."""
    library, network, batch, device_name = sys.argv[1:]
    place = device(device_name)
    names = [] if library == OURS else [library]
    peers, unavailable = find_peers(names, place, threads.cores())
    if unavailable:
        raise SystemExit(f"{library}: {unavailable[library]}")
    held = _held_on_host if place == CPU else _held_on_gpu
    base, task = held(library, False), network_task(network, int(batch), place)
    step = peers[0].step(task) if peers else default_step(task)
    assert step is not None
    # the cached weights are no part of a step's memory
    cached_networks.clear_cache()
    for _ in range(MEMORY_STEPS):
        step.run()
    print(json.dumps({"base": base, "peak": held(library, True)}))


def _held_on_host(library: str, peak: bool) -> int:
    return resident_bytes("VmHWM" if peak else "VmRSS")


def _held_on_gpu(library: str, peak: bool) -> int:
    """Return what the process's pool holds on the GPU; CuPy's gives nothing back meanwhile."""
    if library == OURS:
        return int(importlib.import_module("cupy").get_default_memory_pool().total_bytes())
    cuda = importlib.import_module("torch").cuda
    return int(cuda.max_memory_reserved() if peak else cuda.memory_reserved())
