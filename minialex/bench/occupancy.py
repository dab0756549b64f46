"""What the kernels that a contender launches take of a GPU: registers, shared memory, occupancy."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

from minialex.arrays import module_of
from minialex.cuda import gpu
from minialex.cuda.architectures import WARP_THREADS
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan

Value = TypeVar("Value")


def kernels_launched(run: Callable[[], Value]) -> tuple[Value, list[dict[str, Any]]]:
    """Return what ``run()`` returns, and what its kernels take of a GPU, each kernel once."""
    seen: dict[str, dict[str, Any]] = {}

    def noting(launch: LaunchFunction) -> LaunchFunction:
        def call(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
            launch(plan, values)
            seen[plan.expression] = _facts(gpu.function(plan), plan)

        return call

    with wrapped_launches(noting):
        value = run()
    return value, [{"name": name} | facts for name, facts in seen.items()]


def _facts(function: Any, plan: LaunchPlan) -> dict[str, Any]:
    """Return what a compiled kernel takes at this launch."""
    cuda = module_of(plan.device).cuda
    threads = prod(plan.block)
    limit = cuda.runtime.getDeviceProperties(plan.device.index)["maxThreadsPerMultiProcessor"]
    resident = cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
        function.kernel.ptr, threads, plan.shared
    )
    warps = -(-threads // WARP_THREADS)
    return {
        "grid": list(plan.grid),
        "block": list(plan.block),
        "registers": function.num_regs,
        "spilled_bytes": function.local_size_bytes,
        "shared_bytes": function.shared_size_bytes + plan.shared,
        "occupancy": resident * warps * WARP_THREADS / limit,
    }
