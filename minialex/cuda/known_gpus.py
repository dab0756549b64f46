"""The GPUs that a kernel can be profiled for without having one, and how much of them it occupies.

Of each, what a model of time needs. Where the numbers are from:

- Limits of a multiprocessor: CUDA Programming Guide, "Compute Capabilities", the tables of
  technical specifications; allocation units: ``cuda_occupancy.h`` of the CUDA Toolkit.
- Multiprocessors, boost clock, L2's size, datasheet bandwidth, lanes, load/store units, tensor
  cores: NVIDIA's whitepapers (Turing; A100; GA102, whose appendix has the RTX A6000; Ada; H100) and
  datasheets (T4, RTX 3060, RTX 4090, H200).
- Bandwidth of memory and L2, latencies: measured by others with RRZE-HPC/gpu-benches (revision
  1038c5d), where not named otherwise: ``gpu-stream`` (a copy with a factor), ``gpu-l2-cache``,
  ``gpu-cache``, ``gpu-latency`` (pointer chasing by one warp). A card that is not there has the
  figures of the one named beside it, scaled as said. Shared memory's latency is that of Luo et
  al., below.
- Dense multiply-adds of a tensor core: the datasheets' rates; on Hopper, those that ``mma.sync``
  reaches, 62 % of them (Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU
  Architecture via Microbenchmarking", 2024, arXiv 2402.13499): no kernel here uses ``wgmma``.
"""

from __future__ import annotations

from dataclasses import dataclass

from minialex.cuda.architectures import ARCHITECTURES, KIB, WARP_THREADS, Architecture
from minialex.errors import MinialexError

MIB = 1024 * KIB


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor has beyond its `Architecture`, and what of it a cycle can use.

    Attributes
    ----------
    blocks : int
        How many can be resident.
    shared_bytes : tuple of int
        What shared memory may have of the memory that it divides with L1, in rising order
        ("carve-out"); L1 has the rest.
    shared_reserved, shared_unit : int
        Bytes that the system takes per block, and the unit in which blocks are given theirs.
    fp32_lanes : int
        FP32 multiply-adds per cycle; one warp's instruction is 32 of them.
    load_lanes : int
        Load/store units: lanes whose 4 bytes come back per cycle. With 16 of them, L1 returns 64
        bytes per cycle instead of 128 (measured on an A40 and an L40).
    int_lanes, special_lanes : int
        Integer operations, and results of MUFU (reciprocal, exponential ...), per cycle.
    fp64_lanes : int
        FP64 multiply-adds per cycle.
    register_unit : int
        The unit in which a warp is given its registers.
    schedulers : int
        Each issues an instruction of one warp per cycle.
    """

    blocks: int
    shared_bytes: tuple[int, ...]
    shared_reserved: int
    shared_unit: int
    fp32_lanes: int
    load_lanes: int
    fp64_lanes: int
    int_lanes: int = 64
    special_lanes: int = 16
    register_unit: int = 256
    schedulers: int = 4


@dataclass(frozen=True)
class TensorCoreRate:
    """Dense multiply-adds per cycle and multiprocessor that sum up in float32.

    Attributes
    ----------
    half : int
        Of half and bfloat16 numbers.
    tf32 : int
        Zero where they do not know them.
    """

    half: int
    tf32: int


@dataclass(frozen=True)
class Latency:
    """Cycles from a load to its value, for a warp that is alone."""

    shared: int
    l1: int
    l2: int
    memory: int


@dataclass(frozen=True)
class KnownGPU:
    """One GPU.

    Attributes
    ----------
    name : str
        As users ask for it: ``"RTX 4090"``.
    board : str
        Which of those that are sold under the name.
    architecture : str
        One of `ARCHITECTURES`.
    multiprocessors : int
    clock : float
        Hertz: the boost clock.
    memory_bandwidth : float
        Bytes per second that a copy reaches.
    datasheet_bandwidth : float
        Bytes per second.
    l2_bytes : int
    l2_bandwidth : float
        Bytes per second that reading reaches.
    tensor_cores : TensorCoreRate
    latency : Latency
    """

    name: str
    board: str
    architecture: str
    multiprocessors: int
    clock: float
    memory_bandwidth: float
    datasheet_bandwidth: float
    l2_bytes: int
    l2_bandwidth: float
    tensor_cores: TensorCoreRate
    latency: Latency

    @property
    def multiprocessor(self) -> Multiprocessor:
        """What each of its multiprocessors has."""
        return MULTIPROCESSORS[self.architecture]

    @property
    def limits(self) -> Architecture:
        """What a block may use."""
        return ARCHITECTURES[self.architecture]

    @property
    def warps(self) -> int:
        """How many can be resident on one multiprocessor."""
        return self.limits.threads_per_multiprocessor // WARP_THREADS

    @property
    def flops(self) -> float:
        """FP32 operations per second at the boost clock; a multiply-add is two."""
        return 2 * self.multiprocessor.fp32_lanes * self.multiprocessors * self.clock

    @property
    def tensor_flops(self) -> float:
        """Operations of tensor cores on TF32 numbers per second, 0 where they know none."""
        return 2 * self.tensor_cores.tf32 * self.multiprocessors * self.clock

    def l1_left(self, shared: int) -> int:
        """Return the bytes of L1 where a multiprocessor's blocks together take `shared` bytes."""
        sizes = self.multiprocessor.shared_bytes
        taken = min((size for size in sizes if size >= shared), default=sizes[-1])
        return self.limits.l1_per_multiprocessor - taken


@dataclass(frozen=True)
class Occupancy:
    """How many blocks of a kernel one multiprocessor holds at a time.

    Attributes
    ----------
    blocks, warps : int
        Resident on one multiprocessor.
    share : float
        `warps` over the most that it holds, between 0 and 1.
    limit : str
        What another block lacks: ``"registers"``, ``"shared memory"``, ``"warps"`` or ``"blocks"``;
        the first of these where several do.
    """

    blocks: int
    warps: int
    share: float
    limit: str


def _sizes(*kibibytes: int) -> tuple[int, ...]:
    return tuple(size * KIB for size in kibibytes)


_AMPERE_SIZES = (0, 8, 16, 32, 64, 100)
_A100_SIZES = (*_AMPERE_SIZES, 132, 164)
MULTIPROCESSORS = {
    "sm_75": Multiprocessor(16, _sizes(32, 64), 0, 256, 64, load_lanes=16, fp64_lanes=2),
    "sm_80": Multiprocessor(32, _sizes(*_A100_SIZES), KIB, 128, 64, load_lanes=32, fp64_lanes=32),
    "sm_86": Multiprocessor(16, _sizes(*_AMPERE_SIZES), KIB, 128, 128, load_lanes=16, fp64_lanes=2),
    "sm_89": Multiprocessor(24, _sizes(*_AMPERE_SIZES), KIB, 128, 128, load_lanes=16, fp64_lanes=2),
    "sm_90": Multiprocessor(
        32, _sizes(*_A100_SIZES, 196, 228), KIB, 128, 128, load_lanes=32, fp64_lanes=64
    ),
}
"""By architecture."""

KNOWN_GPUS = {
    gpu.name: gpu
    for gpu in (
        # Jia et al., "Dissecting the NVidia Turing T4 GPU via Microbenchmarking" (2019, arXiv
        # 1903.07486): 220 GB/s of 320, L2 at 1270 GB/s. Latencies: an RTX 2070's, of the same
        # generation (sjfeng1999/gpu-arch-microbenchmark); of memory, a V100's.
        KnownGPU(
            *("T4", "T4 16 GB, TU104, 70 W", "sm_75", 40, 1.59e9, 220e9, 320e9, 4 * MIB, 1.27e12),
            TensorCoreRate(512, 0),
            Latency(23, 32, 236, 434),
        ),
        # memory and L2 as an A40's, by datasheet bandwidth and by L2's size (half its slices)
        KnownGPU(
            *("RTX 3060", "GeForce RTX 3060 12 GB, GA106", "sm_86", 28, 1.777e9),
            *(338e9, 360e9, 3 * MIB, 1.22e12),
            TensorCoreRate(256, 128),
            Latency(29, 33, 250, 557),
        ),
        # L2 and memory as an A40's, the same chip with slower memory: 2.45 TB/s; 653 of 696 GB/s
        KnownGPU(
            *("RTX A6000", "RTX A6000 48 GB, GA102, 300 W", "sm_86", 84, 1.8e9),
            *(721e9, 768e9, 6 * MIB, 2.45e12),
            TensorCoreRate(512, 256),
            Latency(29, 33, 250, 557),
        ),
        # memory: clpeak's issue 106; L2 and latencies as an L40's, 14.7 bytes per cycle and
        # multiprocessor
        KnownGPU(
            *("RTX 4090", "GeForce RTX 4090 24 GB, AD102", "sm_89", 128, 2.52e9),
            *(921e9, 1008e9, 72 * MIB, 4.7e12),
            TensorCoreRate(256, 128),
            Latency(29, 34, 274, 625),
        ),
        KnownGPU(
            *("A100", "A100 SXM4 80 GB, 108 multiprocessors", "sm_80", 108, 1.41e9),
            *(1.737e12, 2.039e12, 40 * MIB, 5.4e12),
            TensorCoreRate(1024, 512),
            Latency(29, 33, 206, 552),
        ),
        # memory: a device copy; L2: 35 bytes per cycle and multiprocessor of an H100 PCIe;
        # latencies: a GH200's
        KnownGPU(
            *("H100", "H100 SXM5 80 GB, 132 multiprocessors", "sm_90", 132, 1.98e9),
            *(3.0e12, 3.35e12, 50 * MIB, 9.1e12),
            TensorCoreRate(1270, 635),
            Latency(29, 32, 281, 689),
        ),
        # memory: a device copy; L2: as measured on one
        KnownGPU(
            *("H200", "H200 SXM 141 GB, 132 multiprocessors", "sm_90", 132, 1.98e9),
            *(4.3e12, 4.8e12, 60 * MIB, 9.8e12),
            TensorCoreRate(1270, 635),
            Latency(29, 32, 281, 689),
        ),
    )
}
"""By name. Which H100 and A100 are meant stands in `KnownGPU.board`."""


def known_gpu(name: str) -> KnownGPU:
    """Return the GPU of that name; capitals, blanks and dashes do not matter.

    Raises
    ------
    MinialexError
        If it is not known.
    """
    plain = {_plain(known): gpu for known, gpu in KNOWN_GPUS.items()}
    short = {key.removeprefix("rtx"): gpu for key, gpu in plain.items()}
    found = (plain | short).get(_plain(name))
    if found is None:
        raise MinialexError(f"unknown GPU {name!r}; known: {', '.join(KNOWN_GPUS)}")
    return found


def occupancy(gpu: KnownGPU, threads: int, registers: int, shared: int) -> Occupancy:
    """Return how many blocks of a kernel are resident on a multiprocessor of `gpu`.

    It is the arithmetic of ``cudaOccupancyMaxActiveBlocksPerMultiprocessor``, with the largest
    carve-out of shared memory. A kernel that fits not even once has none: what a block may have at
    most is checked when it is launched, not here.

    Parameters
    ----------
    threads : int
        Of a block, at least 1.
    registers : int
        Per thread.
    shared : int
        Bytes per block, static and dynamic together.
    """
    has = gpu.multiprocessor
    warps = -(-threads // WARP_THREADS)
    per_warp = _rounded_up(registers * WARP_THREADS, has.register_unit)
    taken = _rounded_up(shared + has.shared_reserved, has.shared_unit)
    # each scheduler has a quarter of the registers for its own warps
    registers_each = gpu.limits.registers_per_block // has.schedulers
    room = {
        "registers": has.schedulers * (registers_each // per_warp) // warps
        if registers
        else has.blocks,
        "shared memory": max(has.shared_bytes) // taken if taken else has.blocks,
        "warps": gpu.warps // warps,
        "blocks": has.blocks,
    }
    limit = min(room, key=lambda name: room[name])
    blocks = room[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / gpu.warps, limit)


def _rounded_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
