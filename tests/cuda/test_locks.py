"""What locks, tickets and flags guard is ordered, and what they do not guard is a race."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from tests.cuda.test_right_kernels import every_run
from tests.cuda.tools import kernel, line_of

I32 = np.int32
FILE = "locks.cu"
SEEDS = [None, 0, 1, 2, 3]


def zeros(*shape):
    return np.zeros(shape, I32)


def launch(name, grid, block, *args, mode="checked", seed=None):
    with cuda.emulated(mode, seed=seed, max_blocks=None):
        kernel(FILE, name)(grid, block, *args)


@every_run
@pytest.mark.parametrize(("grid", "block"), [(1, 64), (4, 33), (50, 1)])
def test_a_lock_guards_between_threads_and_blocks(mode, seed, grid, block):
    lock, total = zeros(2), zeros(3)
    launch("count_under_lock", grid, block, lock, total, 0, mode=mode, seed=seed)
    assert total.tolist() == [grid * block, (grid + 1) // 2 * block, 0]


@every_run
@pytest.mark.parametrize("fenced", [0, 1])
def test_lanes_of_a_warp_contend_for_a_lock_in_shared_memory(mode, seed, fenced):
    out = zeros(3, 65)
    launch("list_of_block", 3, 64, out, fenced, 0, mode=mode, seed=seed)
    assert (np.sort(out) == np.arange(65)).all()


@every_run
def test_who_has_the_lock_may_wait_while_others_spin(mode, seed):
    out = zeros(2 * 64)
    launch("halves_take_turns", 2, 64, out, mode=mode, seed=seed)
    assert (out == 3 * 64).all()


@every_run
@pytest.mark.parametrize("block", [34, 64])
def test_what_is_known_is_handed_on(mode, seed, block):
    out = zeros(1)
    launch("lock_after_lock", 1, block, zeros(2), zeros(1), out, mode=mode, seed=seed)
    assert out[0] == 7


@every_run
@pytest.mark.parametrize("size", [10, 100])
def test_a_lock_for_each_of_many(mode, seed, size):
    table = zeros(size)
    launch("locks_of_a_table", 3, 40, zeros(size), table, size, mode=mode, seed=seed)
    assert table.sum() == 6 * size


@every_run
def test_tickets(mode, seed):
    total = zeros(1)
    launch("ticket_lock", 3, 6, zeros(1), zeros(1), total, mode=mode, seed=seed)
    assert total[0] == sum(3**i for i in range(18))


@every_run
def test_a_flag_in_global_memory(mode, seed):
    out = zeros(3)
    launch("maker_and_taker", 1, 64, zeros(1), zeros(1), out, 0, mode=mode, seed=seed)
    assert out.tolist() == [5, 6, 7]


@every_run
@pytest.mark.parametrize("atomic", [0, 1])
def test_releases_in_ptx(mode, seed, atomic):
    out = zeros(1)
    launch("handed_on_in_ptx", 1, 64, zeros(1), zeros(1), out, atomic, 0, mode=mode, seed=seed)
    assert out[0] == 5


@every_run
def test_blocks_wait_for_those_that_began_before(mode, seed):
    x, all_ = np.arange(7 * 32, dtype=I32), zeros(1)
    sums, begun = zeros(7), zeros(1)
    launch("running_sums", 7, 32, x, sums, zeros(7), begun, all_, 0, mode=mode, seed=seed)
    assert sums.tolist() == x.reshape(7, 32).sum(1).cumsum().tolist()
    assert (all_[0], begun[0]) == (sums[-1], 0)


@every_run
def test_what_is_handed_on_in_the_flag_needs_no_fence(mode, seed):
    x, states = np.arange(1, 8, dtype=I32), np.zeros(7, np.int64)
    launch("sums_in_flags", 7, 32, x, states, zeros(1), mode=mode, seed=seed)
    assert states.tolist() == x.cumsum().tolist()


@every_run
def test_volatile_with_barriers_of_the_warp(mode, seed):
    out = zeros(1)
    launch("lanes_in_step", 1, 32, out, 0, mode=mode, seed=seed)
    assert out[0] == 32 * 31 // 2


COUNT = ("count_under_lock", 1, 64, zeros(2), zeros(3))
COUNT_OF_BLOCKS = ("count_under_lock", 4, 1, *COUNT[3:])
TAKE = ("maker_and_taker", 1, 64, zeros(1), zeros(1), zeros(3))
RACES = {
    "two locks for one thing": ((*COUNT, 1), "FAULT guarded"),
    "no lock": ((*COUNT, 2), "FAULT guarded"),
    "no lock between blocks": ((*COUNT_OF_BLOCKS, 2), "FAULT guarded"),
    "a fence that comes before what it should order": ((*COUNT, 3), "FAULT guarded"),
    "the same between blocks": ((*COUNT_OF_BLOCKS, 3), "FAULT guarded"),
    "a fence of the block between blocks": ((*COUNT_OF_BLOCKS, 4), "FAULT guarded"),
    "no fence at a lock in global memory": ((*COUNT, 5), "FAULT guarded"),
    "no fence at a lock between blocks": ((*COUNT_OF_BLOCKS, 5), "FAULT guarded"),
    "read without the lock": ((*COUNT, 7), "FAULT unguarded"),
    "no lock of the block": (("list_of_block", 1, 64, zeros(65), 1, 1), "FAULT unlocked"),
    "a flag before what it announces": ((*TAKE, 1), "FAULT taken"),
    "a flag without a fence": ((*TAKE, 2), "FAULT taken"),
    "a store in PTX that releases nothing": (
        ("handed_on_in_ptx", 1, 64, zeros(1), zeros(1), zeros(1), 0, 1),
        "FAULT relaxed",
    ),
    "not waited for": ((*TAKE, 3), "FAULT taken"),
    "a sum handed on in the block alone": (
        ("running_sums", 7, 32, zeros(7 * 32), zeros(7), zeros(7), zeros(1), zeros(1), 1),
        "FAULT before",
    ),
    "a counter that is only volatile": (("volatile_counter", 2, 1, zeros(1)), "FAULT lost"),
    "lanes that are taken to run in step": (("lanes_in_step", 1, 32, zeros(1), 1), "FAULT in step"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", RACES)
def test_what_nothing_orders_is_a_race(what, seed):
    (name, grid, block, *args), marker = RACES[what]
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with pytest.raises(cuda.EmulationError) as info:
        launch(name, grid, block, *args, seed=seed)
    assert info.value.kind == "race"
    assert f"{FILE}:{line_of(FILE, marker)} " in str(info.value)


def test_a_lock_that_nobody_opens():
    with pytest.raises(cuda.EmulationError) as info:
        launch("count_under_lock", 1, 64, zeros(2), zeros(3), 6)
    error = info.value
    assert (error.kind, error.array, error.index) == ("endless wait", "lock", 0)
    assert error.line == line_of(FILE, "while (atomicCAS(lock, 0, 1) != 0) {")
    assert "count_under_lock: waits for ever for lock[0] to change: all other" in str(error)


def test_a_wait_for_another_block():
    launch("wait_for_all_blocks", 1, 64, zeros(1))
    with pytest.raises(cuda.EmulationError, match="another block runs only when this") as info:
        launch("wait_for_all_blocks", 2, 64, zeros(1))
    assert (info.value.kind, info.value.line) == ("endless wait", line_of(FILE, "FAULT waits"))
