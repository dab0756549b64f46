"""Faults of speed, planted in kernels that are right, are named at their line."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.cuda import source
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile import profiled
from minialex.study.profile.profiler import LaunchProfile
from minialex.study.profile.resources import Code
from tests.cuda.tools import disassembles
from tests.study.profile import made_up

F32 = np.float32


def line_in(file, text):
    """Return the number of the one line of a kernel file, as it is edited now, that has `text`."""
    lines = source.read(file).own.splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if text in line]
    return found


def relu(kernel, edit):
    x, y, gx = np.arange(4096, dtype=F32) % 7 - 3, np.zeros(4096, F32), np.zeros(4096, F32)
    with edit, profiled(kernel=kernel) as profile:
        cuda.kernel("relu.cu", "relu_forward")(16, 256, x, y, 4096)
        cuda.kernel("relu.cu", "relu_backward")(16, 256, x, y, gx, 4096)
        (launch,) = profile.launches
        return launch, {(one.kind, one.file, one.line) for one in launch.slowdowns}


def linear(implementation, edit, gpu="H100", outputs=128):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, 256)).astype(F32) for n in (64, outputs))
    with edit, profiled(gpu) as profile:
        OPS["linear"].implementations[implementation].forward(x, w, None)
        launch = profile.launches[0]
        return launch, {(one.kind, one.file, one.line) for one in launch.slowdowns}


@disassembles
def test_a_branch_that_the_compiler_may_have_made_a_predicate_is_said_to_be_one():
    x, w = np.ones((1, 8, 8, 8), F32), np.ones((32, 8, 3, 3), F32)
    same = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    with profiled() as profile:
        OPS["conv2d"].implementations["implicit_gemm"].forward(x, w, None, **same)
        launch = profile.launches[0]
    # at the edges of the image
    line = line_in("conv2d_panels.cuh", "return inside ?")
    (named,) = [
        one
        for one in launch.slowdowns
        if (one.kind, one.file, one.line) == ("divergent branch", "conv2d_panels.cuh", line)
    ]
    assert "the machine code has no branch at this line" in named.sentence


@disassembles
def test_a_kernel_without_faults_has_none():
    launch, named = relu("relu_forward", contextlib.nullcontext())
    assert named == set()
    assert launch.resources.spilled_bytes == 0


def test_a_transposed_index_is_uncoalesced():
    old = "slice.store(pack, y);"
    new = "const int i = flat_index();\n    if (4 * i < n) y[i % 64 * 64 + i / 64] = pack[0];"
    launch, named = relu("relu_forward", cuda.edited("relu.cu", old, new))
    with cuda.edited("relu.cu", old, new):
        line = line_in("relu.cu", "i % 64")
    assert named == {("uncoalesced", "relu.cu", line)}
    (write,) = [one for one in launch.counts.memory if one.access == "write"]
    assert (write.sectors, write.least_sectors) == (32 * 32, 32 * 4)
    # and what to do stands beside it
    assert (
        "writing y touches 32 sectors a request where 4 would hold" in launch.slowdowns[0].sentence
    )


def test_a_removed_column_of_padding_is_a_bank_conflict():
    padded = "PADDED = TILE + 8 / sizeof(T);"
    edit = cuda.edited("tile_product.cuh", padded, "PADDED = TILE;")
    before, _ = linear("tiled", contextlib.nullcontext())
    launch, named = linear("tiled", edit)
    line = line_in("tile_product.cuh", "if (B_ALONG_K) b_tile[tx][ty]")
    assert ("bank conflict", "tile_product.cuh", line) in named
    assert before.line("tile_product.cuh", line).wavefronts_per_request == 1
    assert launch.line("tile_product.cuh", line).wavefronts_per_request == 16 / 2


@pytest.mark.parametrize(
    ("access", "advice"),
    [("read", "pad the rows"), ("write", "pad the rows"), ("atomic", "copies of their own")],
)
def test_what_to_do_about_a_bank_conflict(access, advice):
    row = made_up.row(7, access, "bins", "shared", wavefronts=8)
    launch = LaunchProfile(made_up.counts(row), known_gpu("A100"))
    vars(launch)["resources"] = made_up.resources(Code())
    (one,) = launch.slowdowns
    assert one.kind == "bank conflict"
    assert advice in one.sentence


@pytest.mark.parametrize(("implementation", "width"), [("register_blocked", 16), ("tf32x3", 8)])
def test_rows_of_whole_vectors_are_stored_in_vectors(implementation, width):
    launch, _ = linear(implementation, contextlib.nullcontext())
    (store,) = [row for row in launch.counts.memory if row.array == "y"]
    assert (store.width, store.sectors) == (width, store.least_sectors)


@pytest.mark.parametrize("implementation", ["register_blocked", "tf32x3"])
def test_other_results_change_lanes_in_shared_memory_and_are_stored_side_by_side(implementation):
    launch, _ = linear(implementation, contextlib.nullcontext(), outputs=127)
    (store,) = [row for row in launch.counts.memory if row.array == "y"]
    # 128 bytes that may begin anywhere are in 5 sectors
    assert 4 * store.requests < store.sectors <= 5 * store.requests
    through = [row for row in launch.counts.memory if row.array == "b_tile"]
    assert {row.access for row in through} == {"read", "write"}
    assert all(row.wavefronts == row.least_wavefronts for row in through)


def test_a_load_that_is_not_vectorised():
    whole = (
        "const float4 v = *reinterpret_cast<const float4*>(from);\n    to[0] = v.x, to[1] = v.y, "
    )
    apart = (
        "for (int k = 0; k < 4; ++k) to[k] = from[k];\n    return;\n    const float4 v{};\n    "
        "to[0] = v.x, to[1] = v.y, "
    )
    _, before = linear("register_blocked", contextlib.nullcontext())
    _, named = linear("register_blocked", cuda.edited("vectors.cuh", whole, apart))
    with cuda.edited("vectors.cuh", whole, apart):
        line = line_in("vectors.cuh", "to[k] = from[k]")
    assert ("unvectorised", "vectors.cuh", line) in named
    assert not [one for one in before if one[1] == "vectors.cuh"]


@disassembles
def test_loads_that_the_compiler_has_joined_are_not_named():
    launch, named = linear("tiled", contextlib.nullcontext())
    line = line_in("tile_product.cuh", "+= a_tile[")
    (row,) = [r for r in launch.counts.memory if (r.line, r.array) == (line, "a_tile")]
    assert row.successive == row.requests / 2
    assert "LDS.128" in {one.kind for one in launch.resources.lines if one.line == line}
    assert not [one for one in named if one[0] == "unvectorised"]


def test_a_divergent_branch():
    old = "slice.store(grads, gx);"
    new = "if (threadIdx.x % 2) slice.store(grads, gx);\n    else slice.store(ys, gx);"
    launch, named = relu("relu_backward", cuda.edited("relu.cu", old, new))
    with cuda.edited("relu.cu", old, new):
        line = line_in("relu.cu", "if (threadIdx.x % 2)")
    assert ("divergent branch", "relu.cu", line) in named
    assert launch.line("relu.cu", line).divergent_branches == 128


@disassembles
def test_registers_beyond_a_limit_spill():
    bounds = "__launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_forward_register_blocked("
    tight = bounds.replace("resident_blocks(ROWS)", "2048 / (ROWS * 16)")
    launch, named = linear("register_blocked", cuda.edited("linear.cu", bounds, tight))
    assert launch.resources.registers == 32
    assert launch.resources.spilled_bytes > 0
    spills = [one for one in launch.slowdowns if one.kind == "spills"]
    assert spills
    assert all(one.line > 0 and one.file.endswith((".cu", ".cuh")) for one in spills)
    assert "32 registers do not hold all" in spills[0].sentence
    assert {one for one in named if one[0] == "spills"}
    taken = (
        f"{launch.resources.spilled_bytes} bytes of spills, {launch.resources.local_bytes} bytes"
    )
    assert f"32 registers, {taken} of local memory per thread, " in str(launch)


@disassembles
def test_an_array_that_is_indexed_at_run_time_is_in_local_memory_and_no_spill():
    old = "slice.store(pack, y);"
    new = "T own[32] = {};\n    for (int k = 0; k < 8; ++k) own[int(x[k]) & 31] += T(1);\n"
    new += "    pack[0] += own[threadIdx.x & 31];\n    slice.store(pack, y);"
    launch, named = relu("relu_forward", cuda.edited("relu.cu", old, new))
    with cuda.edited("relu.cu", old, new):
        line = line_in("relu.cu", "own[threadIdx.x & 31]")
    assert ("local memory", "relu.cu", line) in named
    assert not [one for one in named if one[0] == "spills"]
    assert (launch.resources.spilled_bytes, launch.resources.local_bytes) == (0, 128)
    assert " registers, no spills, 128 bytes of local memory per thread, 0 bytes of sh" in str(
        launch
    )
