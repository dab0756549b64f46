"""Predicts how long a launch takes: the largest of the times that each part of the GPU needs.

docs/profile-model.md explains the formulas, says where the constants are from, and what is left
out. Nothing here is measured: it is a model of what was counted in the emulator.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from minialex.cuda.architectures import WARP_THREADS
from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import Counts, MemoryCounts
from minialex.cuda.known_gpus import KnownGPU
from minialex.study.profile.cache_model import Levels, levels
from minialex.study.profile.executed import (
    CodeRegion,
    Executed,
    Key,
    executed,
    key_of,
    main_accesses,
    warps_of,
)
from minialex.study.profile.resources import Resources

LAUNCH_SECONDS = 2e-6
"""From one kernel's end to the next one's start on one stream: RRZE-HPC/gpu-benches,
gpu-small-kernels, 2.1 us on an A40 and 2.5 us on an H200 with 64 KiB of data."""
TAGS_PER_CYCLE = 4
"""Lines of 128 bytes that L1 looks up per cycle (NVIDIA's developer forum, threads 49571, 312884;
measured as t_output_wavefronts by gpu-benches, gpu-strides)."""
_ROUNDED_UP = (TAGS_PER_CYCLE - 1) / (2 * TAGS_PER_CYCLE)
"""By how much a quarter of a number of lines grows, on average, when it is rounded up."""
BARRIER_CYCLES = 30
"""Of a barrier that all have reached; of the size of shared memory's latency."""
_PIPE = "L1 and shared memory"
_LOADS = ("LDG", "ATOM", "ATOMG")
_SHARED_LOADS = ("LDS", "LDSM", "ATOMS", "SHFL")
_LANES = {"FMA": "fp32_lanes", "ALU": "int_lanes", "XU": "special_lanes", "FP64": "fp64_lanes"}
_REGISTERS = {16: 4, 8: 2}
"""Registers that a lane's bytes fill: a pass through the banks gives one to each lane."""
_BROADCAST = 1.5
"""Passes per request of 4 bytes below which lanes are taken to share addresses in pairs."""


@dataclass(frozen=True)
class PredictedTime:
    """How long a launch would take: a prediction, not a measurement.

    Attributes
    ----------
    gpu : KnownGPU
    bounds : dict of str to float
        The seconds that each part of the GPU needs if nothing else delays it: ``"issue"``,
        ``"FMA"``, ``"ALU"``, ``"XU"``, ``"FP64"``, ``"tensor core"``, ``"L1 and shared memory"``,
        ``"L2"``, ``"memory"``, ``"latency"``. Those of instructions are there where the machine
        code is.
    l1_seconds, shared_seconds : float
        What L1 and shared memory, which are one memory with one set of banks, need each.
    levels : Levels
        Bytes that pass each level of memory.
    rows : tuple of Levels
        The same for each row of the counts' memory.
    executed : Executed, optional
    waves : float
        Blocks over the blocks that all multiprocessors hold at a time.
    missing : str
        Why bounds are missing; empty if none are.
    """

    gpu: KnownGPU
    bounds: Mapping[str, float]
    l1_seconds: float
    shared_seconds: float
    levels: Levels
    rows: tuple[Levels, ...]
    executed: Executed | None
    waves: float
    missing: str

    @property
    def binding(self) -> str:
        """The bound that is largest, ``"L1"`` or ``"shared memory"`` by which needs more of it."""
        name = max(self.bounds, key=lambda bound: self.bounds[bound])
        if self.bounds[name] < LAUNCH_SECONDS:
            return "launch"
        if name == _PIPE:
            return "shared memory" if self.shared_seconds > self.l1_seconds else "L1"
        return name

    @property
    def seconds(self) -> float:
        """The predicted time, with the launch."""
        return LAUNCH_SECONDS + max(self.bounds.values())


def predict(counts: Counts, resources: Resources) -> PredictedTime:
    """Return how long a launch that was counted would take on ``resources.gpu``."""
    gpu = resources.gpu
    known = resources.occupancy
    resident = max(1, known.blocks if known else gpu.multiprocessor.blocks)
    rows = levels(counts, gpu, resident)
    total = sum(rows, Levels())
    runs = executed(resources.code, counts) if resources.code.instructions else None
    # the multiprocessor that has most blocks to do, or the block that has most, is last to finish
    most_blocks = math.ceil(counts.blocks / gpu.multiprocessors)
    busiest = max(most_blocks, counts.busiest_block) / counts.blocks
    cycles = _passes(counts, main_accesses(resources.code), gpu)
    bounds = {
        _PIPE: sum(cycles.values()) * busiest / gpu.clock,
        "L2": total.l2 / gpu.l2_bandwidth,
        "memory": total.memory / gpu.memory_bandwidth,
        "latency": _latency(counts, runs, gpu, resident, rows),
    }
    if runs:
        bounds |= _instruction_bounds(counts, runs, gpu, min(resident, most_blocks))
    return PredictedTime(
        gpu,
        bounds,
        cycles["L1"] * busiest / gpu.clock,
        cycles["shared"] * busiest / gpu.clock,
        total,
        tuple(rows),
        runs,
        counts.blocks / (resident * gpu.multiprocessors),
        resources.missing,
    )


def _of_busiest_block(counts: Counts, each: float, once: float) -> float:
    """Return what the busiest block takes where a mean one takes `each`, `once` of it in no loop.

    What is in no loop runs once, however much a block has to do.
    """
    return once + max(each - once, 0.0) * counts.busiest_block


def _instruction_bounds(
    counts: Counts, runs: Executed, gpu: KnownGPU, together: int
) -> dict[str, float]:
    """Return the seconds that instructions take on the busiest multiprocessor.

    It has `together` blocks at a time; or it is left with the busiest block alone.
    """
    most_blocks = math.ceil(counts.blocks / gpu.multiprocessors)
    warps = warps_of(counts) // counts.blocks
    alone = _instruction_cycles(runs, gpu, warps)
    once = _instruction_cycles(runs.once, gpu, warps)
    bounds = {}
    for name, cycles in _instruction_cycles(runs, gpu, warps * together).items():
        longest = _of_busiest_block(counts, alone[name], once.get(name, 0.0))
        bounds[name] = max(cycles * most_blocks, longest) / counts.blocks / gpu.clock
    return bounds


def _instruction_cycles(runs: Executed, gpu: KnownGPU, warps: int) -> dict[str, float]:
    """Return the cycles that one multiprocessor would need for all of a launch's instructions.

    It has `warps` at a time. Each stays with one scheduler, and with that scheduler's lanes.
    """
    has = gpu.multiprocessor
    used = min(1.0, warps / has.schedulers)
    pipelines = runs.pipelines
    cycles = {"issue": runs.instructions / has.schedulers / used}
    for name, kind in _LANES.items():
        if pipelines[name]:
            lanes = getattr(has, kind)
            # two FP64 lanes are those of all schedulers
            usable = lanes * used if lanes >= has.schedulers else lanes
            cycles[name] = pipelines[name] * WARP_THREADS / usable
    rates = {False: gpu.tensor_cores.half, True: gpu.tensor_cores.tf32}
    products = {tf32: runs.tensor_products(tf32) for tf32 in rates}
    if any(products.values()):
        cycles["tensor core"] = sum(n / rates[tf32] for tf32, n in products.items() if n) / used
    return cycles


def _passes(
    counts: Counts, code: Mapping[Key, list[Instruction]], gpu: KnownGPU
) -> dict[str, float]:
    """Return the cycles of L1's banks that a launch's requests take, for L1 and shared memory."""
    lines: defaultdict[Key, list[MemoryCounts]] = defaultdict(list)
    for row in counts.memory:
        lines[key_of(row)].append(row)
    found = {"L1": 0.0, "shared": 0.0}
    for key, rows in lines.items():
        memory = "shared" if key[-1] == "shared" else "L1"
        found[memory] += _line_passes(rows, code.get(key, []), gpu)
    return found


def _line_passes(rows: list[MemoryCounts], code: list[Instruction], gpu: KnownGPU) -> float:
    """Return the cycles of one line's requests to L1 or to shared memory.

    Counted are accesses as they are written. Where the compiler has made wider ones of them, those
    of the machine code are taken, with the bank conflicts of what was counted; of several arrays
    on a line, they are of those that a thread reads or writes in succession.
    """
    widths = sorted(one.bytes for one in code)
    if not code or set(widths) == {row.width for row in rows}:
        return sum(_row_cycles(row, gpu) for row in rows)
    each = sum(row.requests * row.width for row in rows) / sum(widths)
    # those whose accesses do not follow each other in a thread are not the ones that were widened
    narrow = [row for row in rows if not row.successive]
    if len(narrow) == len(rows):
        narrow = []
    left = sum(row.requests * row.width for row in narrow) / each
    while widths and left > 0:
        left -= widths.pop(0)
    wide = [row for row in rows if row not in narrow]
    requests = sum(row.requests for row in wide)
    conflicts = sum(row.wavefronts for row in wide) / requests
    lines = sum(row.lines for row in wide) / requests
    pairs = rows[0].memory == "shared" and rows[0].access == "read" and conflicts < _BROADCAST
    cycles = sum(_row_cycles(row, gpu) for row in narrow)
    return cycles + each * sum(_widened(width, conflicts, lines, pairs, gpu) for width in widths)


def _row_cycles(row: MemoryCounts, gpu: KnownGPU) -> float:
    return _cycles(row.requests, row.wavefronts, row.least_wavefronts, row.lines, gpu)


def _widened(width: int, passes: float, lines: float, pairs: bool, gpu: KnownGPU) -> float:
    """Return the cycles of a request of `width` bytes where narrow ones took `passes` each.

    Lanes that agree in pairs are served two registers at a time.
    """
    least = _REGISTERS.get(width, 1)
    least = max(1, least // 2) if pairs else least
    return _cycles(1, max(passes, least), least, lines, gpu)


def _cycles(requests: float, wavefronts: float, least: float, lines: float, gpu: KnownGPU) -> float:
    """Return the cycles of requests: for the banks, for the tags, or to give registers to lanes."""
    returned = least * WARP_THREADS / gpu.multiprocessor.load_lanes
    tags = lines / TAGS_PER_CYCLE + _ROUNDED_UP * requests
    return max(wavefronts, returned, tags, requests)


def _latency(
    counts: Counts, runs: Executed | None, gpu: KnownGPU, resident: int, rows: list[Levels]
) -> float:
    """Return the seconds if only the dependences within a warp bound (Little's law).

    Each pass through a loop waits once for its loads, which are in flight together, then issues an
    instruction per cycle; as many blocks as are resident do so at a time. Asynchronous copies are
    on their way during that, and during as many passes more as the wait for them leaves pending.
    """
    load = _load_cycles(counts, gpu, rows)
    waves = math.ceil(counts.blocks / (resident * gpu.multiprocessors))
    if runs is None:
        return waves * load / gpu.clock
    chain, once = (_chain(part, counts, load, gpu) for part in (runs, runs.once))
    return max(waves * chain, _of_busiest_block(counts, chain, once)) / gpu.clock


def _chain(runs: Executed, counts: Counts, load: float, gpu: KnownGPU) -> float:
    """Return the cycles of the mean warp's way through its code, if it waits for no other."""
    return sum(
        region.executions / warps_of(counts) * _region_cycles(region, load, gpu)
        for region in runs.regions
    )


def _region_cycles(region: CodeRegion, load: float, gpu: KnownGPU) -> float:
    cycles = float(len(region.instructions))
    if region.count(*_LOADS):
        cycles += load
    if region.count(*_SHARED_LOADS):
        cycles += gpu.latency.shared
    cycles += BARRIER_CYCLES * region.count("BAR")
    if region.count("LDGSTS"):
        # a group of copies has as many more passes to arrive as groups may be on their way
        passes = 1 + max(one.pending for one in region.instructions)
        cycles = max(cycles, load / passes)
    return cycles


def _load_cycles(counts: Counts, gpu: KnownGPU, rows: list[Levels]) -> float:
    """Return the mean latency of a global load, by how many of its bytes each level gives."""
    reads = [
        level
        for row, level in zip(counts.memory, rows, strict=True)
        if row.memory == "global" and row.access != "write"
    ]
    asked = sum(level.l1 for level in reads)
    if not asked:
        return 0.0
    missed, far = sum(level.l2 for level in reads), sum(level.memory for level in reads)
    wait = gpu.latency
    return ((asked - missed) * wait.l1 + (missed - far) * wait.l2 + far * wait.memory) / asked
