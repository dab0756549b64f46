"""Counts: what warps ask of memory, compared with a count by the rules alone."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

import minialex
from minialex import cuda, ops
from minialex.cuda.emulator import compiler
from minialex.errors import MinialexError
from tests.cuda.tools import kernel, line_of

FILE = "gather.cu"
WIDTHS = 1, 4, 8, 16
SIZE = 512


def counted(space, width, index, **settings):
    """Return what each marked line of a gather was counted to take."""
    x, y = np.zeros(SIZE * width, np.uint8), np.zeros(SIZE * width, np.uint8)
    with cuda.emulated("counted", **settings) as emulation:
        kernel(FILE, f"gather_{space}")(1, len(index), x, index, y, WIDTH=width)
    (found,) = emulation.counts
    return found


def row(found, marker, array):
    line = line_of(FILE, f"// {marker}")
    (only,) = [one for one in found.memory if (one.line, one.array) == (line, array)]
    return only


def indices(rng, threads):
    """Return indices of one of several kinds; some lanes have none."""
    kind = rng.integers(5)
    if kind == 0:
        index = rng.integers(0, SIZE, threads)
    elif kind == 1:
        index = rng.integers(0, 40) + rng.integers(1, 9) * np.arange(threads) % SIZE
    elif kind == 2:
        index = np.repeat(rng.integers(0, SIZE, threads), 2)[:threads]
    elif kind == 3:
        index = np.full(threads, rng.integers(SIZE))
    else:
        index = np.arange(threads) ^ rng.integers(32)
    index = index % SIZE
    if rng.integers(2):
        index[rng.random(threads) < rng.random()] = -1
    return index.astype(np.int32)


def by_the_rules(index, width, pairs_merge):
    """Return requests, lanes, sectors, the least of them, lines, wavefronts and the least."""
    sums = np.zeros(7)
    for begin in range(0, len(index), 32):
        lanes = [
            (lane, at) for lane, at in enumerate(index[begin : begin + 32].tolist()) if at >= 0
        ]
        if not lanes:
            continue
        touched = {byte for _, at in lanes for byte in range(at * width, (at + 1) * width)}
        group = 32 * 4 // max(width, 4)
        where = dict(lanes)
        if pairs_merge and width > 4:
            agree = (all(where.get(lane ^ bit, at) == at for lane, at in lanes) for bit in (1, 2))
            group *= 2 if any(agree) else 1
        passes = []
        for _, some in groupby(lanes, lambda lane, group=group: lane[0] // group):
            words = {byte // 4 for _, at in some for byte in range(at * width, (at + 1) * width)}
            passes.append(max(sum(w % 32 == bank for w in words) for bank in range(32)))
        sums += (
            1,
            len(lanes),
            len({byte // 32 for byte in touched}),
            -(-len(touched) // 32),
            len({byte // 128 for byte in touched}),
            sum(passes),
            len(passes),
        )
    return sums.tolist()


def numbers(one):
    return [
        *(one.requests, one.lanes, one.sectors, one.least_sectors, one.lines),
        *(one.wavefronts, one.least_wavefronts),
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("seed", range(12))
def test_random_accesses_to_global_memory(width, seed):
    rng = np.random.default_rng(seed)
    index = indices(rng, int(rng.integers(1, 257)))
    wanted = by_the_rules(index, width, pairs_merge=False)
    if not wanted[0]:
        pytest.fail("no lane is active: draw others")
    found = counted("global", width, index)
    assert numbers(row(found, "read", "x")) == wanted
    assert numbers(row(found, "write", "y")) == wanted


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("seed", range(12, 24))
def test_random_accesses_to_shared_memory(width, seed):
    rng = np.random.default_rng(seed)
    index = indices(rng, int(rng.integers(1, 257)))
    found = counted("shared", width, index)
    for marker, merge in (("load", True), ("store", False)):
        requests, lanes, _, _, _, wavefronts, least = by_the_rules(index, width, merge)
        assert numbers(row(found, marker, "tile")) == [requests, lanes, 0, 0, 0, wavefronts, least]


LANE = np.arange(32)
HALF = LANE // 8 * 2 + LANE % 8 // 2 % 2


@pytest.mark.parametrize(
    ("width", "index", "wavefronts"),
    [
        (8, LANE, 2),
        (8, LANE // 2, 1),
        (16, np.where(LANE // 15 * LANE // 17 == 0, np.where(LANE < 15, -1, 4), -1), 2),
        (16, np.where((LANE == 0) | (LANE == 15), 4, -1), 1),
        (16, HALF, 2),
        (16, np.where(LANE < 16, HALF, LANE // 8 * 2 + LANE % 2), 4),
        (16, LANE // 16 * 4 + LANE % 16 // 8 + LANE % 8 // 4 * 8, 4),
        (16, LANE, 4),
        (16, np.zeros(32, int), 2),
    ],
)
def test_vectors_of_shared_memory_as_measured_on_an_a100(width, index, wavefronts):
    """Seven of them were measured, see ``runtime/memory_system.h``; the last two are the rule's."""
    found = row(counted("shared", width, index.astype(np.int32)), "load", "tile")
    assert found.wavefronts == wavefronts


def test_lanes_that_are_not_active_are_a_divergent_branch():
    index = np.where(np.arange(96) % 64 < 40, 3, -1).astype(np.int32)
    found = counted("global", 4, index)
    (branch,) = found.branches
    assert (branch.line, branch.requests, branch.lanes) == (line_of(FILE, "// active"), 3, 96)
    assert branch.divergent == 1


def test_what_a_block_has_read_is_in_its_l1_cache_and_what_it_wrote_is_not():
    def copy(x, y):
        with cuda.emulated("counted") as emulation:
            index = np.tile(np.arange(32, dtype=np.int32), 2)
            kernel(FILE, "gather_global")(1, 64, x, index, y, WIDTH=4)
        (found,) = emulation.counts
        return found

    found = copy(np.zeros(128, np.uint8), np.zeros(128, np.uint8))
    # the second warp reads and writes what the first did
    read, write = row(found, "read", "x"), row(found, "write", "y")
    assert (read.sectors, read.l1_hits, read.first) == (8, 4, 4)
    assert (write.sectors, write.l1_hits, write.first) == (8, 0, 4)


def test_sectors_begin_where_the_allocation_does():
    x, y = np.zeros(132, np.uint8), np.zeros(128, np.uint8)
    with cuda.emulated("counted") as emulation:
        index = np.arange(32, dtype=np.int32)
        kernel(FILE, "gather_global")(1, 32, x[4:], index, y, WIDTH=4)
    (found,) = emulation.counts
    assert row(found, "read", "x").sectors == 5
    assert row(found, "write", "y").sectors == 4


def test_an_access_outside_is_an_error_and_no_crash():
    index = np.array([1 << 28], np.int32)
    with pytest.raises(
        cuda.EmulationError, match=r"out-of-bounds read: address .* is near no array"
    ):
        counted("global", 4, index)


def test_results_of_small_launches_are_whole():
    x, y = np.arange(5000, dtype=np.float32) - 7, np.zeros(5000, np.float32)
    with cuda.emulated("counted", max_blocks=None) as emulation:
        cuda.kernel("relu.cu", "relu_forward")(20, 256, x, y, 5000)
    assert (y == np.maximum(x, 0)).all()
    (found,) = emulation.counts
    assert (found.blocks, found.counted, found.cut) == (20, 20, False)


def test_of_a_large_launch_some_blocks_are_counted_and_stand_for_all():
    x, y = np.ones(5000, np.float32), np.zeros(5000, np.float32)
    with cuda.emulated("counted", max_blocks=5) as emulation:
        kernel("elementwise.cu", "rectify")(20, 256, x, y, 5000)
    (found,) = emulation.counts
    # 5; and by g++'s basic blocks the last has so much less to do that 2 more are looked at
    assert (found.blocks, found.counted) in ((20, 5), (20, 7))
    # the last block has 136 of 256 elements, and stands for itself
    (write,) = [one for one in found.memory if one.access == "write"]
    assert (write.requests, write.lanes) == (19 * 8 + 5, 5000)
    assert y.sum() == (found.counted - 1) * 256 + 136
    assert y[:256].all()
    assert y[-136:].all()


COLUMN_SUMS = """
__global__ void column_sums(const float* __restrict__ x, float* __restrict__ y, const int n) {
    float sum = 0;
    for (int k = 0; k < n; ++k) sum += x[k * 32 + threadIdx.x % 32];
    y[threadIdx.x] = sum;
}
"""


def test_warps_that_read_the_same_find_it_in_l1(tmp_path):
    # 64 KiB are more than L1 has for one of many blocks: one warp after another would find nothing
    (tmp_path / "column_sums.cu").write_text(COLUMN_SUMS)
    x, y = np.ones((512, 32), np.float32), np.zeros(128, np.float32)
    with cuda.emulated("counted") as emulation:
        cuda.kernel(tmp_path / "column_sums.cu", "column_sums")(1, 128, x, y, 512)
    assert (y == 512).all()
    (read,) = [one for one in emulation.counts[0].memory if one.array == "x"]
    assert (read.sectors, read.first, read.l1_hits) == (8192, 2048, 6144)


@pytest.mark.parametrize(("resident", "hits"), [(3, 2048), (5, 0)])
def test_resident_blocks_share_l1(tmp_path, resident, hits):
    # 64 KiB, read twice: a third of 256 KiB holds them, a fifth does not
    text = COLUMN_SUMS.replace("x[k * 32", "x[k % 512 * 32")
    (tmp_path / "column_sums.cu").write_text(text)
    x, y = np.ones((512, 32), np.float32), np.zeros(32, np.float32)
    with cuda.emulated("counted", resident_blocks=lambda plan: resident) as emulation:
        cuda.kernel(tmp_path / "column_sums.cu", "column_sums")(1, 32, x, y, 1024)
    (read,) = [one for one in emulation.counts[0].memory if one.array == "x"]
    assert (read.sectors, read.first, read.l1_hits) == (4096, 2048, hits)


@pytest.mark.parametrize("most", [0, -3, 2.5, True, "all"])
def test_a_number_of_blocks_that_is_none_is_refused(most):
    with (
        pytest.raises(ValueError, match="use a whole number from 1, or None for all"),
        cuda.emulated("counted", max_blocks=most),
    ):
        pass


def test_what_follows_a_guarded_load_is_one_request():
    rows, k = 16, 50  # the last step of 16 has loads for two lanes of each row
    ones = np.ones((rows, k), np.float32)
    with minialex.using(linear="tiled"), cuda.emulated("counted") as emulation:
        ops.linear(ones, ones, np.ones(rows, np.float32))
    (found,) = emulation.counts
    stores = [one for one in found.memory if one.access == "write" and one.memory == "shared"]
    assert [(one.requests, one.lanes) for one in stores] == [(32, 1024)] * 2


def test_lanes_meet_after_a_branch_in_a_loop():
    x = np.random.default_rng(0).standard_normal((8, 100)).astype(np.float32)
    with minialex.using(softmax="kernel"), cuda.emulated("counted") as emulation:
        ops.softmax(x)
    (found,) = emulation.counts
    # whether a number is the largest so far, one lane finds otherwise than its neighbours
    assert any(one.divergent for one in found.branches)
    # a warp for each row: three requests of all lanes and one of four, twice for x
    accesses = [one for one in found.memory if one.memory == "global"]
    assert [(one.requests, one.lanes) for one in accesses] == [(32, 800)] * 3


def test_lanes_stay_together_after_a_tensor_core_s_work(tmp_path):
    # one lane computes for all, and not the same one each time
    path = tmp_path / "twice.cu"
    path.write_text("""// needs: sm_80
        #include "mma.cuh"
        __global__ void twice(const float* __restrict__ x, float* __restrict__ y) {
            unsigned a[4] = {}, b[2] = {};
            float d[4] = {};
            for (int i = 0; i < 3; ++i) {
                a[0] = b[0] = __float_as_uint(x[threadIdx.x]);
                mma_tf32(d, a, b);
                if (i == 1) mma_tf32(d, a, b);
            }
            y[threadIdx.x] = d[0];
        }""")
    x = np.ones(32, np.float32)
    with cuda.emulated("counted") as emulation:
        cuda.kernel(path, "twice")(1, 32, x, np.zeros(32, np.float32))
    (found,) = emulation.counts
    assert sum(one.requests for one in found.primitives) == 4
    assert all(one.lanes == 32 * one.requests for one in (*found.primitives, *found.memory))


def test_only_the_kernel_that_was_named_is_counted():
    x, y, gx = np.ones(64, np.float32), np.zeros(64, np.float32), np.zeros(64, np.float32)
    with cuda.emulated("counted", kernel="relu_backward") as emulation:
        cuda.kernel("relu.cu", "relu_forward")(1, 64, x, y, 64)
        cuda.kernel("relu.cu", "relu_backward")(1, 64, x, y, gx, 64)
    assert [one.kernel for one in emulation.counts] == ["relu_backward<float>"]
    assert (y == x).all()


def test_of_other_kernels_as_many_blocks_run_as_if_they_were_counted():
    x, y, gx = (np.ones((100, 64), np.float32) for _ in range(3))
    for counted in "rectify", "rectify_back":
        y[:] = 0
        with cuda.emulated("counted", kernel=counted, max_blocks=5):
            kernel("elementwise.cu", "rectify")(100, 64, x, y, x.size)
            kernel("elementwise.cu", "rectify_back")(100, 64, x, y, gx, x.size)
        ran = np.flatnonzero(y[:, 0]).tolist()
        assert (len(ran), ran[0], ran[-1]) == (5, 0, 99)
    with cuda.emulated():
        kernel("elementwise.cu", "rectify")(100, 64, x, y, x.size)
    assert y.all()


def test_cores_share_the_work_and_count_the_same(monkeypatch):
    def conv(cores):
        monkeypatch.setattr("minialex.cpu.threads.cores", lambda: cores)
        x, y = np.arange(40000, dtype=np.float32) - 3, np.zeros(40000, np.float32)
        with cuda.emulated("counted", max_blocks=None) as emulation:
            cuda.kernel("relu.cu", "relu_forward")(160, 256, x, y, 40000)
        return emulation.counts[0]

    one, three = conv(1), conv(3)
    assert one.memory == three.memory
    assert one.branches == three.branches
    assert one.memory


def test_without_an_emulator_there_is_nothing_to_count():
    with pytest.raises(MinialexError, match="run it 'with minialex"):
        cuda.kernel("relu.cu", "relu_forward")(
            1, 64, np.ones(64, np.float32), np.ones(64, np.float32), 64
        )


def test_the_lines_of_a_file_of_ones_own_are_known(tmp_path):
    # it is the first that the compiler takes code from: no header has any that is used
    file = tmp_path / "scale.cu"
    file.write_text(
        "__global__ void scale(const float* x, float* y) {\n"
        "    y[threadIdx.x] = 2 * x[threadIdx.x];\n"
        "}\n"
    )
    x = np.ones(32, np.float32)
    with cuda.emulated("counted") as emulation:
        cuda.kernel(file, "scale")(1, 32, x, np.zeros_like(x))
    rows = emulation.counts[0].memory
    assert {(row.file, row.line) for row in rows} == {(str(file), 2)}


def test_lanes_that_part_behind_a_call_are_together_again():
    x, y, z = np.arange(33, dtype=np.float32), np.zeros(32, np.float32), np.zeros(160, np.float32)
    with cuda.emulated("counted") as emulation:
        kernel(FILE, "calls")(1, 32, x, y, z)
    (found,) = emulation.counts
    clang = compiler.compiler().is_clang
    functions, shuffles = ("first function", "second function"), ("first shuffle", "second shuffle")
    for marker in (*(f"after the {one}" for one in (*functions, *shuffles)), "after both"):
        write = row(found, marker, "z")
        assert write.lanes == 32, marker
        # clang's hooks do not tell the calls of a function apart
        assert write.requests == 1 or (clang and "function" in marker), marker
    branches = {one.line: one for one in found.branches}
    # and it makes some branches into selections
    for marker in shuffles if clang else (*functions, *shuffles, "after an atomic"):
        branch = branches[line_of(FILE, f"// {marker}")]
        assert (branch.requests, branch.lanes, branch.divergent) == (1, 32, 1), marker
    read = row(found, "in a function", "x")
    assert read.lanes == 64
    assert read.requests == 2 or clang
    assert (z.reshape(5, 32).T == [1, 2, 3, 4, 5]).all()
