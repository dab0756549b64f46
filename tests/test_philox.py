"""Philox4x32-10 against the known answers of its authors, and against whole-number arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import philox
from minialex.reference.dropout import philox_block, random_word

# counter, key and result from the file kat_vectors of Random123, the authors' own implementation
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]

words = st.integers(0, 2**32 - 1)
wide = st.integers(0, 2**64 - 1)


def in_arrays(counter, key):
    seed = key[0] | key[1] << 32
    blocks = philox.philox4x32(tuple(np.array([c], np.uint64) for c in counter), seed)
    return [int(b[0]) for b in blocks]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    assert in_arrays(counter, key) == answer
    assert philox_block(counter, key) == answer


@given(st.lists(words, min_size=4, max_size=4), st.lists(words, min_size=2, max_size=2))
def test_arrays_agree_with_whole_numbers(counter, key):
    assert in_arrays(counter, key) == philox_block(counter, key)


@given(st.integers(0, 9), wide, wide)
def test_stream_agrees_with_whole_numbers(n, seed, offset):
    stream = philox.bits(np, n, seed=seed, offset=offset)
    assert stream.dtype == np.uint32
    assert stream.tolist() == [random_word(i, seed, offset) for i in range(n)]


@given(st.integers(0, 40), st.integers(0, 40), wide)
def test_a_shorter_stream_is_the_start_of_a_longer_one(n, m, seed):
    long = philox.bits(np, max(n, m), seed=seed, offset=1)
    short = philox.bits(np, min(n, m), seed=seed, offset=1)
    assert np.array_equal(long[: len(short)], short)


@given(st.integers(0, 40), st.integers(0, 12), wide, wide)
def test_a_stream_goes_on_from_any_block(n, block, seed, offset):
    whole = philox.bits(np, 4 * block + n, seed=seed, offset=offset)
    rest = philox.bits(np, n, seed=seed, offset=offset, block=block)
    assert np.array_equal(rest, whole[4 * block :])


def test_blocks_are_counted_in_64_bits():
    late = philox.bits(np, 4, seed=5, offset=6, block=2**32 + 7)
    assert late.tolist() == philox_block([7, 1, 6, 0], [5, 0])


def test_streams_differ_in_seed_offset_and_both_halves_of_each():
    streams = {
        philox.bits(np, 4, seed=seed, offset=offset).tobytes()
        for seed in (0, 1, 2**32)
        for offset in (0, 1, 2**32)
    }
    assert len(streams) == 9


def test_bits_look_random():
    stream = philox.bits(np, 2**16, seed=3, offset=0)
    ones = np.unpackbits(stream.view(np.uint8))
    # 2^21 fair coins: five standard deviations
    assert abs(ones.mean() - 0.5) < 5 * 0.5 / np.sqrt(ones.size)
    assert abs(np.corrcoef(stream[:-1], stream[1:])[0, 1]) < 5 / np.sqrt(stream.size)


def test_generator_hands_out_each_stream_once():
    generator = philox.Generator(seed=5)
    assert [generator.draw() for _ in range(3)] == [{"seed": 5, "offset": i} for i in range(3)]
    assert generator.offset == 3
    # the two are all of its state
    assert repr(generator) == "Generator(seed=5, offset=3)"
    with generator.offsets_on_device(np.zeros(1)):
        assert generator == philox.Generator(5, 3)


def test_manual_seed_starts_the_default_generator_afresh():
    before = philox.default_generator.seed, philox.default_generator.offset
    try:
        philox.manual_seed(11)
        first = philox.default_generator.draw()
        philox.default_generator.draw()
        philox.manual_seed(11)
        assert philox.default_generator.draw() == first == {"seed": 11, "offset": 0}
    finally:
        philox.default_generator.seed, philox.default_generator.offset = before
