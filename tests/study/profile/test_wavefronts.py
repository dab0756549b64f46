"""What a request costs, compared with known patterns, measurements and a count byte by byte."""

from __future__ import annotations

import numpy as np
import pytest

from minialex.study.profile.wavefronts import bank_words, lane_groups, sectors, wavefronts

LANE = np.arange(32)


@pytest.mark.parametrize(
    ("offsets", "found"),
    [
        (LANE * 4, (4, 4)),
        (LANE * 8, (8, 4)),
        (LANE * 128, (32, 4)),
        (LANE * 132, (32, 4)),
        (LANE * 4 + 4, (5, 4)),
        (np.zeros(32, int), (1, 1)),
        (np.where(LANE < 2, LANE * 4, -1), (1, 1)),
    ],
)
def test_sectors_of_known_patterns(offsets, found):
    assert sectors(offsets, 4) == found


def test_sectors_of_vectors():
    assert sectors(LANE * 16, 16) == (16, 16)


@pytest.mark.parametrize(
    ("step", "count"), [(1, 1), (2, 2), (3, 1), (16, 16), (17, 1), (32, 32), (33, 1), (0, 1)]
)
def test_wavefronts_of_words_apart(step, count):
    assert wavefronts(LANE * step * 4, 4) == (count, 1)


def only(*lanes):
    return np.where(np.isin(LANE, lanes), 4, -1)


# Measured on an A100: l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.
@pytest.mark.parametrize(
    ("width", "index", "count"),
    [
        (8, LANE, 2),
        (8, LANE // 2, 1),
        (16, LANE, 4),
        (16, np.zeros(32, int), 2),
        (16, only(15, 16), 2),
        (16, only(0, 15), 1),
        (16, LANE // 8 * 2 + LANE % 8 // 2 % 2, 2),
        (16, LANE // 8 * 2 + np.where(LANE < 16, LANE % 8 // 2 % 2, LANE % 8 % 2), 4),
        (16, LANE // 16 * 4 + LANE % 16 // 8 + LANE % 8 // 4 * 8, 4),
    ],
)
def test_wavefronts_of_vectors_as_measured(width, index, count):
    assert wavefronts(np.where(index < 0, -1, index * width), width)[0] == count


def test_lanes_of_a_write_do_not_merge():
    assert wavefronts(LANE // 2 * 8, 8, "write") == (2, 2)
    assert wavefronts(np.zeros(32, int), 16, "write") == (4, 4)
    assert lane_groups(only(3, 20), 8, "write") == [[3], [20]]


def test_bytes_of_one_word_are_one():
    assert wavefronts(LANE, 1) == (1, 1)
    assert [len(words) for words in bank_words(LANE, 1)] == [1] * 8 + [0] * 24


@pytest.mark.parametrize("seed", range(40))
def test_random_patterns_byte_by_byte(seed):
    rng = np.random.default_rng(seed)
    width = int(rng.choice([1, 2, 4, 8, 16]))
    offsets = rng.integers(0, rng.choice([8, 64, 500]), 32) * width
    offsets[rng.random(32) < rng.choice([0, 0.5])] = -1
    offsets[rng.integers(32)] = 0
    touched = [set(range(o, o + width)) if o >= 0 else set() for o in offsets.tolist()]
    together = set().union(*touched)
    assert sectors(offsets, width) == (len({b // 32 for b in together}), -(-len(together) // 32))
    groups = 32 * 4 // max(width, 4)
    passes = 0
    for first in range(0, 32, groups):
        words = {byte // 4 for lane in touched[first : first + groups] for byte in lane}
        passes += max(sum(word % 32 == bank for word in words) for bank in range(32))
    assert wavefronts(offsets, width, "write")[0] == passes
