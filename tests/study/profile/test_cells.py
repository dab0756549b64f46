"""Which elements of arrays are drawn on a page, and with which values."""

from __future__ import annotations

import numpy as np
import pytest

from minialex.cuda.emulator.report import NamedArray
from minialex.study.profile.cells import MAX_CELLS, cells_of


def drawn(cells, touched):
    """Return the elements that tiles show, in their order, and the note."""
    tiles, note = cells.tiles(np.array(touched))
    found = []
    for first, columns, rows, step, count in tiles:
        window = [first + row * step + n for row in range(rows) for n in range(columns)]
        found += window[:count]
    return found, note


def array(shape, width=4, code="f", shared=False):
    return cells_of(NamedArray("a", shape, width, code, shared))


def test_shared_memory_is_drawn_whole():
    assert drawn(array((8, 9), shared=True), [3]) == (list(range(72)), "drawn whole")


def test_of_a_matrix_the_window_that_is_touched():
    found, note = drawn(array((10, 20)), [20 * 3 + 7, 20 * 5 + 9])
    assert found == [20 * row + column for row in (3, 4, 5) for column in (7, 8, 9)]
    assert note == "3 of 10 rows are drawn, columns 7 to 9 of 20: what this block touches"


def test_planes_have_windows_of_their_own():
    found, _ = drawn(array((2, 8, 8)), [9, 64 + 8 * 7 + 1])
    assert found == [9, 64 + 8 * 7 + 1]


def test_narrow_axes_are_joined_as_a_filter_s_taps():
    tiles, note = array((4, 3, 3, 3)).tiles(np.arange(108))
    assert tiles == [[0, 27, 4, 27, 108]]
    assert note == "drawn whole"


def test_one_axis_is_drawn_in_rows_of_32():
    tiles, _ = array((1000,)).tiles(np.arange(960, 1000))
    assert tiles == [[960, 32, 2, 32, 40]]


def test_a_long_row_is_folded():
    tiles, _ = array((3, 1000)).tiles(np.arange(1000, 1100))
    assert tiles == [[1000, 32, 4, 32, 100]]


def test_a_tall_column_is_cut():
    tiles, _ = array((40, 4), shared=True).tiles(np.arange(160))
    assert [(first, rows) for first, _, rows, *_ in tiles] == [(0, 16), (64, 16), (128, 8)]


def test_a_large_window_is_cut_and_says_so():
    found, note = drawn(array((1000, 100)), np.arange(100_000))
    assert len(found) == MAX_CELLS // 100 * 100
    assert note.startswith("81 of the 1,000 rows that this block touches are drawn")


def test_nothing_touched():
    assert array((4, 4)).tiles(np.empty(0, np.int64)) == ([], "no element is touched")


def raw(values):
    data = np.asarray(values)
    padded = b"".join(one.tobytes().ljust(16, b"\0") for one in data)
    return np.frombuffer(padded, "V16")


@pytest.mark.parametrize(
    ("width", "code", "values", "shown"),
    [
        (4, "f", np.float32([0.1, -2]), [0.1, -2]),
        (8, "f", [1.5, 1 / 3], [1.5, 0.333333]),
        (2, "f", np.float16([0.5, 3]), [0.5, 3]),
        (2, "h", np.float16([0.5, 3]), [0.5, 3]),
        (2, "b", np.uint16([0x3F80, 0xC000]), [1, -2]),
        (4, "i", np.int32([-7, 1 << 30]), [-7, 1 << 30]),
        (1, "u", np.uint8([200, 3]), [200, 3]),
        (8, "i", np.array([-(1 << 40), 5]), [-(1 << 40), 5]),
    ],
)
def test_values_as_numbers(width, code, values, shown):
    cells = array((8,), width, code)
    assert list(cells.decode(np.array([0, width]), width, raw(values)).values()) == shown


def test_a_vector_is_several_elements():
    vector = raw([np.arange(4, dtype=np.float32)])
    assert array((8,)).decode(np.array([16]), 16, vector) == {4: 0, 5: 1, 6: 2, 7: 3}


def test_a_part_of_an_element_is_shown_as_bytes():
    assert array((8,)).decode(np.array([5]), 1, raw(np.uint8([0xAB]))) == {1: "0xab"}


def test_a_struct_is_split_into_words():
    cells = array((6,), 16, "?", shared=True)
    assert (cells.shape, cells.itemsize, cells.type_name) == ((6, 4), 4, "words of a struct")
    found = cells.decode(np.array([20]), 4, raw(np.int32([-3])))
    assert found == {5: -3}
    assert cells.decode(np.array([0]), 4, raw(np.float32([1]))) == {0: "0x3f800000"}
