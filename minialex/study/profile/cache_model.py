"""How many bytes of a launch pass each level of memory, by a simple model of the caches.

- Register: what lanes load and store.
- L1: sectors of 32 bytes that requests ask for. Hits are counted by the emulator, block by block,
  with the part of L1 that a block has when all that fit, or all that there are, are resident.
  Writes go through.
- L2: sectors that L1 misses, writes and atomics.
- Memory: L2 is empty when a launch begins, and what it wrote is in memory in the end. Blocks that
  are resident at the same time read what they share once. If each of n blocks of a wave touches the
  share f of an array, and independently of the others, they touch 1 - (1 - f)^n of it. What an
  earlier wave has touched is still in L2 with the probability that anything of the
  launch is: L2's size over all that the launch touches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.cuda.known_gpus import KnownGPU

SECTOR = 32


@dataclass(frozen=True)
class Levels:
    """Bytes that pass each level.

    Attributes
    ----------
    register, shared, l1, l2, memory : float
    """

    register: float = 0
    shared: float = 0
    l1: float = 0
    l2: float = 0
    memory: float = 0

    def __add__(self, other: Levels) -> Levels:
        return Levels(
            self.register + other.register,
            self.shared + other.shared,
            self.l1 + other.l1,
            self.l2 + other.l2,
            self.memory + other.memory,
        )


def levels(counts: Counts, gpu: KnownGPU, resident_blocks: int) -> list[Levels]:
    """Return the bytes of each row of ``counts.memory``, in their order.

    Parameters
    ----------
    resident_blocks : int
        Blocks that a multiprocessor holds at a time, at least 1.
    """
    shares = _reaching_memory(counts, gpu, resident_blocks)
    return [_row(row, shares) for row in counts.memory]


def _row(row: MemoryCounts, shares: Mapping[tuple[str, str], float]) -> Levels:
    register = row.lanes * row.width
    if row.memory == "shared":
        return Levels(register, shared=register)
    l2 = _l2(row)
    memory = sum(l2 * shares.get((row.array, way), 0.0) for way in _ways(row))
    return Levels(register, l1=row.sectors * SECTOR, l2=l2, memory=memory)


def _l2(row: MemoryCounts) -> float:
    missed = row.sectors - row.l1_hits if row.access == "read" else row.sectors
    return missed * SECTOR


def _ways(row: MemoryCounts) -> tuple[str, ...]:
    """Return which ways a row's bytes go between L2 and memory."""
    return {"read": ("in",), "write": ("out",), "atomic": ("in", "out")}[row.access]


def _reaching_memory(
    counts: Counts, gpu: KnownGPU, resident_blocks: int
) -> dict[tuple[str, str], float]:
    """Return which share of the bytes that reach L2 goes on, for each array and way."""
    through_l2: defaultdict[tuple[str, str], float] = defaultdict(float)
    by_blocks: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in counts.memory:
        if row.memory == "global":
            for way in _ways(row):
                through_l2[row.array, way] += _l2(row)
                by_blocks[row.array, way] += row.first * SECTOR
    size = {array.name: array.size * array.bytes for array in counts.arrays if not array.shared}
    touched = {key: min(size.get(key[0], total), total) for key, total in by_blocks.items()}
    footprint = sum(
        max(touched.get((name, way), 0.0) for way in ("in", "out"))
        for name in {name for name, _ in touched}
    )
    lost = max(0.0, 1 - gpu.l2_bytes / footprint) if footprint else 0.0
    at_once = min(counts.blocks, resident_blocks * gpu.multiprocessors)
    shares = {}
    for key, once in touched.items():
        if not once or not through_l2[key]:
            continue
        part = min(1.0, by_blocks[key] / counts.blocks / once)
        each_wave = once * (1 - (1 - part) ** at_once)
        again = max(0.0, counts.blocks / at_once * each_wave - once)
        shares[key] = min(1.0, (once + again * lost) / through_l2[key])
    return shares
