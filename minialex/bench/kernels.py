"""What the kernels that a contender launches take of a GPU: registers, shared memory, occupancy."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from minialex.arrays import Device, module_of
from minialex.cuda import gpu
from minialex.cuda.plan import LaunchPlan

_WARP = 32


def launched(run: Callable[[], Any], device: Device) -> list[dict[str, Any]]:
    """Run a contender once and return what its kernels take, each kernel once.

    Looks over the shoulder of the door's launch: whatever goes out to a GPU goes through there.
    """
    seen: dict[str, dict[str, Any]] = {}
    launch = gpu.launch

    def noting(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
        launch(plan, values)
        seen[plan.expression] = _facts(gpu.function(plan), plan)

    gpu.launch = noting
    try:
        run()
    finally:
        gpu.launch = launch
    return [{"name": name} | facts for name, facts in seen.items()]


def _facts(function: Any, plan: LaunchPlan) -> dict[str, Any]:
    """Return what a compiled kernel takes at this launch."""
    cuda = module_of(plan.device).cuda
    threads = prod(plan.block)
    limit = cuda.runtime.getDeviceProperties(plan.device.index)["maxThreadsPerMultiProcessor"]
    resident = cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
        function.kernel.ptr, threads, plan.shared
    )
    warps = -(-threads // _WARP)
    return {
        "grid": list(plan.grid),
        "block": list(plan.block),
        "registers": function.num_regs,
        "spilled_bytes": function.local_size_bytes,
        "shared_bytes": function.shared_size_bytes + plan.shared,
        "occupancy": resident * warps * _WARP / limit,
    }
