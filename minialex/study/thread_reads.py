"""What one thread of a recorded block computed with, each number with where it comes from.

A number that a thread reads in shared memory was put there by some thread of its block, which had
read an element with the same bits and had not put it anywhere yet. Where there are several such
elements one cannot tell which it was, and then that is said. What a thread reads only to put it in
shared memory it does not compute with.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.recording import Recording

Elements = np.ndarray[Any, np.dtype[np.void]]

_ELEMENT = np.dtype(
    [("event", "i8"), ("array", "i8"), ("element", "i8"), ("thread", "i8"), ("bits", "u8")]
)


_Source = tuple[int, int, int]
"""A read: which event it was, and which element of which array."""

_Put = tuple[int, _Source | None, int]
"""A write to shared memory: the event, where the number is from, and among how many that is."""


@dataclass(frozen=True)
class ThreadRead:
    """One number that a thread read and did not merely put in shared memory.

    Attributes
    ----------
    array : int
        The number of the array, among the recording's, that it comes from; -1 where a thread
        computed it, or it is a zero that stands for an element outside.
    element : int
        Which element of that, counted through the array.
    bits : int
    width : int
        Bytes of the number.
    through_shared : bool
        Whether it was read in shared memory.
    candidates : int
        How many elements it may come from.
    """

    array: int
    element: int
    bits: int
    width: int
    through_shared: bool
    candidates: int

    @property
    def value(self) -> float:
        """The number, if it is one of floating point."""
        kind = {2: np.float16, 4: np.float32, 8: np.float64}[self.width]
        data = self.bits.to_bytes(8, "little")[: self.width]
        return float(np.frombuffer(data, kind)[0])


def reads_of(recording: Recording, thread: tuple[int, ...]) -> list[ThreadRead]:
    """Return what a thread read of arrays, in order.

    Parameters
    ----------
    recording : Recording
        With every thread of its block.
    thread : (int, int, int)
        The indices x, y, z.
    """
    block = _Block(recording)
    mine = block.reads[block.reads["thread"] == block.flat(thread)]
    return [block.source(read) for read in mine if read["event"] not in block.staged]


class _Block:
    """The accesses of a block, number by number."""

    def __init__(self, recording: Recording) -> None:
        self.recording, events = recording, recording.events
        self.shared = np.array([a.shared for a in recording.arrays], bool)
        known = events["array"] >= 0
        self.reads = self._elements(np.flatnonzero(known & (events["kind"] == i.READ)), "value")
        written = known & np.isin(events["kind"], (i.WRITE, i.ATOMIC))
        writes = self._elements(np.flatnonzero(written), "result")
        self.puts: dict[tuple[int, int], list[_Put]] = defaultdict(list)
        self.staged: set[int] = set()
        self._find_sources(writes[self.shared[writes["array"]]])

    def _find_sources(self, writes: Elements) -> None:
        """Match what was put in shared memory with what the same thread had read before."""
        unused: dict[tuple[int, int], list[_Source]] = defaultdict(list)
        used: dict[tuple[int, int], _Source] = {}
        reads = self.reads[~self.shared[self.reads["array"]]]
        both = np.concatenate([reads, writes])
        is_read = np.arange(len(both)) < len(reads)
        for n in np.lexsort((both["element"], both["event"])):
            event, array, element, thread, bits = both[n].item()
            key = thread, bits
            if is_read[n]:
                unused[key].append((event, array, element))
                continue
            there = unused[key]
            candidates = len({source[1:] for source in there})
            source = there.pop(0) if there else used.get(key)
            if source is not None:
                used[key] = source
                self.staged.add(source[0])
            self.puts[array, element].append((event, source, max(candidates, 1)))

    def flat(self, thread: tuple[int, ...]) -> int:
        x, y, _ = self.recording.block
        return thread[0] + x * (thread[1] + y * thread[2])

    def source(self, read: Any) -> ThreadRead:
        """Return where a number that was read comes from."""
        event, array, element, _, bits = read.item()
        width = self.recording.arrays[array].bytes
        if not self.shared[array]:
            return ThreadRead(array, element, bits, width, False, 1)
        before = (put for put in reversed(self.puts[array, element]) if put[0] < event)
        _, source, candidates = next(before, (0, None, 0))
        if source is None:
            return ThreadRead(-1, 0, bits, width, True, 0)
        return ThreadRead(source[1], source[2], bits, width, True, candidates)

    def _elements(self, chosen: np.ndarray[Any, Any], content: str) -> Elements:
        """Return the accesses `chosen` number by number: a vector has several."""
        events = self.recording.events
        parts = []
        for number, array in enumerate(self.recording.arrays):
            mine = chosen[events["array"][chosen] == number]
            width = array.bytes
            if width > 8 or not len(mine):
                continue
            for n in range(16 // width):
                some = mine[events["bytes"][mine] >= (n + 1) * width]
                part = np.zeros(len(some), _ELEMENT)
                part["event"], part["array"] = some, number
                part["element"] = events["offset"][some] // width + n
                x, y, _ = self.recording.block
                threads = events["thread"][some].astype(np.int64)
                part["thread"] = threads @ np.array([1, x, x * y])
                raw = np.ascontiguousarray(events[content][some]).view(np.uint8).reshape(-1, 16)
                data = np.zeros((len(some), 8), np.uint8)
                data[:, :width] = raw[:, n * width : (n + 1) * width]
                part["bits"] = data.view(np.uint64).reshape(-1)
                parts.append(part)
        found = np.concatenate([np.zeros(0, _ELEMENT), *parts])
        return found[np.lexsort((found["element"], found["event"]))]
