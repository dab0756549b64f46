"""Benchmarks of kernels of one's own: pytest-benchmark's rows, with what a profile counts.

    import minialex, numpy as np
    pytest_plugins = "minialex.bench.pytest_plugin"
    def test_scale(profiled_benchmark, n=1 << 20):
        x, scale = np.ones(n, np.float32), minialex.cuda.kernel("scale.cu", "scale")
        profiled_benchmark(scale, minialex.cuda.blocks(n), 256, x, np.empty_like(x), n)

On NumPy arrays the kernel is emulated, once: its time means nothing, and the row says so. On CuPy
arrays it is measured, and what is predicted stands beside that. Either way ``extra_info``, which
pytest-benchmark writes to its JSON, has sectors, wavefronts, the binding bound and the predicted
time. pytest-benchmark is needed: ``pip install 'minialex[bench]'``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from minialex.arrays import CPU, Device, device_of, is_array, module_of, to_numpy
from minialex.errors import MinialexError
from minialex.study.profile import LaunchProfile, Profile, profiled

EMULATED = "of an emulation: they mean nothing"
MEASURED = "measured"


def figures(profile: Profile) -> dict[str, Any]:
    """Return what a benchmark's ``extra_info`` has of a profile.

    Returns
    -------
    dict
        ``gpu``, for which times are predicted; ``bound``, that of the launch which is predicted to
        take longest; sums over the launches: ``predicted us``, ``floor us``, ``blocks``, ``blocks
        counted``, ``sectors`` of global memory and ``wavefronts`` of shared memory, and the least
        possible of either; and in ``launches`` the same for each, with its ``kernel``, and why
        bounds are not known: empty if all are.

    Raises
    ------
    MinialexError
        If nothing was launched.
    """
    if not profile.launches:
        raise MinialexError(
            "no kernel was launched on NumPy arrays: give the benchmark a kernel, or a function "
            "that launches one"
        )
    launches = [_launch(one) for one in profile.launches]
    longest = max(launches, key=lambda one: float(one["predicted us"]))
    summed = {
        name: sum(one[name] for one in launches)
        for name, value in longest.items()
        if not isinstance(value, str)
    }
    about = {"gpu": profile.gpu.name, "bound": longest["bound"]}
    return about | summed | {"launches": launches}


def _launch(launch: LaunchProfile) -> dict[str, Any]:
    memory = launch.counts.memory
    return {
        "kernel": launch.counts.kernel,
        "bound": launch.predicted.binding,
        "bounds that are not known": launch.predicted.missing,
        "blocks": launch.counts.blocks,
        "blocks counted": launch.counts.counted,
        "predicted us": 1e6 * launch.predicted.seconds,
        "floor us": 1e6 * launch.least.seconds,
        "sectors": sum(row.sectors for row in memory if row.memory == "global"),
        "least sectors": sum(row.least_sectors for row in memory if row.memory == "global"),
        "wavefronts": sum(row.wavefronts for row in memory if row.memory == "shared"),
        "least wavefronts": sum(row.least_wavefronts for row in memory if row.memory == "shared"),
    }


def emulated_row(benchmark: Any, gpu: str, function: Callable[..., Any], *args: Any) -> Profile:
    """Profile one call on NumPy arrays as a benchmark's only round, which is named as emulated."""
    # the full name as well: pytest-benchmark compares rows of the same one
    benchmark.name, benchmark.fullname = (
        f"{name} (emulated)" for name in (benchmark.name, benchmark.fullname)
    )
    with profiled(gpu) as profile:
        benchmark.pedantic(function, args)
    benchmark.extra_info |= {"times": EMULATED} | figures(profile)
    return profile


def synchronized(run: Callable[[], Any], device: Device) -> Callable[[], Any]:
    """Return a call that waits for the GPU, so that it can be timed on the host."""
    if device == CPU:
        return run
    synchronize = module_of(device).cuda.get_current_stream().synchronize

    def run_and_wait() -> None:
        run()
        synchronize()

    return run_and_wait


@pytest.fixture(scope="session")
def profiled_gpu() -> str:
    """Name the GPU to predict times for; a fixture of this name in a conftest.py replaces it."""
    return "H100"


@pytest.fixture
def profiled_benchmark(benchmark: Any, profiled_gpu: str) -> Callable[..., Profile]:
    """Call ``function(*args)`` as pytest-benchmark's fixture does, and return its profile.

    The arrays must be among `args`: those of a GPU are measured there, and copies of them profiled
    on the CPU. Of a large launch the profile runs some blocks only, so that results on NumPy arrays
    are not whole.
    """

    def run(function: Callable[..., Any], *args: Any) -> Profile:
        places = {device_of(a) for a in args if is_array(a)} - {CPU}
        if not places:
            return emulated_row(benchmark, profiled_gpu, function, *args)
        copies = [to_numpy(a) if is_array(a) else a for a in args]
        with profiled(profiled_gpu) as profile:
            function(*copies)
        benchmark.extra_info |= {"times": MEASURED} | figures(profile)
        benchmark(synchronized(lambda: function(*args), places.pop()))
        return profile

    return run
