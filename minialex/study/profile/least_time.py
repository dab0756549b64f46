"""The least time that a launch can take: its arrays moved once, or its products' operations.

A roofline's lower bound (Williams, Waterman and Patterson 2009), whatever way the kernel goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.known_gpus import KnownGPU
from minialex.cuda.plan import LaunchPlan

IN_PLACE = "rmsprop", "sgd", "adam"
"""Kernels that also read what they write, but for `ONLY_WRITTEN`."""
ONLY_WRITTEN = "shadow"
"""The parameter of theirs that they do not read."""
NO_PRODUCT = (
    "conv2d_im2col",
    "conv2d_col2im",
    "conv2d_channels_last",
    "conv2d_channels_last_bf16",
    "linear_bf16_rows",
)
"""Kernels with a convolution's or a product's sizes that do no multiplications."""
TENSOR_CORE_PRODUCTS = {"tf32x3": 3, "tf32": 1, "bf16": 0.5}
"""By the end of a kernel's name, how many products of TF32 numbers take as long as one of its."""
CONVOLUTION = {"N", "C", "O", "KH", "KW", "OH", "OW", "groups"}
PRODUCT = {"R", "O", "I"}


@dataclass(frozen=True)
class LeastTime:
    """The least time of a launch.

    Attributes
    ----------
    bytes : int
        Of its arrays, each moved once.
    flops : int
        Operations of the convolution or product that it computes, 0 for anything else.
    seconds : float
    bound : str
        ``"memory"``, ``"FMA"`` or ``"tensor core"``.
    """

    bytes: int
    flops: int
    seconds: float
    bound: str


def least_time(plan: LaunchPlan, arrays: Sequence[NamedArray], gpu: KnownGPU) -> LeastTime:
    """Return the least time of a launch on `gpu`, in the arithmetic of its kernel."""
    constant = {p.name: p.const for p in plan.signature.parameters}
    moved = sum(
        array.size
        * array.bytes
        * (1 if constant[array.name] or not in_place(plan, array.name) else 2)
        for array in arrays
        if not array.shared and not array.is_variable
    )
    flops = 0 if plan.signature.name in NO_PRODUCT else operations(plan.sizes)
    unit, rate = _arithmetic(plan.signature.name, gpu)
    moving, computing = moved / gpu.memory_bandwidth, flops / rate
    bound = unit if computing > moving else "memory"
    return LeastTime(moved, flops, max(moving, computing), bound)


def _arithmetic(kernel: str, gpu: KnownGPU) -> tuple[str, float]:
    """Return what multiplies, and how many operations of the kernel's it does per second."""
    products = TENSOR_CORE_PRODUCTS.get(kernel.rpartition("_")[2])
    if products is None or not gpu.tensor_cores.tf32:
        return "FMA", gpu.flops
    return "tensor core", gpu.tensor_flops / products


def in_place(plan: LaunchPlan, parameter: str) -> bool:
    """Return whether a kernel also reads a parameter, which it writes."""
    return plan.signature.name in IN_PLACE and parameter != ONLY_WRITTEN


def operations(sizes: dict[str, int]) -> int:
    """Return the operations of a product, told by the names of the sizes; 0 for anything else."""
    if sizes.keys() >= CONVOLUTION:
        taps = sizes["C"] // sizes["groups"] * sizes["KH"] * sizes["KW"]
        return 2 * sizes["N"] * sizes["O"] * sizes["OH"] * sizes["OW"] * taps
    if sizes.keys() >= PRODUCT:
        return 2 * sizes["R"] * sizes["O"] * sizes["I"]
    return 0
