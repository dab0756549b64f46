"""Kernels that look wrong and are right run, in every mode and schedule, and are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from tests.cuda.tools import kernel, line_of

F32, I32 = np.float32, np.int32
FILE = "right.cu"
RUNS = [("fast", None), ("counted", None), *[("checked", seed) for seed in (None, 0, 1, 2, 3)]]
every_run = pytest.mark.parametrize(("mode", "seed"), RUNS)


def launch(name, grid, block, *args, mode="checked", seed=None, strict=False, **options):
    with cuda.emulated(mode, seed=seed, strict_alignment=strict, max_blocks=None):
        kernel(FILE, name)(grid, block, *args, **options)


def bits(flags):
    """Return flags of lanes as the int of a vote."""
    return int(np.uint32(sum(1 << lane for lane, flag in enumerate(flags) if flag)).view(I32))


@every_run
@pytest.mark.parametrize(("block", "n"), [(32, 32), (16, 16), (32, 20), (48, 48), (64, 37), (1, 1)])
def test_a_full_mask_is_of_the_lanes_that_have_not_returned(mode, seed, block, n):
    x = np.random.default_rng(n).integers(0, 3, block).astype(I32)
    out = np.zeros((block, 8), I32)
    launch("full_masks", 1, block, x, out, n, mode=mode, seed=seed)
    for first in range(0, n, 32):
        warp = x[first : min(first + 32, n)]
        everyone = bits(np.ones(len(warp)))
        for lane, value in enumerate(warp):
            assert out[first + lane].tolist() == [
                *(warp.sum(), warp.max(), bits(warp > 0), 1, 0, bits(warp == value), everyone, 1)
            ]


@every_run
@pytest.mark.parametrize(("block", "n"), [(32, 32), (16, 16), (32, 20), (40, 40)])
def test_a_sum_of_the_lanes_there_are(mode, seed, block, n):
    x, out = np.arange(block, dtype=F32), np.zeros(block, F32)
    launch("shuffled_sum", 1, block, x, out, n, mode=mode, seed=seed)
    assert out[0] == x[: min(n, 32)].sum()


@every_run
def test_a_shuffle_from_a_lane_that_is_not_there_gives_nan(mode, seed):
    x, out = np.arange(40, dtype=F32), np.zeros(40, F32)
    launch("from_the_next", 1, 40, x, out, mode=mode, seed=seed)
    # lane 31 reads its own value
    np.testing.assert_array_equal(out, [*range(1, 32), 31, *range(33, 40), np.nan])


@every_run
@pytest.mark.parametrize("first", [0, 1])
def test_lanes_that_return_are_waited_for_no_longer(mode, seed, first):
    out = np.zeros(64, I32)
    launch("returned_meanwhile", 1, 64, out, first, mode=mode, seed=seed)
    assert out[first::2].tolist() == [t ^ 2 for t in range(first, 64, 2)]


@every_run
def test_shared_arrays_of_scalars_take_vectors(mode, seed):
    x, out = np.arange(64, dtype=F32), np.zeros(64, F32)
    launch("vectors_of_scalars", 1, 16, x, out, 0, mode=mode, seed=seed)
    np.testing.assert_array_equal(out, 2 * x)


def test_where_alignment_is_strict_the_message_names_the_remedy():
    x, out = np.arange(64, dtype=F32), np.zeros(64, F32)
    with pytest.raises(cuda.EmulationError) as info:
        launch("vectors_of_scalars", 1, 16, x, out, 0, strict=True)
    assert (info.value.kind, info.value.line) == ("misaligned", line_of(FILE, "into scalars"))
    first = str(info.value).splitlines()[0]
    assert first == (
        "vectors_of_scalars: misaligned write: 16 bytes at box[0], which a GPU takes only at a "
        "multiple of as many: declare box with __align__(16)"
    )


def test_a_vector_across_its_alignment_is_wrong():
    x, out = np.arange(64, dtype=F32), np.zeros(64, F32)
    with pytest.raises(cuda.EmulationError, match=r"16 bytes at box\[1\].* as many\n") as info:
        launch("vectors_of_scalars", 1, 1, x, out, 1)
    assert info.value.kind == "misaligned"


@every_run
@pytest.mark.parametrize(("grid", "block"), [(1, 32), (3, 64), (2, 48)])
def test_several_threads_write_one_value(mode, seed, grid, block):
    x = np.random.default_rng(block).integers(-2, 2, grid * block).astype(I32)
    x[:block] = -1
    found, counts = np.zeros(1, I32), np.zeros((grid, 4), F32)
    launch("all_say_so", grid, block, x, found, counts, x.size - 5, mode=mode, seed=seed)
    positive = (x[:-5] > 0).astype(I32)
    per_block = np.add.reduceat(positive, np.arange(0, x.size, block))
    assert found[0] == positive.any()
    assert counts[:, 0].tolist() == (2 + (per_block > 0)).tolist()
    assert counts[:, 1:].tolist() == [[count, grid, x.size - 5] for count in per_block]


@every_run
def test_values_are_one_whatever_the_width_of_what_writes_them(mode, seed):
    out = np.zeros(4, I32)
    launch("pieces_and_whole", 2, 64, out, mode=mode, seed=seed)
    assert out.tolist() == [0, 1, 2, 3]


def test_kernels_of_the_package_are_held_to_what_the_language_promises():
    use = "__shared__ T a[4]; *(float4*)a = make_float4(x[0], x[0], x[0], x[0]); "
    store = "slice.store(pack, y);"
    x, y = np.zeros(1, F32), np.zeros(1, F32)
    with (
        cuda.edited("relu.cu", store, f"{use}if (a[0] < 1) {store}"),
        cuda.emulated("checked"),
        pytest.raises(cuda.EmulationError, match="misaligned write: 16 bytes at a"),
    ):
        cuda.kernel("relu.cu", "relu_forward")(1, 1, x, y, 1)


@every_run
def test_a_loop_that_compares_and_swaps_may_look_first(mode, seed):
    x, total = np.arange(128, dtype=np.float64), np.zeros(1)
    launch("sum_by_swaps", 4, 32, x, total, mode=mode, seed=seed)
    assert total[0] == x.sum()


@pytest.mark.parametrize("seed", range(4))
def test_a_sum_that_is_read_too_early_is_a_race(seed):
    with pytest.raises(cuda.EmulationError, match=r"race on total\[0\].*: an atomic and a read"):
        launch("sum_read_too_early", 1, 64, np.ones(64, I32), np.zeros(64, I32), seed=seed)


@every_run
def test_gaps_between_members_need_not_be_written(mode, seed):
    x, y = np.random.default_rng(1).standard_normal(64), np.zeros(1, I32)
    launch("argmax", 1, 64, x, y, mode=mode, seed=seed)
    assert y[0] == x.argmax()


def test_a_member_that_is_read_and_was_not_written_is_told():
    with pytest.raises(cuda.EmulationError, match=r"uninitialised shared memory: reads best"):
        launch("half_a_struct", 1, 64, np.arange(64.0), np.zeros(64, I32))
