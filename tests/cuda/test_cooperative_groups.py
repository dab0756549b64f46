"""Groups of threads: who is in them, and what they do together, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import EmulationError
from tests.cuda.tools import KERNELS, kernel, line_of

FILE = "library/cooperative_groups.cu"


def run(name, grid, block, *arrays, mode="checked", seed=None):
    with cuda.emulated(mode, seed=seed):
        kernel(FILE, name)(grid, block, *arrays)


def test_who_is_where():
    out = np.zeros((96, 18), np.int32)
    run("ranks", 2, (16, 3), out)
    i = np.arange(48)
    for block, rows in enumerate(out.reshape(2, 48, 18)):
        expected = [i, 48 + 0 * i, 48 * block + i, 96 + 0 * i, i % 8, 8 + 0 * i, i // 8, 6 + 0 * i]
        expected += [i % 4, i % 8 // 4, 2 + 0 * i, i // 8, i % 16, 16 + 0 * i, block + 0 * i]
        expected += [i % 16, 3 + 0 * i, i % 16]
        assert (np.stack(expected) == rows.T).all()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_tiles(mode):
    x = np.random.default_rng(0).integers(1, 100, 32).astype(np.int32)
    out = np.zeros((17, 32), np.int32)
    run("tiles", 1, 32, x, out, mode=mode, seed=3)
    t, r = x.reshape(4, 8), np.arange(8)

    def everyone(values):
        return np.repeat(np.asarray(values), 8)

    def bits(truth):
        return (truth.reshape(4, 8) << r).sum(axis=1)

    assert (out[0] == everyone(t[:, 3])).all()
    assert (out[1] == t[:, np.where(r < 2, r, r - 2)].ravel()).all()
    assert (out[2] == t[:, np.where(r > 5, r, r + 2)].ravel()).all()
    assert (out[3] == t[:, r ^ 5].ravel()).all()
    assert (out[4] == everyone((t > 90).any(axis=1))).all()
    assert (out[5] == everyone((t > 10).all(axis=1))).all()
    assert (out[6] == everyone(bits(x > 50))).all()
    alike = (t[:, :, None] // 10 == t[:, None, :] // 10).astype(int) << r
    assert (out[7] == alike.sum(axis=2).ravel()).all()
    assert (out[8] == everyone(t.sum(axis=1))).all()
    assert (out[9] == x.min()).all()
    assert (out[10] == everyone(t.max(axis=1))).all()
    assert (out[11] == everyone(np.bitwise_xor.reduce(t, axis=1))).all()
    assert (out[12] == t.cumsum(axis=1).ravel()).all()
    assert (out[13] == x.cumsum() - x).all()
    assert not out[14:16].any()
    assert out[16].all()


def test_partitions():
    x = np.random.default_rng(1).integers(1, 100, 32).astype(np.int32)
    out, kept, count = np.zeros((5, 32), np.int32), np.zeros(32, np.int32), np.zeros(1, np.int32)
    run("partitions", 1, 32, x, out, kept, count)
    for i, v in enumerate(x):
        alike = np.flatnonzero(x % 2 == v % 2)
        assert out[:4, i].tolist() == [
            len(alike),
            int((alike < i).sum()),
            int(x[alike].sum()),
            int(x[alike[0]]),
        ]
        assert out[4, i] == (x % 3 == v % 3).sum()
    odd = x[x % 2 == 1]
    assert count[0] == len(odd)
    assert (kept[: len(odd)] == odd).all()
    assert not kept[len(odd) :].any()


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_lanes_that_run_together_are_all_that_come_to_a_call(seed, mode):
    out = np.zeros((3, 64), np.uint32)
    run("together", 1, 50, out, mode=mode, seed=seed)
    lanes = np.arange(64)[:50]
    full = np.where(lanes < 32, 0xFFFFFFFF, (1 << 18) - 1)

    def mask(chosen):
        return sum(1 << int(lane) % 32 for lane in chosen)

    for i in lanes:
        warp = lanes[lanes // 32 == i // 32]
        assert out[0, i] == full[i]
        assert out[1, i] == mask(warp[warp % 3 >= i % 3])
        odd = warp[warp % 4 == 1]
        assert out[2, i] == (mask(odd) if i % 4 == 1 else len(warp) - len(odd))


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_groups_through_their_base(seed):
    x = np.random.default_rng(2).integers(0, 1000, 128).astype(np.int32)
    blocks, tiles = np.zeros(2, np.int32), np.zeros(8, np.int32)
    run("sums", 2, 64, x, blocks, tiles, seed=seed)
    assert (blocks == x.reshape(2, -1).sum(axis=1)).all()
    assert (tiles == x.reshape(8, -1).sum(axis=1)).all()


@pytest.mark.parametrize("seed", [None, 1])
def test_a_missing_wait_of_a_group_is_a_race(seed):
    arrays = np.zeros(128, np.int32), np.zeros(2, np.int32), np.zeros(8, np.int32)
    with (
        source.edited(KERNELS / FILE, "group.sync();  // read", ""),
        pytest.raises(EmulationError, match=r"scratch\[\d+\]") as caught,
    ):
        run("sums", 2, 64, *arrays, seed=seed)
    assert caught.value.kind == "race"


def test_a_wait_that_a_thread_misses_is_found_at_its_line():
    arrays = np.zeros(128, np.int32), np.zeros(2, np.int32), np.zeros(8, np.int32)
    missed = "cg::sync(block);  // all"
    with (
        source.edited(KERNELS / FILE, missed, f"if (threadIdx.x != 5) {missed}"),
        pytest.raises(EmulationError) as caught,
    ):
        run("sums", 2, 64, *arrays)
    assert caught.value.kind == "warp"
    assert f"{FILE}:{line_of(FILE, '// all')}" in str(caught.value)
    assert f"{FILE}:{line_of(FILE, '// written')}" in str(caught.value)


def test_to_wait_for_all_blocks_is_refused_in_one_line():
    with cuda.emulated(), pytest.raises(EmulationError) as caught:
        kernel("library/whole_grid.cu", "waits_for_all")(2, 1, np.zeros(2, np.int32))
    first = str(caught.value).splitlines()[1]
    assert "whole_grid.cu:5" in first
    assert "runs blocks one after another" in first
