"""What the kernels that a contender launches take of a GPU: registers, shared memory, occupancy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from minialex.arrays import Device, module_of
from minialex.cuda import gpu
from minialex.cuda.observe import Launch, wrapped_launches

Value = TypeVar("Value")
_WARP = 32


def launched(run: Callable[[], Value], device: Device) -> tuple[Value, list[dict[str, Any]]]:
    """Return what ``run()`` returns, and what its kernels take of a GPU, each kernel once."""
    seen: dict[str, dict[str, Any]] = {}

    def noting(launch: Launch) -> Launch:
        def call(*args: Any) -> None:
            launch(*args)
            source, signature, bound, grid, block, shared = args
            function = gpu._function(module_of(device), source, signature, bound)
            facts = _facts(function, device, grid, block, shared)
            seen[signature.expression(bound.binding)] = facts

        return call

    with wrapped_launches(noting):
        value = run()
    return value, [{"name": name} | facts for name, facts in seen.items()]


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
