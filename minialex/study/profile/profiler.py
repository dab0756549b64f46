"""Profile launches on a machine without a GPU: what they ask of memory, and what that costs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minialex.autograd.choice import Choices, noted_choices
from minialex.cuda import Emulation, emulated, emulation
from minialex.cuda.emulator import Counts
from minialex.cuda.emulator.sampling import MAX_BLOCKS
from minialex.cuda.known_gpus import KnownGPU, known_gpu
from minialex.cuda.plan import LaunchPlan
from minialex.errors import MinialexError
from minialex.study.profile.least_time import LeastTime, least_time
from minialex.study.profile.lines import Line, find, lines, refuse_cut
from minialex.study.profile.metrics import METRICS
from minialex.study.profile.resources import Resources, resources
from minialex.study.profile.slowdowns import Slowdown, slowdowns
from minialex.study.profile.text import implementations, report
from minialex.study.profile.time_model import PredictedTime, predict

SCHEMA = "minialex-profile 1"


@dataclass(frozen=True, eq=False)
class LaunchProfile:
    """What one launch asked of memory, and how long it would take.

    Attributes
    ----------
    counts : Counts
        Everything that was counted, one row for each line and array.
    gpu : KnownGPU
        What it is to take that long on.
    """

    counts: Counts
    gpu: KnownGPU

    def __str__(self) -> str:
        return report(self)

    @functools.cached_property
    def lines(self) -> list[Line]:
        """Every line of which something was counted, in the order of files and text."""
        return lines([self.counts])

    @functools.cached_property
    def resources(self) -> Resources:
        """Registers, shared memory, occupancy, and the machine code's main loop."""
        return _resources(self.counts.plan, self.gpu)

    @functools.cached_property
    def predicted(self) -> PredictedTime:
        """How long it would take: a prediction, not a measurement."""
        return predict(self.counts, self.resources)

    @functools.cached_property
    def least(self) -> LeastTime:
        """How long any kernel takes at least that reads and writes the same arrays."""
        return least_time(self.counts.plan, self.counts.arrays, self.gpu)

    @functools.cached_property
    def slowdowns(self) -> list[Slowdown]:
        """What slows it down, what costs most first."""
        return slowdowns(self.counts, self.resources, self.predicted)

    def line(self, file: str, number: int) -> Line:
        """Return one line; see `Profile.line`."""
        refuse_cut([self.counts], file)
        return find(self.lines, file, number)

    @functools.cached_property
    def instructions(self) -> list[tuple[str, int, float]]:
        """File, line and executed warp instructions of each line, most first.

        As the model derives them from the machine code; empty where there is none.
        """
        done = self.predicted.executed
        return done.by_line if done else []

    def to_json(self) -> dict[str, Any]:
        """Return everything as numbers, texts, lists and dicts."""
        counts, taken, time = self.counts, self.resources, self.predicted
        return {
            "kernel": counts.kernel,
            "grid": list(counts.grid),
            "block": list(counts.block),
            "blocks": counts.blocks,
            "blocks_counted": counts.counted,
            "standard_error": counts.standard_error,
            "busiest_block": counts.busiest_block,
            "cut": counts.cut,
            "static_shared_bytes": counts.static_shared,
            "dynamic_shared_bytes": counts.dynamic_shared,
            "registers": taken.registers,
            "spilled_bytes": taken.spilled_bytes,
            "local_bytes": taken.local_bytes,
            "occupancy": taken.occupancy and dataclasses.asdict(taken.occupancy),
            "main_loop": dict(taken.main_loop),
            "machine_code": [dataclasses.asdict(row) for row in taken.lines],
            "instructions": [
                {"file": file, "line": line, "executed": number}
                for file, line, number in self.instructions
            ],
            "machine_code_missing": taken.missing,
            "predicted_seconds": time.seconds,
            "bound": time.binding,
            "bounds_seconds": dict(time.bounds),
            "floor_seconds": self.least.seconds,
            "floor_bound": self.least.bound,
            "bytes": dataclasses.asdict(time.levels),
            "memory": [
                dataclasses.asdict(row) | {"bytes": dataclasses.asdict(moved)}
                for row, moved in zip(counts.memory, time.rows, strict=True)
            ],
            "branches": [dataclasses.asdict(row) for row in counts.branches],
            "primitives": [dataclasses.asdict(row) for row in counts.primitives],
            "slowdowns": [dataclasses.asdict(one) for one in self.slowdowns],
        }


@dataclass(frozen=True, eq=False)
class Profile:
    """The launches of a `profiled` block.

    Attributes
    ----------
    gpu : KnownGPU
    choices : dict of (str, str) to None
        The ops that were called, and other routines, and which implementation each took.
    """

    gpu: KnownGPU
    emulation: Emulation
    choices: Choices = dataclasses.field(default_factory=dict)
    _launches: list[LaunchProfile] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        parts = [implementations(self), *map(str, self.launches)]
        return "\n\n".join(part for part in parts if part)

    @property
    def launches(self) -> list[LaunchProfile]:
        """The launches so far, in order."""
        new = self.emulation.counts[len(self._launches) :]
        self._launches.extend(LaunchProfile(counts, self.gpu) for counts in new)
        return self._launches

    def line(self, file: str, number: int) -> Line:
        """Return one line of a kernel's text, over all launches.

        Parameters
        ----------
        file : str
            ``"tile_product.cuh"``, with as much of its path as there is need for.
        number : int
            From 1.

        Raises
        ------
        MinialexError
            If nothing was counted there, or of a launch with text of this file not all was.
        """
        refuse_cut(self.emulation.counts, file)
        return find(lines(self.emulation.counts), file, number)

    def to_json(self) -> dict[str, Any]:
        """Return everything as numbers, texts, lists and dicts; times are predictions."""
        return {
            "schema": SCHEMA,
            "gpu": {"name": self.gpu.name, "board": self.gpu.board},
            "implementations": [
                {"op": routine, "implementation": name} for routine, name in self.choices
            ],
            "predicted_seconds": sum(one.predicted.seconds for one in self.launches),
            "metrics": METRICS,
            "launches": [one.to_json() for one in self.launches],
        }


@contextlib.contextmanager
def profiled(
    gpu: str = "H100", *, kernel: str | None = None, max_blocks: int | None = MAX_BLOCKS
) -> Iterator[Profile]:
    """While the block runs, profile the kernels that are launched on NumPy arrays.

    Of a large launch only some blocks run, and the others are taken to be like these; so results
    are not whole. Ops take the implementation that this GPU takes, unless `minialex.using` names
    another.

        with profiled() as profile, using(conv2d="tiled"):
            y = ops.conv2d(x, w)
        assert profile.line("tile_product.cuh", 34).wavefronts_per_request <= 2

    A profile is of the thread that takes it, and of those that run in a copy of its context. Other
    threads may take profiles of their own at the same time; one within another is refused.

    Parameters
    ----------
    gpu : str
        Which GPU to be: ``"T4"``, ``"RTX 3060"``, ``"RTX 4090"``, ``"RTX A6000"``, ``"A100"``,
        ``"H100"`` or ``"H200"``.
    kernel : str, optional
        Profile the kernel of this name only.
    max_blocks : int, optional
        How many blocks of a launch are counted; None for all.

    Yields
    ------
    Profile

    Raises
    ------
    MinialexError
        If there is no such GPU, or no C++ compiler, or a profile is being taken already; from a
        launch, if an access is in no array or misaligned.
    """
    known = known_gpu(gpu)
    if (active := emulation()) is not None and active.mode == "counted":
        raise MinialexError(
            "a profile is being taken already: launches would be missing from one of the two; "
            "take one after the other, not profiled() within profiled()"
        )

    counting = emulated(
        "counted",
        architecture=known.architecture,
        kernel=kernel,
        max_blocks=max_blocks,
        resident_blocks=functools.partial(_resident_blocks, gpu=known),
    )
    with counting as active, noted_choices() as choices:
        yield Profile(known, active, choices)


def _resident_blocks(plan: LaunchPlan, gpu: KnownGPU) -> int:
    """Return how many blocks divide an L1 cache: as many as fit, and no more than there are."""
    occupancy = _resources(plan, gpu).occupancy
    fit = occupancy.blocks if occupancy else 0
    if not fit:
        fit = max(1, gpu.limits.threads_per_multiprocessor // math.prod(plan.block))
    return min(fit, math.ceil(math.prod(plan.grid) / gpu.multiprocessors))


def _resources(plan: LaunchPlan, gpu: KnownGPU) -> Resources:
    threads = math.prod(plan.block)
    return resources(plan.source.file, plan.expression, gpu, threads, plan.shared)
