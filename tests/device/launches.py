"""The launches of a training step: a lower bound, a model and a measurement of the time of each.

A floor is the roofline's lower bound: the operations at the peak rate of the units that do them, or
the bytes at the rate of a large copy, whichever takes longer. A model is the time that this kernel
should take, from its instructions and the waves in which its blocks run. Neither is a measurement.
Where the two are far apart, the kernel can be improved; where the time is far from the model, the
model or the launch is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from minialex.arrays import Device
from minialex.bench.launch_timing import timed_launches
from minialex.cuda.plan import LaunchPlan
from minialex.study.profile.least_time import NO_PRODUCT, in_place, operations

Row = dict[str, Any]

# of sm_90 float kernels, counted in their SASS: instructions that a warp issues in a step of TILE_K
# terms, by ROWS
TILE_K, TILE_OUTPUTS_PER_ROW = 8, 8 * 128
ISSUE_SLOTS = {
    "implicit_gemm": {16: 721, 8: 750, 4: 840},
    "register_blocked": {16: 721, 8: 750, 4: 840},
    # of half a stage, or of bfloat16 of a quarter, on average over the products of a convolution
    "multistage_tf32x3": {16: 470, 8: 503, 4: 320},
    "multistage_tf32": {16: 240, 8: 268, 4: 190},
    "bf16": {16: 113, 8: 129, 4: 94},
    "tf32x3": {16: 420, 8: 460, 4: 510},
    "tf32": {16: 370, 8: 410, 4: 450},
}
# products of TF32 numbers that take as long as one of these
PRODUCTS = {"multistage_tf32x3": 3, "multistage_tf32": 1, "tf32x3": 3, "tf32": 1, "bf16": 0.5}
MULTISTAGE = "multistage_tf32x3", "multistage_tf32", "bf16"
# products of TF32 numbers that mma.sync brings per clock and scheduler: 62 % of the most
TENSOR_PRODUCTS = 159
RESIDENT_BLOCKS = {16: 2, 8: 3, 4: 6}
MULTISTAGE_RESIDENT_BLOCKS = {16: 2, 8: 4, 4: 4}
SCHEDULERS = 4
# the share of its issue slots that a multiprocessor uses, and the clocks of a step that waits for
# memory; where panels are copied stages ahead, four steps have that time
ISSUE_EFFICIENCY, MEMORY_BOUND_STEP_CLOCKS, MULTISTAGE_STEPS_AHEAD = 0.8, 1000, 4
# the prologue and epilogue of a block, in steps, and the gap between dependent launches, in seconds
PROLOGUE_STEPS, LAUNCH_GAP_SECONDS = 4, 2e-6
# fused multiply-adds per multiprocessor and clock: float32, and dense TF32
FFMA_PER_CLOCK, TF32_PER_CLOCK = 128, {80: 512, 90: 1024}


@dataclass(frozen=True)
class Gpu:
    """The GPU that floors and models are computed for; by default an H100, by its datasheet.

    Attributes
    ----------
    clock : float
        Of the multiprocessors, in Hz.
    copy : float
        Bytes a second, read and written, in a large copy.
    architecture : int
        90 for sm_90.
    """

    name: str = "H100 by its datasheet"
    multiprocessors: int = 132
    clock: float = 1.755e9
    copy: float = 3.0e12
    architecture: int = 90


def describe(plan: LaunchPlan, values: tuple[Any, ...]) -> Row:
    """Return a launch as a record has it: kernel, sizes, fewest bytes, operations."""
    signature, sizes = plan.signature, plan.sizes
    moved = 0
    for i in plan.arrays:
        parameter = signature.parameters[i]
        twice = in_place(plan, parameter.name) and not parameter.const
        moved += values[i].nbytes * (2 if twice else 1)
    return {
        "kernel": signature.name,
        "file": signature.file,
        "type": plan.binding.get("T", ""),
        "rows": int(plan.binding.get("ROWS", 0)),
        "what": _what(sizes),
        "grid": list(plan.grid),
        "block": list(plan.block),
        "depth": sizes.get("depth", 0),
        "bytes": moved,
        "flops": 0 if signature.name in NO_PRODUCT else operations(sizes),
    }


def _what(sizes: dict[str, int]) -> str:
    if sizes.keys() >= {"C", "H", "O", "KH"}:
        return "{C}x{H}x{W} to {O}, {KH}x{KW}".format(**sizes)
    if sizes.keys() >= {"R", "O", "I"}:
        return "{I} to {O}".format(**sizes)
    if sizes.keys() >= {"planes", "H", "W"}:
        return "{planes} planes of {H}x{W}".format(**sizes)
    return ", ".join(f"{name}={n}" for name, n in list(sizes.items())[:2])


def floor(row: Row, gpu: Gpu) -> tuple[float, str]:
    """Return the least seconds that a launch can take, and what binds it: arithmetic or bytes."""
    moving, rate = row["bytes"] / gpu.copy, FFMA_PER_CLOCK
    if _rung(row) in PRODUCTS:
        # where the architecture's rate is not known, bytes alone count
        rate = TF32_PER_CLOCK.get(gpu.architecture, 0) / PRODUCTS[_rung(row)]
    computing = row["flops"] / (2 * rate * gpu.multiprocessors * gpu.clock) if rate else 0.0
    return max((moving, "bytes"), (computing, "arithmetic"))


def model(row: Row, gpu: Gpu) -> float | None:
    """Return the seconds that a launch should take; None for a product without figures."""
    moving = row["bytes"] / gpu.copy
    if not row["flops"]:
        return moving + LAUNCH_GAP_SECONDS
    rung = _rung(row)
    slots = ISSUE_SLOTS.get(rung, {}).get(row["rows"])
    if slots is None or not row["depth"]:
        return None
    warps, steps = row["block"][0] // 32, ceil(row["depth"] / TILE_K) + PROLOGUE_STEPS
    products = TILE_OUTPUTS_PER_ROW * row["rows"] * TILE_K * PRODUCTS.get(rung, 0) / warps
    busy = max(slots, products / TENSOR_PRODUCTS)
    waiting, resident = float(MEMORY_BOUND_STEP_CLOCKS), RESIDENT_BLOCKS
    if rung in MULTISTAGE:
        waiting, resident = waiting / MULTISTAGE_STEPS_AHEAD, MULTISTAGE_RESIDENT_BLOCKS
    clocks, left = 0.0, int(np.prod(row["grid"]))
    while left > 0:
        # the blocks that one multiprocessor holds side by side in this wave
        blocks = min(resident[row["rows"]], ceil(left / gpu.multiprocessors))
        clocks += steps * max(blocks * warps / SCHEDULERS * busy / ISSUE_EFFICIENCY, waiting)
        left -= blocks * gpu.multiprocessors
    return max(clocks / gpu.clock, moving) + LAUNCH_GAP_SECONDS


def _rung(row: Row) -> str:
    """Return the implementation that a product kernel belongs to, by its name."""
    return next((rung for rung in ISSUE_SLOTS if row["kernel"].endswith(f"_{rung}")), "")


def timed(step: Callable[[], object], device: Device, times: int) -> list[Row]:
    """Return the launches of a step in order, each with `us`, the median of its times."""
    launches = timed_launches(step, device, times, describe)
    return [row | {"us": 1e6 * seconds} for row, seconds in launches]
