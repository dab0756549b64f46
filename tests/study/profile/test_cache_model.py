"""Bytes at each level, worked by hand."""

from __future__ import annotations

import pytest

from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile.cache_model import Levels, levels
from tests.study.profile.made_up import MIB, counts, row

A100 = known_gpu("A100")


def test_what_hits_in_l1_goes_no_further_and_what_fits_in_l2_comes_from_memory_once():
    # 100 requests of 4 sectors, three quarters of which L1 has; 64 KiB, of which 20 sectors are new
    launch = counts(
        row(1, "read", "x", requests=100, l1_hits=3, first=0.2),
        blocks=4,
        arrays=[("x", 65536)],
    )
    (found,) = levels(launch, A100, 1)
    assert found.register == 100 * 128
    assert found.l1 == 100 * 4 * 32
    assert found.l2 == 100 * 32
    assert found.memory == pytest.approx(20 * 32)


def test_shared_memory_reaches_no_cache():
    (found,) = levels(counts(row(1, "read", "tile", "shared", requests=10, lanes=16)), A100, 1)
    assert found == Levels(register=10 * 16 * 4, shared=10 * 16 * 4)


def test_writes_pass_l1():
    launch = counts(row(1, "write", "y", requests=10, sectors=4), arrays=[("y", 4 * MIB)])
    (found,) = levels(launch, A100, 1)
    assert found.l2 == found.memory == 10 * 128


def test_what_is_updated_in_place_goes_both_ways():
    # y += x: three ways of 400 MiB
    size = 400 * MIB
    requests = size / 128
    launch = counts(
        row(1, "read", "y", requests=requests),
        row(1, "read", "x", requests=requests),
        row(1, "write", "y", requests=requests),
        blocks=4 * 108,
        arrays=[("y", size), ("x", size)],
    )
    assert [one.memory for one in levels(launch, A100, 1)] == pytest.approx([size] * 3)


def test_what_an_atomic_adds_up_in_l2_reaches_memory_once_each_way():
    # 1000 warps add 32 numbers each to the same 128 bytes
    launch = counts(
        row(1, "atomic", "sums", requests=1000, first=0.004), blocks=1000, arrays=[("sums", 128)]
    )
    (found,) = levels(launch, A100, 1)
    assert found.l2 == 1000 * 128
    assert found.memory == pytest.approx(2 * 128)


def test_an_array_that_blocks_share_and_l2_does_not_hold_is_read_once_per_wave():
    # 4 waves of 108 blocks; each reads all 400 MiB: from memory once and then what L2 has lost
    size = 400 * MIB
    blocks = 4 * 108
    sectors = size // 32
    launch = counts(
        row(1, "read", "x", requests=blocks * sectors / 4), blocks=blocks, arrays=[("x", size)]
    )
    (found,) = levels(launch, A100, 1)
    assert found.l2 == blocks * size
    lost = 1 - 40 * MIB / size
    assert found.memory == pytest.approx(size + 3 * size * lost)


def test_an_array_that_blocks_divide_is_read_once():
    size = 400 * MIB
    launch = counts(row(1, "read", "x", requests=size / 128), blocks=4 * 108, arrays=[("x", size)])
    (found,) = levels(launch, A100, 1)
    assert found.memory == pytest.approx(size)


def test_levels_add_up():
    assert Levels(1, 2, 3, 4, 5) + Levels(10, 20, 30, 40, 50) == Levels(11, 22, 33, 44, 55)
