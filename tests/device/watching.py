"""Which kernels are launched, on a GPU or under the emulator in checked mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from minialex.cuda import emulator, gpu, source
from minialex.cuda.plan import LaunchPlan

Kernel = tuple[str, str]


@contextlib.contextmanager
def watched() -> Iterator[set[Kernel]]:
    """Yield the kernels, by file and name, that are launched while the block runs.

    Launches under the emulator's other modes are left out: they judge nothing.
    """
    seen: set[Kernel] = set()
    before = gpu.launch, emulator.launch
    gpu.launch, emulator.launch = (_noting(launch, seen) for launch in before)
    try:
        yield seen
    finally:
        gpu.launch, emulator.launch = before


def _noting(launch: Callable[..., None], seen: set[Kernel]) -> Callable[..., None]:
    ours = set(source.kernel_files())

    def call(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
        emulation = emulator.emulation()
        if plan.source.file in ours and (emulation is None or emulation.mode == "checked"):
            seen.add((plan.source.file, plan.signature.name))
        launch(plan, values)

    return call
