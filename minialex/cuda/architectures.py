"""What a block of threads may use on each GPU architecture that kernels are compiled for.

Sources: CUDA Programming Guide, "Compute Capabilities", the tables of technical specifications; of
tensor cores, Khattak and Mikaitis, "Accurate Models of NVIDIA Tensor Cores" (2025, arXiv
2512.07004), whose models of A100, A2, A30, Ada, H100, H200, B200 and RTX PRO 6000 these are.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
WARP_THREADS = 32
STATIC_SHARED = 48 * KIB
"""Bytes of shared memory that a block may declare; more must be dynamic, and be asked for."""


@dataclass(frozen=True)
class TensorCoreArithmetic:
    """How tensor cores add up, which is not IEEE 754: see ``emu/tensor_core.h``.

    Attributes
    ----------
    group_bytes : int
        Bytes of each operand whose products are added in one go: 16 are 4 products of TF32
        numbers, 8 of 16-bit ones.
    extra_bits : int
        How many bits beyond float's 23 are kept of each term.
    least_exponent : int
        Terms are aligned to no smaller exponent than this.
    """

    group_bytes: int
    extra_bits: int
    least_exponent: int


_AMPERE = TensorCoreArithmetic(group_bytes=16, extra_bits=1, least_exponent=-132)
_HOPPER = TensorCoreArithmetic(group_bytes=32, extra_bits=2, least_exponent=-133)


@dataclass(frozen=True)
class Architecture:
    """The limits of one architecture.

    Attributes
    ----------
    name : str
        As NVRTC's ``--gpu-architecture`` takes it: ``"sm_90"``.
    shared_per_block : int
        Bytes of shared memory that a block may have, static and dynamic together.
    threads_per_block, registers_per_thread, registers_per_block : int
        The same on all of them so far. Registers have 32 bits.
    l1_per_multiprocessor : int
        Bytes that the L1 cache and shared memory have together.
    threads_per_multiprocessor : int
        How many may be resident at once.
    tensor_cores : TensorCoreArithmetic, optional
        None where they do not know the instructions of ``kernels/mma.cuh``.
    """

    name: str
    shared_per_block: int
    l1_per_multiprocessor: int
    threads_per_multiprocessor: int
    tensor_cores: TensorCoreArithmetic | None = None
    threads_per_block: int = 1024
    registers_per_thread: int = 255
    registers_per_block: int = 64 * KIB

    @property
    def capability(self) -> int:
        """The compute capability as one number: 90."""
        return int(self.name.strip("sm_a"))


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("sm_70", 96 * KIB, 128 * KIB, 2048),
        Architecture("sm_75", 64 * KIB, 96 * KIB, 1024),
        Architecture("sm_80", 163 * KIB, 192 * KIB, 2048, _AMPERE),
        Architecture("sm_86", 99 * KIB, 128 * KIB, 1536, _AMPERE),
        Architecture("sm_89", 99 * KIB, 128 * KIB, 1536, _AMPERE),
        Architecture("sm_90", 227 * KIB, 256 * KIB, 2048, _HOPPER),
        Architecture("sm_90a", 227 * KIB, 256 * KIB, 2048, _HOPPER),
        Architecture("sm_100", 227 * KIB, 256 * KIB, 2048, _HOPPER),
        Architecture("sm_120", 99 * KIB, 128 * KIB, 1536, _HOPPER),
    )
}
"""By name, the oldest first."""
