"""The host time of a training step's launches in Python: everything but the kernels.

    python benchmarks/launches.py                                 measure this checkout
    python benchmarks/launches.py --against OTHER --out FILE      and another one, interleaved

No GPU is used and nothing is computed. One step is taken on NumPy arrays with an emulator that
launches nothing, and its launches are recorded. Then, in a process for each repetition,

    launches   those are made again on CuPy arrays of the same shapes and addresses, down to CuPy's
               compiled function, in whose place an empty one stands. What CuPy itself takes to
               launch is not in it; nor, without a driver, what it takes to ask which device is the
               current one, or to change it
    step       the whole step is taken on NumPy arrays, again with an emulator that launches nothing

Times are CPU times of the process, in milliseconds per step: the median over repetitions of the
median within one. They compare two checkouts on one machine; a GPU's host will take another time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minialex import cuda, emulated
from minialex.arrays import CPU, address_of
from minialex.bench import machine
from minialex.bench.networks import default_step, network_task
from minialex.cuda import emulator, gpu
from minialex.models import VARIANTS

STEP_ROUNDS = 60
KERNEL_ITERATIONS = 200

Launch = tuple[cuda.Kernel, tuple[Any, ...], dict[str, Any]]


class ConstantDict(dict[Any, Any]):
    """Has the same under every key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self.value


def nothing(*args: Any, **options: Any) -> None:
    """Stand where a kernel would run."""


def milliseconds(run: Callable[[], Any]) -> float:
    """Return the CPU time that `run` takes: the median of many."""
    run()
    taken = []
    for _ in range(STEP_ROUNDS):
        start = time.process_time_ns()
        run()
        taken.append(time.process_time_ns() - start)
    return median(taken) / 1e6


@contextlib.contextmanager
def recorded_launches() -> Iterator[list[Launch]]:
    """Collect the launches made inside."""
    launches: list[Launch] = []
    call = cuda.Kernel.__call__

    def recording(kernel: cuda.Kernel, *args: Any, **options: Any) -> None:
        launches.append((kernel, args, options))
        call(kernel, *args, **options)

    cuda.Kernel.__call__ = recording
    try:
        yield launches
    finally:
        cuda.Kernel.__call__ = call


def on_cupy(launch: Launch) -> Launch:
    """Return a launch with CuPy arrays in place of NumPy's, at the same addresses."""
    cupy = importlib.import_module("cupy")

    def moved(arg: Any) -> Any:
        if not isinstance(arg, np.ndarray):
            return arg
        memory = cupy.cuda.UnownedMemory(address_of(arg), max(1, arg.nbytes), arg, device_id=0)
        at = cupy.cuda.MemoryPointer(memory, 0)
        return cupy.ndarray(arg.shape, arg.dtype, memptr=at)

    kernel, args, options = launch
    return kernel, tuple(map(moved, args)), options


def without_a_gpu() -> None:
    """Have CuPy launch nothing, and name device 0 without a driver."""
    runtime = importlib.import_module("cupy").cuda
    gpu._functions = ConstantDict(nothing)
    if not runtime.is_available():
        runtime.runtime.getDevice = lambda: 0
        runtime.Device = contextlib.nullcontext


def measure(network: str, batch: int) -> dict[str, Any]:
    """Return what one repetition gives for this checkout."""
    emulator.launch = nothing
    step = default_step(network_task(network, batch, CPU))
    with emulated():
        step.run()
        with recorded_launches() as launches:
            step.run()
        found: dict[str, Any] = {"launches": len(launches), "step_ms": milliseconds(step.run)}
    without_a_gpu()
    moved = [on_cupy(launch) for launch in launches]
    found["launches_ms"] = milliseconds(lambda: [k(*args, **options) for k, args, options in moved])
    by_kernel = defaultdict(list)
    for kernel, args, options in moved:
        start = time.process_time_ns()
        for _ in range(KERNEL_ITERATIONS):
            kernel(*args, **options)
        by_kernel[kernel.name].append((time.process_time_ns() - start) / KERNEL_ITERATIONS / 1e3)
    found["kernels_us"] = {name: sum(us) / len(us) for name, us in by_kernel.items()}
    return found | {"commit": machine.commit()}


def repeat(checkouts: list[Path], count: int, network: str, batch: int) -> list[dict[str, Any]]:
    """Return the medians of each checkout, interleaved, each in a process of its own."""
    results: list[list[dict[str, Any]]] = [[] for _ in checkouts]
    words = [
        sys.executable,
        __file__,
        "--one-repetition",
        "--network",
        network,
        "--batch",
        str(batch),
    ]
    for _ in range(count):
        for checkout, answers in zip(checkouts, results, strict=True):
            env = os.environ | {"PYTHONPATH": str(checkout)}
            answer = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
            answers.append(json.loads(answer.stdout))
    return [medians(answers) for answers in results]


def medians(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over the repetitions of one checkout."""
    first = answers[0]
    return {
        "commit": first["commit"],
        "launches": first["launches"],
        "repetitions": len(answers),
        "step_ms": round(median(a["step_ms"] for a in answers), 3),
        "launches_ms": round(median(a["launches_ms"] for a in answers), 3),
        "launches_ms_range": [
            round(pick(a["launches_ms"] for a in answers), 3) for pick in (min, max)
        ],
        "kernels_us": {
            name: round(median(a["kernels_us"][name] for a in answers), 1)
            for name in sorted(first["kernels_us"])
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="measure this one too")
    parser.add_argument("--network", default="alexnet", choices=sorted(VARIANTS))
    parser.add_argument("--batch", type=int, default=32, help="images (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=7, help="of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a record there")
    parser.add_argument("--one-repetition", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one_repetition:
        print(json.dumps(measure(asked.network, asked.batch)))
        return
    if asked.against and not (asked.against / "minialex").is_dir():
        parser.error(f"--against is {asked.against}: give a checkout, with its folder minialex")
    if min(asked.batch, asked.repetitions) < 1:
        parser.error("--batch and --repetitions start at 1")
    own = Path(__file__).resolve().parent.parent
    checkouts = ([asked.against.resolve()] if asked.against else []) + [own]
    record = {
        "what": "CPU time of Python, per step; no kernel ran: see benchmarks/launches.py",
        "network": asked.network,
        "batch": asked.batch,
        "machine": machine.machine(CPU),
        "busy_cores": round(machine.busy_cores(), 2),
        "versions": machine.versions(),
        "time": machine.now(),
        "checkouts": repeat(checkouts, asked.repetitions, asked.network, asked.batch),
    }
    for one in record["checkouts"]:
        print(
            f"{one['commit']}: {one['launches']} launches, {one['launches_ms']} ms per step "
            f"for them on CuPy arrays; the step on NumPy arrays {one['step_ms']} ms"
        )
    if asked.out:
        asked.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
