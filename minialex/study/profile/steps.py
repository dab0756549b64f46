"""From what the threads of a block did one by one to what its warps did, step by step.

    with minialex.emulated("traced", every_thread=True, kernel="conv2d_forward_tiled") as emulation:
        y = ops.conv2d(x, w)
    steps = warp_steps(emulation.recordings[0])       # [WarpStep(kind="read", warp=0, ...), ...]
    table = line_costs(steps, recording)              # per line: requests, lanes, sectors, ...

Which lanes went together the recording says: lanes that part at a branch run on together from its
immediate post-dominator, the first place that all paths lead through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import Recording

LANES = 32

KINDS = {i.READ: "read", i.WRITE: "write", i.ATOMIC: "atomic", i.BARRIER: "warp", i.WARP: "warp"}
"""What a step of one warp is, by the kind of its events.

``warp`` is a primitive such as a shuffle or ``__syncwarp``.
"""

Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class WarpStep:
    """What one warp does at once: a request to memory, an exchange; or a barrier of the block.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or ``"barrier"``: of all threads of the block.
    phase : int
        Barriers of the block that the warp has passed.
    warp : int
        Counted through the block; -1 of a barrier, at which all its warps wait.
    file : str
        The kernel file, empty where it is not known.
    line : int
    array : int
        Index into the recording's arrays; -1 of a barrier or exchange.
    width : int
        Bytes per lane.
    events : (32,) int64 array
        The event of each lane in the recording's events, -1 of lanes that take no part.
    offsets : (32,) int64 array
        Bytes from the array's start, -1 of lanes that take no part.
    states : str
        One character per lane: ``*`` takes part, ``d`` is on another path (divergence), ``b``
        has nothing left before the barrier, ``r`` nothing at all, ``.`` has no thread. Empty of a
        barrier.
    threads : int
        How many take part.
    cost, least : int
        Sectors of global memory or wavefronts of shared memory, and as few as would do, as the
        emulator counts them. 0 of a barrier or exchange.
    """

    kind: str
    phase: int
    warp: int
    file: str
    line: int
    array: int
    width: int
    events: Indices
    offsets: Indices
    states: str
    threads: int
    cost: int
    least: int


@dataclass(frozen=True)
class LineCost:
    """The requests that one line makes to one array, summed over a block.

    Attributes
    ----------
    access : str
        ``"read"``, ``"write"`` or ``"atomic"``.
    memory : str
        ``"global"`` or ``"shared"``.
    width : int
        Bytes per lane.
    requests : int
    lanes : int
        Active lanes, summed over the requests.
    cost, least : int
        Sectors (global) or wavefronts (shared), and as few as would do, summed over the requests.
    """

    file: str
    line: int
    access: str
    array: str
    memory: str
    width: int
    requests: int
    lanes: int
    cost: int
    least: int


def warp_steps(recording: Recording) -> list[WarpStep]:
    """Return what the warps of a block did: from barrier to barrier, in each warp after warp.

    Between two barriers the warps of a block run in any order; here it is that in which they ran.

    Parameters
    ----------
    recording : Recording
        With every thread of a block.
    """
    walk = _BlockWalk(recording)
    return [step for phase in walk.phases() for step in walk.steps_of(phase)]


def line_costs(steps: Sequence[WarpStep], recording: Recording) -> list[LineCost]:
    """Return the requests of `steps` summed up per line, access, array and width, by line."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for step in steps:
        if step.array >= 0:
            array = recording.arrays[step.array]
            memory = "shared" if array.shared else "global"
            key = (step.file, step.line, step.kind, array.name, memory, step.width)
            added = (1, step.threads, step.cost, step.least)
            sums[key] = [a + b for a, b in zip(sums[key], added, strict=True)]
    return [LineCost(*key, *values) for key, values in sorted(sums.items())]


class _BlockWalk:
    """The events of one block, request by request."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.events = recording, recording.events
        x, y, z = recording.block
        self.threads = x * y * z
        thread = self.events["thread"].astype(np.int64)
        self.number = thread[:, 0] + x * (thread[:, 1] + y * thread[:, 2])
        self.phase = self.events["phase"]
        self.request = self.events["request"]
        of_warps = np.flatnonzero(self.request >= 0)
        self.of_warps = of_warps[np.argsort(self.request[of_warps], kind="stable")]
        # a barrier of the block is no request of a warp, __syncwarp is
        self.barriers = np.flatnonzero((self.events["kind"] == i.BARRIER) & (self.request < 0))
        ends = np.flatnonzero(self.events["kind"] == i.END)
        self.returned = np.full(self.threads, np.iinfo(np.int32).max)
        self.returned[self.number[ends]] = self.phase[ends]

    def phases(self) -> range:
        return range(int(self.phase.max(initial=-1)) + 1)

    def steps_of(self, phase: int) -> Iterator[WarpStep]:
        mine = self.of_warps[self.phase[self.of_warps] == phase]
        last = np.full(self.threads + LANES, -1)
        np.maximum.at(last, self.number[mine], self.request[mine])
        cuts = np.flatnonzero(np.diff(self.request[mine])) + 1
        for together in np.split(mine, cuts):
            if len(together):
                yield self._step(phase, together, last)
        waits = self.barriers[self.phase[self.barriers] == phase]
        if len(waits):
            yield self._barrier(phase, waits)

    def _step(self, phase: int, together: Indices, last: Indices) -> WarpStep:
        one = self.events[together[0]]
        warp = int(self.number[together[0]]) // LANES
        lanes = self.number[together] % LANES
        events, offsets = np.full((2, LANES), -1, np.int64)
        events[lanes] = together
        kind, array, width = KINDS[int(one["kind"])], int(one["array"]), int(one["bytes"])
        if array >= 0:
            offsets[lanes] = self.events["offset"][together]
        ahead = last[warp * LANES :] > self.request[together[0]]
        states = "".join(
            "*" if events[lane] >= 0 else self._idle(phase, warp * LANES + lane, bool(ahead[lane]))
            for lane in range(LANES)
        )
        return WarpStep(
            kind, phase, warp, *self._where(one), array, width, events, offsets, states,
            len(together), int(one["cost"]), int(one["least"]),
        )  # fmt: skip

    def _idle(self, phase: int, thread: int, has_more: bool) -> str:
        if thread >= self.threads:
            return "."
        if has_more:
            return "d"
        return "r" if self.returned[thread] <= phase else "b"

    def _barrier(self, phase: int, waits: Indices) -> WarpStep:
        nothing = np.full(LANES, -1, np.int64)
        where = self._where(self.events[waits[0]])
        return WarpStep("barrier", phase, -1, *where, -1, 0, nothing, nothing, "", len(waits), 0, 0)

    def _where(self, event: np.void) -> tuple[str, int]:
        file = int(event["file"])
        return (self.recording.files[file] if file >= 0 else ""), int(event["line"])
