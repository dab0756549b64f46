"""Where the copies of a checked launch's arrays lie, and what comes back of them."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np

from minialex.arrays import address_of
from minialex.cuda.emulator.memory import Copies

F32 = np.float32
GUARD_BYTES = 16 << 20
ALIGNMENT_BYTES = 512


def at(address, like):
    """Return the array of that shape and type that lies at an address."""
    raw = (ctypes.c_uint8 * like.nbytes).from_address(address)
    return np.frombuffer(raw, like.dtype).reshape(like.shape)


def test_copies_overlap_as_their_arrays_do_and_lie_as_they_do_in_their_memory():
    memory, other = np.arange(400, dtype=F32), np.arange(3.0)
    inner, first, second, apart = memory[6:8], memory[4:10], memory[8:20], memory[300:306]
    arrays = [second, other, inner, apart.reshape(2, 3), first, first, np.zeros(0, F32)]
    copies = Copies(arrays)
    places = [
        address - copies.addresses[4] for address in (copies.addresses[i] for i in (0, 2, 4, 5))
    ]
    assert places == [16, 8, 0, 0]
    for address, array in zip(copies.addresses, arrays, strict=True):
        assert (at(address, array) == array).all()
    # as far off an aligned address as in the memory that they are a part of
    assert [address % ALIGNMENT_BYTES for address in copies.addresses[:6]] == [
        *(32, 0, 24, 300 * 4 - 2 * ALIGNMENT_BYTES, 16, 16)
    ]


def test_between_arrays_there_is_room_to_be_wrong_in():
    arrays = [np.zeros(5), np.zeros((3, 1000), F32), np.zeros(1, np.uint8)]
    copies = Copies(arrays)
    spans = sorted(
        (address, address + array.nbytes)
        for address, array in zip(copies.addresses, arrays, strict=True)
    )
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start - end >= 2 * GUARD_BYTES - ALIGNMENT_BYTES


def test_what_was_written_comes_back_and_nothing_else():
    memory, other = np.arange(20, dtype=F32), np.arange(6, dtype=np.int16).reshape(2, 3)
    arrays = [memory[2:6], memory[4:8], other, memory[10:12]]
    copies = Copies(arrays)
    for address, array, value in zip(copies.addresses, arrays, (70, 80, 90, 60), strict=True):
        at(address, array)[...] = value
    copies.copy_back([False, True, True, False])
    assert memory.tolist() == [0, 1, 2, 3, *[80] * 4, *range(8, 20)]
    assert (other == 90).all()
    copies.copy_back([True, False, False, False])
    assert memory.tolist() == [0, 1, 70, 70, *[80] * 4, *range(8, 20)]
    assert address_of(memory) not in copies.addresses
