"""The provenance of a record: the machine, the versions, the revision, the time.

Never the host's name, a user's name or a path.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import minialex
from minialex.arrays import CPU, Device, module_of, on_device
from minialex.cpu import threads
from minialex.cuda import cxx
from minialex.errors import MinialexError

MAX_BUSY_CORES = 0.15
"""When other programs keep more CPU cores busy than this, times are not reliable."""

LIBRARIES = (
    "numpy", "pillow", "cupy-cuda12x", "cupy-cuda13x", "torch", "onnxruntime", "jax",
    "threadpoolctl",
)  # fmt: skip
SMI_FIELDS = (
    "name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem",
    "temperature.gpu", "power.draw",
)  # fmt: skip
# the name now, and the one before driver 535
SMI_LIMIT_FIELDS = "clocks_event_reasons.active", "clocks_throttle_reasons.active"
CLOCK_LIMITS = {
    0x1: "nothing to do",
    0x2: "clocks set by hand",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
    0x100: "display clocks",
}
"""What keeps the clocks below their maximum: NVML's bits (nvmlClocksEventReasons)."""
LOAD_MATRIX_SIDE, LOAD_CALLS = 8192, 60
"""Products of float32 matrices that keep a GPU busy for a second or more while clocks are read."""


def machine(device: Device) -> dict[str, Any]:
    """Return the machine: CPU, cores, memory, system, and the GPU where one is used."""
    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": threads.cores(),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device != CPU:
        found["gpu"] = gpu(device)
    return found


def busy_cores(seconds: float = 1.0) -> float:
    """Return how many cores other programs keep busy, while this one sleeps for so long.

    0 where the system does not say. Cores stolen by other virtual machines are counted too.
    """
    before = _busy_time()
    time.sleep(seconds)
    after = _busy_time()
    return max(0.0, after - before) / seconds


def _busy_time() -> float:
    """Return the seconds that all cores together have been busy since the machine started."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    # user, nice, system, (idle, iowait,) irq, softirq, steal
    ticks = [int(word) for word in words[1:9]]
    return sum(ticks[:3] + ticks[5:]) / os.sysconf("SC_CLK_TCK")


def cpu_model() -> str:
    """Return the CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def gpu(device: Device) -> dict[str, Any]:
    """Return a GPU's name, size, driver and toolkit, and its clocks idle and under load."""
    runtime = module_of(device).cuda.runtime
    about = runtime.getDeviceProperties(device.index)
    return {
        "name": about["name"].decode(),
        "multiprocessors": about["multiProcessorCount"],
        "compute_capability": f"{about['major']}.{about['minor']}",
        "memory_gib": round(about["totalGlobalMem"] / 2**30, 1),
        "l2_mib": about["l2CacheSize"] / 2**20,
        "cuda_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "state": gpu_state(device),
        "state under load": gpu_state_under_load(device),
    }


def gpu_state(device: Device) -> dict[str, str]:
    """Return clocks, what limits them, temperature and power; {} without nvidia-smi."""
    # by its bus: nvidia-smi numbers GPUs in another order
    bus = module_of(device).cuda.Device(device.index).pci_bus_id
    values = _query_driver(bus, SMI_FIELDS)
    if not values:
        return {}
    found = dict(zip(SMI_FIELDS, values, strict=True))
    for name in SMI_LIMIT_FIELDS:
        if (bits := _query_driver(bus, (name,))) and re.fullmatch(r"0x[0-9a-fA-F]+", bits[0]):
            found["limited_by"] = clock_limits(int(bits[0], 16))
            break
    return found


def gpu_state_under_load(device: Device) -> dict[str, str]:
    """Return the same while the GPU multiplies matrices: its clocks when idle say little."""
    with on_device(device) as xp:
        a = xp.ones((LOAD_MATRIX_SIDE, LOAD_MATRIX_SIDE), xp.float32)
        out = xp.empty_like(a)
        for _ in range(LOAD_CALLS):
            xp.matmul(a, a, out=out)
        state = gpu_state(device)
        xp.cuda.get_current_stream().synchronize()
    return state


def clock_limits(bits: int) -> str:
    """Return a description of what keeps a GPU's clocks down, from NVML's bits."""
    return ", ".join(what for bit, what in CLOCK_LIMITS.items() if bits & bit) or "nothing"


def _query_driver(bus: str, fields: tuple[str, ...]) -> list[str]:
    """Return what ``nvidia-smi`` answers for one GPU; [] where it is missing or cannot answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader", f"--id={bus}"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return []
    values = [value.strip() for value in answer.stdout.split(",")]
    return values if answer.returncode == 0 and len(values) == len(fields) else []


def versions() -> dict[str, str]:
    """Return the versions of this project, Python and the libraries that are installed."""
    found = {"minialex": minialex.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def blas() -> list[dict[str, Any]]:
    """Return the BLAS libraries that are loaded, each with the kernels that it has chosen."""
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    names = {
        "internal_api": "library",
        "version": "version",
        "architecture": "kernels",
        "num_threads": "threads",
    }
    return [
        {new: pool[old] for old, new in names.items() if old in pool}
        for pool in pools
        if pool["user_api"] == "blas"
    ]


def compiler() -> str | None:
    """Return the first line that the C++ compiler says of itself; None where there is none."""
    try:
        return cxx.compiler("emulating kernels").version.split("\n", 1)[0]
    except MinialexError:
        return None


def commit() -> str | None:
    """Return the revision of the source tree that this package runs from, "+" if it was changed.

    The environment variable COMMIT names it where the tree is no clone.
    """
    if named := os.environ.get("COMMIT"):
        return named
    root = Path(minialex.__file__).parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    answers = [
        subprocess.run([git, "-C", root, *words], capture_output=True, text=True, check=False)
        for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "minialex"])
    ]
    if any(answer.returncode for answer in answers):
        return None
    return answers[0].stdout.strip() + "+" * bool(answers[1].stdout.strip())


def now() -> str:
    """Return the time: UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
