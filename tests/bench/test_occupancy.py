"""What kernels take of a GPU, from launches and a card made up for it; and who is asked for it."""

import sys
from types import SimpleNamespace

import pytest

from minialex.arrays import CPU, Device
from minialex.bench import occupancy, runner
from minialex.bench.case import BenchContext, Contender
from minialex.bench.workload import Workload
from minialex.cuda import gpu

GPU = Device("cuda", 1)


@pytest.fixture
def launch(monkeypatch):
    """Return a function that launches a kernel: its name, its block, its dynamic shared memory."""

    def resident(pointer, threads, shared):
        return {("k", 96, 0): 7, ("k", 100, 5): 4}[pointer, threads, shared]

    properties = {1: {"maxThreadsPerMultiProcessor": 2048}}
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDeviceProperties=properties.__getitem__),
        driver=SimpleNamespace(occupancyMaxActiveBlocksPerMultiprocessor=resident),
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    compiled = SimpleNamespace(
        kernel=SimpleNamespace(ptr="k"), num_regs=40, local_size_bytes=8, shared_size_bytes=1000
    )
    monkeypatch.setattr(gpu, "function", lambda plan: compiled)
    monkeypatch.setattr(gpu, "launch", lambda plan, values: None)

    def launched(name, block=(32, 3, 1), shared=0):
        plan = SimpleNamespace(
            expression=name, device=GPU, grid=(5, 1, 1), block=block, shared=shared
        )
        gpu.launch(plan, ())

    return launched


def test_each_kernel_is_described_once(launch):
    def run():
        launch("f<float>")
        launch("g<float>", (100, 1, 1), 5)
        launch("f<float>")
        return "done"

    value, kernels = occupancy.kernels_launched(run)
    shared = {"registers": 40, "spilled_bytes": 8, "grid": [5, 1, 1]}
    f = {"name": "f<float>", "block": [32, 3, 1], "shared_bytes": 1000}
    g = {"name": "g<float>", "block": [100, 1, 1], "shared_bytes": 1005}
    assert value == "done"
    # 7 blocks of 3 warps; 4 blocks of 100 threads, which take 4 warps each
    assert kernels == [
        shared | f | {"occupancy": 7 * 96 / 2048},
        shared | g | {"occupancy": 4 * 128 / 2048},
    ]


@pytest.mark.parametrize(
    ("name", "kind", "device", "described"),
    [
        ("tiled", "implementation", GPU, True),
        ("plain", "implementation", GPU, False),
        ("CuPy", "peer", GPU, False),
        ("tiled", "implementation", CPU, False),
    ],
)
def test_kernels_are_those_of_our_implementations_on_a_gpu(launch, name, kind, device, described):
    workload = Workload(lambda: launch("run"), lambda: launch("result") or ["y"])
    got, kernels = runner._result(Contender(name, kind, workload), BenchContext(device))
    assert got == ["y"]
    assert [one["name"] for one in kernels] == ["result"] * described


def test_where_the_result_was_there_already_the_kernels_are_those_of_a_run(launch):
    workload = Workload(lambda: launch("run"), lambda: ["y"])
    got, kernels = runner._result(Contender("a", "implementation", workload), BenchContext(GPU))
    assert (got, [one["name"] for one in kernels]) == (["y"], ["run"])
