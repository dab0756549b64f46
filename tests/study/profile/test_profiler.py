"""The profile of a block of launches: its lines, its numbers as JSON, and what it refuses."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import cuda, ops
from minialex.autograd import Tensor, using
from minialex.cuda.known_gpus import known_gpu
from minialex.errors import MinialexError
from minialex.study.profile import profiled
from minialex.study.profile.least_time import least_time
from minialex.study.profile.metrics import METRICS

F32 = np.float32


@pytest.fixture(scope="module")
def convolution():
    """A profile of one tiled convolution, forward and backward."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(F32) for s in ((2, 3, 9, 9), (20, 3, 3, 3)))
    with profiled("A100") as profile, using(conv2d="tiled"):
        y = ops.conv2d(Tensor(x, requires_grad=True), Tensor(w, requires_grad=True))
        y.backward(np.ones_like(y.data))
    return profile


def test_assertions_that_people_write(convolution):
    store = convolution.line("tile_product.cuh", 34)
    assert store.text.startswith("if (A_ALONG_K) a_tile[ty][tx] = ")
    assert store.wavefronts_per_request == 1
    assert store.least_wavefronts_per_request == 1
    assert store.active_lanes == 32
    assert convolution.line("tile_product.cuh", 39).barriers > 0
    first = convolution.launches[0]
    # rows of 7 numbers; each warp writes two times 16 of them
    assert first.line("conv2d_tiled.cu", 50).sectors_per_request <= 6
    assert first.line("conv2d_tiled.cu", 50).least_sectors_per_request <= 4


def test_a_line_over_all_launches_is_their_sum(convolution):
    place = "tile_product.cuh", 41
    each = [launch.line(*place).requests for launch in convolution.launches[:3]]
    assert convolution.line(*place).requests == sum(each)
    assert min(each) > 0


def test_lines_of_a_launch_that_was_cut_are_an_error(convolution):
    first, *others = (launch.counts for launch in convolution.launches)
    cut = [*others, replace(first, cut=True)]
    message = rf"^{re.escape(first.kernel)}, launch {len(cut)} of {len(cut)}, grid .*max_blocks"
    profile = replace(convolution, emulation=SimpleNamespace(counts=cut), _launches=[])
    with pytest.raises(MinialexError, match=message):
        profile.line("tile_product.cuh", 34)
    with pytest.raises(
        MinialexError, match=rf"^{re.escape(first.kernel)}, grid .* not counted to its end"
    ):
        profile.launches[-1].line("conv2d_tiled.cu", 50)
    assert profile.launches[0].line("tile_product.cuh", 34).requests > 0
    # of a file that the launch has no text of all was counted
    with pytest.raises(MinialexError, match=r"nothing was counted at relu.cu:1"):
        profile.line("relu.cu", 1)


def test_what_a_line_does_not_have_is_an_error_and_no_zero(convolution):
    with pytest.raises(MinialexError, match=r"tile_product.cuh:34 has no access to global memory"):
        _ = convolution.line("tile_product.cuh", 34).sectors_per_request
    with pytest.raises(MinialexError, match=r"tile_product.cuh:39 has no access to memory"):
        _ = convolution.line("tile_product.cuh", 39).active_lanes
    with pytest.raises(MinialexError, match=r"nothing was counted at tile_product.cuh:1: of this "):
        convolution.line("tile_product.cuh", 1)
    with pytest.raises(MinialexError, match=r"of this file there is nothing"):
        convolution.line("product.cuh", 34)


def test_json_has_every_number_and_what_nsight_calls_it(convolution):
    data = json.loads(json.dumps(convolution.to_json()))
    assert data["schema"] == "minialex-profile 1"
    assert data["gpu"]["name"] == "A100"
    assert data["metrics"] == METRICS
    assert data["implementations"] == [{"op": "conv2d", "implementation": "tiled"}]
    first = data["launches"][0]
    assert first["kernel"] == "conv2d_forward_tiled<float>"
    assert first["blocks"] == first["blocks_counted"]
    assert first["static_shared_bytes"] == 2 * 16 * 16 * 4
    assert {row["array"] for row in first["memory"]} == {"x", "w", "y", "a_tile", "b_tile"}
    store = next(row for row in first["memory"] if row["array"] == "y")
    assert store["access"] == "write"
    # 49 places of 20 filters of 2 images
    assert store["lanes"] == 2 * 20 * 49
    assert store["bytes"]["register"] == 4 * store["lanes"]
    assert first["predicted_seconds"] > 0
    assert sum(one["predicted_seconds"] for one in data["launches"]) == data["predicted_seconds"]


def test_the_least_time_is_of_bytes_or_of_operations(convolution):
    gpu = known_gpu("A100")
    counts = convolution.launches[0].counts
    least = least_time(counts.plan, counts.arrays, gpu)
    # x, w and y once; 27 multiply-adds an output
    assert least.bytes == 4 * (2 * 3 * 81 + 20 * 27 + 2 * 20 * 49)
    assert least.flops == 2 * 27 * 2 * 20 * 49
    assert least.seconds == max(least.bytes / gpu.memory_bandwidth, least.flops / gpu.flops)
    assert least.bound == "memory"


@pytest.fixture(scope="module")
def product():
    """A profile of the product that an A100 computes by default."""
    x, w = np.ones((512, 512), F32), np.ones((512, 512), F32)
    with profiled("A100", max_blocks=1) as profile:
        ops.linear(x, w)
    return profile


def test_ops_run_as_that_gpu_runs_them(product):
    assert product.launches[0].counts.kernel.startswith("linear_forward_tf32x3<")
    assert list(product.choices) == [("linear", "tf32x3")]


def test_the_least_time_on_tensor_cores_is_of_their_products(product):
    least = product.launches[0].least
    # 108 multiprocessors at 1.41 GHz; three products of TF32 numbers, 512 a cycle, for each
    assert least.flops == 2 * 512**3
    assert least.seconds == pytest.approx(512**3 * 3 / (512 * 108 * 1.41e9))
    assert least.bound == "tensor core"


def test_what_only_rewrites_operands_has_no_operations():
    with using("multistage_tf32x3"), profiled("A100", max_blocks=1) as profile:
        ops.conv2d(np.ones((2, 3, 9, 9), F32), np.ones((20, 3, 3, 3), F32))
    rewriting, multiplying = (launch.least for launch in profile.launches)
    # x and w, which have four channels then
    assert (rewriting.flops, rewriting.bytes) == (0, 4 * (3 + 4) * (2 * 81 + 20 * 9))
    assert rewriting.bound == "memory"
    assert multiplying.flops == 2 * 27 * 2 * 20 * 49


def test_a_profile_prints_what_it_is(convolution):
    taken, empty, *lines = str(convolution).splitlines()
    assert (taken, empty) == ("implementations: conv2d=tiled", "")
    assert lines[0] == "conv2d_forward_tiled<float>: 14 blocks (7 x 2) of 16 x 16 threads"
    (head,) = [number for number, line in enumerate(lines[:9]) if line.startswith("line ")]
    (store,) = [line for line in lines[: head + 20] if line.startswith("tile_product.cuh:34 ")]
    # columns stand below their headings
    for column, cell in (("requests", "224"), ("wavefronts (least)", "1.00 (1.00)")):
        assert store[: lines[head].index(column) + len(column)].endswith(f" {cell}")
    alone = str(convolution.launches[0])
    assert str(convolution).startswith(f"{taken}\n\n{alone}\n\nconv2d_data")


def test_launches_come_as_they_are_made():
    x, y = np.ones(64, F32), np.zeros(64, F32)
    with profiled() as profile:
        assert profile.launches == []
        cuda.kernel("relu.cu", "relu_forward")(1, 64, x, y, 64)
        (first,) = profile.launches
        cuda.kernel("relu.cu", "relu_forward")(1, 64, x, y, 64)
        assert profile.launches[0] is first
    assert len(profile.launches) == 2


def test_one_kernel_alone():
    x, y, gx = np.ones(64, F32), np.ones(64, F32), np.zeros(64, F32)
    with profiled(kernel="relu_backward") as profile:
        cuda.kernel("relu.cu", "relu_forward")(1, 64, x, y, 64)
        cuda.kernel("relu.cu", "relu_backward")(1, 64, x, y, gx, 64)
    assert [one.counts.kernel for one in profile.launches] == ["relu_backward<float>"]


TWICE = """
extern "C" __global__ void twice(const float* x, float* y) {
    float total = 0.0f;
    for (int pass = 0; pass < 2; ++pass)
        for (int i = threadIdx.x; i < 4096; i += 128) total += x[i];
    y[blockIdx.x * 128 + threadIdx.x] = total;
}
"""


@pytest.mark.parametrize(("blocks", "hits"), [(1, 512), (108, 512), (108 * 16, 0)])
def test_blocks_that_are_not_there_take_no_part_of_l1(tmp_path, blocks, hits):
    (tmp_path / "twice.cu").write_text(TWICE)
    x, y = np.ones(4096, F32), np.zeros(blocks * 128, F32)
    with profiled("A100", max_blocks=1) as profile:
        cuda.kernel(str(tmp_path / "twice.cu"), "twice")(blocks, 128, x, y)
    # 16 KiB are 512 sectors. One block has all 192 KiB of L1, each of 16 of them has 12 KiB.
    (read,) = [row for row in profile.launches[0].counts.memory if row.access == "read"]
    assert read.sectors == 1024 * blocks
    assert read.l1_hits == hits * blocks


UNEQUAL = """
extern "C" __global__ void unequal(const int* work, const float* x, float* y) {
    float total = 0.0f;
    for (int i = 0; i < work[blockIdx.x]; ++i) total += x[i];
    y[blockIdx.x * 32 + threadIdx.x] = total;
}
"""


@pytest.mark.parametrize("most", [1, 900])
def test_the_busiest_block_is_told_by_its_requests(tmp_path, most):
    (tmp_path / "unequal.cu").write_text(UNEQUAL)
    work = np.ones(10, np.int32)
    work[7] = most
    with profiled("A100") as profile:
        unequal = cuda.kernel(str(tmp_path / "unequal.cu"), "unequal")
        unequal(10, 32, work, np.ones(900, F32), np.zeros(320, F32))
    (launch,) = profile.launches
    # a pass reads `work` and `x` and branches; one more test and the write are in no pass
    assert launch.counts.busiest_block == pytest.approx(most / ((9 + most) / 10), rel=0.02)
    assert launch.to_json()["busiest_block"] == launch.counts.busiest_block


def test_a_profile_within_a_profile_is_refused():
    with (
        profiled("A100") as outer,
        pytest.raises(MinialexError, match=r"a profile is being taken already: .* one after the"),
        profiled("H100"),
    ):
        pass
    assert outer.launches == []


def test_each_thread_takes_a_profile_of_its_own():
    def sectors(elements):
        x = np.ones(elements, F32)
        with profiled() as profile:
            for _ in range(3):
                ops.relu(x)
        return [sum(row.sectors for row in one.counts.memory) for one in profile.launches]

    with profiled() as mine, ThreadPoolExecutor(3) as threads:
        found = list(threads.map(sectors, (512, 1024, 4096)))
        assert mine.launches == []
        threads.submit(copy_context().run, ops.relu, np.ones(512, F32)).result()
    assert found == [[n * 2 * 4 / 32] * 3 for n in (512, 1024, 4096)]
    assert len(mine.launches) == 1


def test_a_gpu_that_is_not_known_is_refused():
    with (
        pytest.raises(MinialexError, match="unknown GPU 'RTX 9000'; known: T4, "),
        profiled("RTX 9000"),
    ):
        pass
