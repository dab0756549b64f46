"""What the kernels that a contender launches take of a GPU: registers, shared memory, occupancy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.arrays import Device, module_of
from minialex.cuda import gpu

_WARP = 32


def launched(run: Callable[[], Any], device: Device) -> list[dict[str, Any]]:
    """Run a contender once and return what its kernels take, each kernel once.

    Looks over the shoulder of the door's launch: whatever goes out to a GPU goes through there.
    """
    seen: dict[str, dict[str, Any]] = {}
    launch = gpu.launch

    def noting(*args: Any) -> None:
        launch(*args)
        source, signature, bound, grid, block, shared = args
        function = gpu._function(module_of(device), source, signature, bound)
        seen[signature.expression(bound.binding)] = _facts(function, device, grid, block, shared)

    gpu.launch = noting  # type: ignore[assignment]
    try:
        run()
    finally:
        gpu.launch = launch
    return [{"name": name} | facts for name, facts in seen.items()]


def _facts(
    function: Any, device: Device, grid: tuple[int, ...], block: tuple[int, ...], shared: int
) -> dict[str, Any]:
    """Return what a compiled kernel takes at this launch."""
    cuda = module_of(device).cuda
    threads = block[0] * block[1] * block[2]
    limit = cuda.runtime.getDeviceProperties(device.index)["maxThreadsPerMultiProcessor"]
    resident = cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
        function.kernel.ptr, threads, shared
    )
    warps = -(-threads // _WARP)
    return {
        "grid": list(grid),
        "block": list(block),
        "registers": function.num_regs,
        "spilled_bytes": function.local_size_bytes,
        "shared_bytes": function.shared_size_bytes + shared,
        "occupancy": resident * warps * _WARP / limit,
    }
