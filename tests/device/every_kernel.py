"""Launch every kernel in use, on small cases and with nothing compared: a tool looks on.

    compute-sanitizer --tool memcheck python -m tests.device.every_kernel    on a GPU
    python -m tests.device.every_kernel emulated                             the emulator's checks

Exit status 1, and their names, if kernels were left out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import numpy as np

from minialex import arrays
from minialex.arrays import CPU, Device, array_module
from minialex.autograd import OPS, ROUTINES
from minialex.check import routines
from minialex.check.case import Case
from minialex.check.cases import CASES
from minialex.check.kinds import Kind
from minialex.check.suite import Pair
from minialex.cuda import emulated
from minialex.study.kernel_uses import kernels_of, uses
from tests.device.launched import Kernel, launched_kernels

DTYPE = np.dtype(np.float32)


def main(words: list[str]) -> int:
    """Do it and return the exit status."""
    on_cpu = words == ["emulated"]
    device = CPU if on_cpu else arrays.device("cuda")
    if not on_cpu:
        # each array in memory of its own, or reads past its end go unseen
        arrays.module_of(device).cuda.set_allocator(None)
    with emulated("checked") if on_cpu else contextlib.nullcontext(), launched_kernels() as seen:
        launch_all(device, seen)
    missing = sorted(set(_wanted(device)) - seen)
    print(f"{len(seen)} kernels were launched")
    for file, name in missing:
        print(f"not launched: {file}: {name}")
    return int(bool(missing))


def launch_all(device: Device, seen: set[Kernel]) -> None:
    """Run the cases of each implementation until all its kernels are among those `seen`."""
    for name, op in OPS.items():
        for one, implementation in op.implementations.items():
            pair = Pair(op, one, one, DTYPE, device)
            for case in () if pair.why_not() else CASES[name]:
                if kernels_of(implementation) <= seen:
                    break
                _run(pair, case)
    for name, routine in routines.routines().items():
        for one in routines.implementations(name, DTYPE, device):
            for routine_case in routines.cases_of(Kind.VALUES, one):
                if kernels_of(routine.implementations[one.name]) <= seen:
                    break
                one.results(routine_case)


def _run(pair: Pair, case: Case) -> None:
    drawn = case.draw(pair.op.name)
    wanted = case.differentiable(drawn)
    y, saved = pair.run(pair.prepared(drawn), case.params)
    gy = array_module(y).ones_like(y)
    pair.vjp(gy, saved, case.params, tuple(i in wanted for i in range(len(drawn))))


def _wanted(device: Device) -> Iterator[Kernel]:
    """Yield the kernels of the implementations that can run there."""
    for kernel, there in uses().items():
        for use in there:
            one = ROUTINES[use.routine].implementations[use.implementation]
            if not getattr(one, "why_not", lambda _: "")(device):
                yield kernel


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
