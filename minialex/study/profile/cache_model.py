"""How many bytes of a launch pass each level of memory, by a simple model of the caches.

- Register: what lanes load and store.
- L1: sectors of 32 bytes that requests ask for. Hits are counted by the emulator, block by block,
  with the part of L1 that a block has when all that fit are resident. Writes go through.
- L2: sectors that L1 misses, writes and atomics.
- Memory: blocks that are resident at the same time read what they share once. How much of an array
  a wave of n blocks touches, each of them the share f of it and independently of the others, is
  1 - (1 - f)^n of the array. What an earlier wave has touched is still in L2 with the probability
  that anything of the launch is: L2's size over all that the launch touches.
"""

from __future__ import annotations

from collections import defaultdict
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
    share = _reaching_memory(counts, gpu, resident_blocks)
    return [_row(row, share.get(row.array, 0)) for row in counts.memory]


def _row(row: MemoryCounts, share: float) -> Levels:
    register = row.lanes * row.width
    if row.memory == "shared":
        return Levels(register, shared=register)
    l2 = _l2(row)
    return Levels(register, l1=row.sectors * SECTOR, l2=l2, memory=l2 * share)


def _l2(row: MemoryCounts) -> float:
    missed = row.sectors - row.l1_hits if row.access == "read" else row.sectors
    return missed * SECTOR


def _reaching_memory(counts: Counts, gpu: KnownGPU, resident_blocks: int) -> dict[str, float]:
    """Return which share of the bytes that reach L2 goes on to memory, for each array."""
    through_l2: defaultdict[str, float] = defaultdict(float)
    by_blocks: defaultdict[str, float] = defaultdict(float)
    for row in counts.memory:
        if row.memory == "global":
            through_l2[row.array] += _l2(row)
            by_blocks[row.array] += row.first * SECTOR
    size = {array.name: array.size * array.bytes for array in counts.arrays if not array.shared}
    touched = {name: min(size.get(name, total), total) for name, total in by_blocks.items()}
    footprint = sum(touched.values())
    lost = max(0.0, 1 - gpu.l2_bytes / footprint) if footprint else 0.0
    at_once = min(counts.blocks, resident_blocks * gpu.multiprocessors)
    waves = counts.blocks / at_once
    shares = {}
    for name, once in touched.items():
        if not through_l2[name]:
            continue
        part = min(1.0, by_blocks[name] / counts.blocks / once) if once else 0.0
        each_wave = once * (1 - (1 - part) ** at_once)
        again = max(0.0, waves * each_wave - once)
        shares[name] = min(1.0, (once + again * lost) / through_l2[name])
    return shares
