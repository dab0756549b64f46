"""Which kernels are launched, on a GPU or under the emulator in checked mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minialex.cuda import emulator, source
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan

Kernel = tuple[str, str]


@contextlib.contextmanager
def launched_kernels() -> Iterator[set[Kernel]]:
    """Yield the kernels, by file and name, that are launched while the block runs.

    Launches under the emulator's other modes are left out: they check nothing.
    """
    seen: set[Kernel] = set()
    ours = set(source.kernel_files())

    def noting(launch: LaunchFunction) -> LaunchFunction:
        def call(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
            emulation = emulator.emulation()
            if plan.source.file in ours and (emulation is None or emulation.mode == "checked"):
                seen.add((plan.source.file, plan.signature.name))
            launch(plan, values)

        return call

    with wrapped_launches(noting):
        yield seen
