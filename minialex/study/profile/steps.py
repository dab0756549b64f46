"""From what the threads of a block did one by one to what its warps do, step by step.

    with minialex.emulated("traced", every_thread=True, kernel="conv2d_forward_tiled") as emulation:
        y = ops.conv2d(x, w)
    steps = warp_steps(emulation.recordings[0])       # [WarpStep(kind="read", warp=0, ...), ...]
    table = line_costs(steps, recording)              # per line: requests, lanes, sectors, ...

The emulator runs one thread after another, so which lanes of a warp go together has to be found
again: from barrier to barrier, as `minialex.study.profile.reconvergence` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import Recording
from minialex.cuda.plan import Dim3
from minialex.study.profile.reconvergence import ProgramOrder, lockstep, program_order
from minialex.study.profile.wavefronts import Offsets, sectors, wavefronts

LANES = 32

KINDS = {
    i.READ: "read",
    i.WRITE: "write",
    i.ATOMIC: "atomic",
    i.BARRIER: "barrier",
    i.WARP: "warp",
}
"""What a step is, by the kind of its events: ``warp`` is a primitive such as a shuffle."""

Events = np.ndarray[Any, np.dtype[np.void]]


@dataclass(frozen=True, eq=False)
class WarpStep:
    """What one warp does at once: a request to memory, an exchange; or a barrier of the block.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    phase : int
        Barriers of the block that the warp has passed.
    warp : int
        Counted through the block; -1 of a barrier, at which all warps of the block wait.
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
        Sectors of global memory or wavefronts of shared memory, and as few as would do; see
        `minialex.study.profile.wavefronts`. 0 of a barrier or exchange.
    """

    kind: str
    phase: int
    warp: int
    file: str
    line: int
    array: int
    width: int
    events: np.ndarray[Any, np.dtype[np.int64]]
    offsets: Offsets
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


def warp_steps(recording: Recording, block: Dim3 | None = None) -> list[WarpStep]:
    """Return what the warps of one block did: phase by phase, in each warp after warp.

    Between two barriers the warps of a block run in any order; here it is that of their numbers.

    Parameters
    ----------
    recording : Recording
        With every thread of the block.
    block : tuple of three ints, optional
        Its index in the grid; by default that of the first event.
    """
    events = recording.events
    if not len(events):
        return []
    wanted = events["block"][0] if block is None else np.array(block)
    rows = np.flatnonzero((events["block"] == wanted).all(axis=1))
    walk = _BlockWalk(recording, rows)
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
    """The events of one block, and how its warps go through them."""

    def __init__(self, recording: Recording, rows: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.recording, self.events = recording, recording.events
        thread = self.events["thread"][rows].astype(np.int64)
        x, y, _ = recording.block
        self.threads = int(np.prod(recording.block))
        number = thread[:, 0] + x * (thread[:, 1] + y * thread[:, 2])
        # by phase and warp, then lane by lane, each in the order of what it did
        order = np.lexsort((rows, number, self.events["phase"][rows]))
        self.rows, self.number = rows[order], number[order]
        self.kind = self.events["kind"][self.rows]
        self.phase = self.events["phase"][self.rows]
        self.site = _sites(self.events[self.rows])
        self.order = _program(self.site, self.number, self.rows)
        ends = self.kind == i.END
        self.returned = dict(
            zip(self.number[ends].tolist(), self.phase[ends].tolist(), strict=True)
        )

    def phases(self) -> range:
        return range(int(self.phase.max(initial=-1)) + 1)

    def steps_of(self, phase: int) -> Iterator[WarpStep]:
        begin, end = np.searchsorted(self.phase, [phase, phase + 1])
        inside = np.arange(begin, end)
        does = inside[np.isin(self.kind[inside], (i.READ, i.WRITE, i.ATOMIC, i.WARP))]
        warps = self.number[does] // LANES
        for warp in np.unique(warps).tolist():
            yield from self._warp(phase, warp, does[warps == warp])
        waits = inside[self.kind[inside] == i.BARRIER]
        if len(waits):
            yield self._barrier(phase, waits)

    def _warp(
        self, phase: int, warp: int, does: np.ndarray[Any, np.dtype[np.int64]]
    ) -> Iterator[WarpStep]:
        lanes = self.number[does] % LANES
        todo = {lane: does[lanes == lane].tolist() for lane in np.unique(lanes).tolist()}
        sites = {lane: self.site[mine].tolist() for lane, mine in todo.items()}
        at = dict.fromkeys(todo, 0)
        for _, together in lockstep(sites, self.order):
            here = {lane: todo[lane][at[lane]] for lane in together}
            ahead = {lane for lane, n in at.items() if n < len(todo[lane])}
            yield self._step(phase, warp, here, ahead)
            for lane in together:
                at[lane] += 1

    def _step(self, phase: int, warp: int, here: dict[int, int], ahead: set[int]) -> WarpStep:
        events = np.full(LANES, -1, np.int64)
        events[list(here)] = self.rows[list(here.values())]
        one = self.events[events[next(iter(here))]]
        kind, array, width = KINDS[int(one["kind"])], int(one["array"]), int(one["bytes"])
        offsets = np.where(events < 0, -1, self.events["offset"][events]).astype(np.int64)
        cost = least = 0
        if array >= 0 and self.recording.arrays[array].shared:
            cost, least = wavefronts(offsets, width, kind)
        elif array >= 0:
            cost, least = sectors(offsets, width)
        states = "".join(
            "*" if lane in here else self._idle(phase, warp * LANES + lane, lane in ahead)
            for lane in range(LANES)
        )
        return WarpStep(
            kind, phase, warp, *self._where(one), array, width, events, offsets, states,
            len(here), cost, least,
        )  # fmt: skip

    def _idle(self, phase: int, thread: int, has_more: bool) -> str:
        if thread >= self.threads:
            return "."
        if has_more:
            return "d"
        return "r" if self.returned.get(thread, phase + 1) <= phase else "b"

    def _barrier(self, phase: int, waits: np.ndarray[Any, np.dtype[np.int64]]) -> WarpStep:
        nothing = np.full(LANES, -1, np.int64)
        where = self._where(self.events[self.rows[waits[0]]])
        return WarpStep("barrier", phase, -1, *where, -1, 0, nothing, nothing, "", len(waits), 0, 0)

    def _where(self, event: np.void) -> tuple[str, int]:
        file = int(event["file"])
        return (self.recording.files[file] if file >= 0 else ""), int(event["line"])


def _sites(events: Events) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a number for each event's instruction: what it does, at which address, to what.

    Returns get -1. An address is one instruction; where a function of the emulator made the access
    there is none, and the line stands for it.
    """
    columns = np.stack(
        [events[name].astype(np.int64) for name in ("kind", "array", "bytes", "file", "line")]
        + [events["pc"].astype(np.int64)],
        axis=1,
    )
    # the line of one address is one line, but of many addresses: it only tells apart where pc is 0
    columns[events["pc"] != 0, 3:5] = 0
    _, number = np.unique(columns, axis=0, return_inverse=True)
    return np.where(events["kind"] == i.END, -1, number.reshape(-1)).astype(np.int64)


def _program(
    site: np.ndarray[Any, np.dtype[np.int64]],
    number: np.ndarray[Any, np.dtype[np.int64]],
    rows: np.ndarray[Any, np.dtype[np.int64]],
) -> ProgramOrder:
    """Return the order of the instructions of a block, from how they followed each other."""
    # thread by thread, in the order of what each did
    order = np.lexsort((rows, number))
    order = order[site[order] >= 0]
    site, number = site[order], number[order]
    _, lengths = np.unique(number, return_counts=True)
    longest_first = np.argsort(-np.repeat(lengths, lengths), kind="stable")
    sites, first = np.unique(site[longest_first], return_index=True)
    same = number[1:] == number[:-1]
    edges = np.unique(np.stack([site[:-1][same], site[1:][same]], axis=1), axis=0)
    return program_order(sites[np.argsort(first)].tolist(), map(tuple, edges.tolist()))
