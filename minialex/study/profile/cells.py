"""The elements of an array as a page draws them: which, where, and with which value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.cuda.emulator.report import NamedArray

MAX_CELLS = 8_192
"""So many elements of an array are drawn at most."""

_COLUMNS_OF_A_LINE = 32
"""An array of one axis is drawn in rows of so many."""

_NARROW, _WIDE = 6, 64
"""Rows of fewer columns than the first are joined to rows of at most as many as the second."""

_SHORT = 16
"""Planes of few columns and many rows are cut into parts of so many rows, side by side."""

_WHOLE = 1 << 24
"""Words of unknown type are shown as integers below that, as bits beyond."""

Tile = list[int]
"""First element, columns, rows, elements from one row to the next, and how many cells in all."""


@dataclass(frozen=True)
class Cells:
    """How the elements of an array are told apart and shown.

    Attributes
    ----------
    shape : tuple of int
        That of the array; elements that are structs are split into words of four bytes.
    itemsize : int
        Of one cell.
    code : str
        The type, as that of a `NamedArray`.
    """

    shape: tuple[int, ...]
    itemsize: int
    code: str
    shared: bool

    @property
    def type_name(self) -> str:
        """What a reader calls the type of a cell."""
        names = {"f": "float", "h": "half", "b": "bfloat16", "i": "int", "u": "unsigned int"}
        if self.code == "f":
            return {2: "half", 8: "double"}.get(self.itemsize, "float")
        if self.code in "iu" and self.itemsize != 4:
            return f"{names[self.code]} of {8 * self.itemsize} bits"
        return names.get(self.code, "words of a struct")

    def elements(
        self, offsets: np.ndarray[Any, np.dtype[np.int64]], width: int
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the cells that accesses of `width` bytes touch, ascending; offset -1 is none."""
        first = np.unique(offsets[offsets >= 0]) // self.itemsize
        return np.unique(first[:, None] + np.arange(max(1, width // self.itemsize)))

    def decode(
        self,
        offsets: np.ndarray[Any, np.dtype[np.int64]],
        width: int,
        raw: np.ndarray[Any, np.dtype[np.void]],
    ) -> dict[int, Any]:
        """Return the value of each cell that accesses touch, from their bytes, as JSON has it.

        Parameters
        ----------
        offsets : (n,) int64 array
            In the order in which they happened: the last value of a cell stays.
        width : int
            Bytes per access; of more than 16 the rest is not known.
        raw : (n,) array of 16 bytes
        """
        each = max(1, min(width, 16) // self.itemsize)
        out: dict[int, Any] = {}
        for offset, data in zip(offsets.tolist(), raw, strict=True):
            content = data.tobytes()[: min(width, 16)]
            for n in range(each):
                part = content[n * self.itemsize : (n + 1) * self.itemsize]
                out[offset // self.itemsize + n] = self._value(part)
        return out

    def _value(self, data: bytes) -> Any:
        if len(data) < self.itemsize:
            return "0x" + data[::-1].hex()
        if self.code == "b":
            return _number(float(np.frombuffer(b"\0\0" + data, np.float32)[0]))
        if self.code in "fh":
            return _number(float(np.frombuffer(data, f"f{self.itemsize}")[0]))
        if self.code in "iu":
            return int(np.frombuffer(data, f"{self.code}{self.itemsize}")[0])
        word = int.from_bytes(data, "little", signed=True)
        return word if abs(word) < _WHOLE else "0x" + data[::-1].hex()

    def tiles(self, touched: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[list[Tile], str]:
        """Return the rectangles to draw, and a sentence that says what part of the array they are.

        Shared memory is drawn whole, of other arrays the rows and columns that were touched.
        """
        size = math.prod(self.shape)
        whole = self.shared and size <= MAX_CELLS
        touched = np.arange(size) if whole else touched[(touched >= 0) & (touched < size)]
        if not len(touched):
            return [], "no element is touched"
        columns, rows = self._matrix()
        row, column = touched // columns, touched % columns
        left, right = int(column.min()), int(column.max()) + 1
        bands = [
            band
            for plane in np.unique(row // rows).tolist()
            for band in self._bands(np.unique(row[row // rows == plane]))
        ]
        tiles: list[Tile] = []
        room, shown = MAX_CELLS, 0
        for first, count in bands:
            fits = min(count, room // (right - left))
            if fits:
                tiles += self._folded(first * columns + left, right - left, fits, columns, size)
                room, shown = room - fits * (right - left), shown + fits
        drawn = (shown, sum(count for _, count in bands))
        return tiles, self._note(whole, (left, right), columns, drawn, -(-size // columns))

    def _bands(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[tuple[int, int]]:
        """Return the first and the number of the rows to draw in one plane."""
        if len(self.shape) > 1:
            return [(int(rows[0]), int(rows[-1]) + 1 - int(rows[0]))]
        parts = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        return [(int(part[0]), len(part)) for part in parts]

    def _folded(self, first: int, columns: int, rows: int, step: int, size: int) -> list[Tile]:
        """Return the tiles of a window: long rows are folded, tall columns are cut."""
        if columns <= _NARROW and rows > 2 * _SHORT:
            cuts = range(0, rows, _SHORT)
            heights = [min(_SHORT, rows - cut) for cut in cuts]
            return [
                [first + cut * step, columns, height, step, columns * height]
                for cut, height in zip(cuts, heights, strict=True)
            ]
        if rows > 2 or columns <= _WIDE:
            return [[first, columns, rows, step, min(columns * rows, size - first)]]
        across = _COLUMNS_OF_A_LINE
        starts = range(first, first + rows * step, step)
        return [[start, across, -(-columns // across), across, columns] for start in starts]

    def _matrix(self) -> tuple[int, int]:
        """Return the columns of a row, and the rows of a plane."""
        size = math.prod(self.shape)
        if len(self.shape) < 2:
            return min(size, _COLUMNS_OF_A_LINE), max(1, -(-size // _COLUMNS_OF_A_LINE))
        *rest, columns = self.shape
        narrow = columns < _NARROW
        while rest and narrow and columns * rest[-1] <= _WIDE:
            columns *= rest.pop()
        return max(1, columns), max(1, rest[-1] if rest else 1)

    def _note(
        self,
        whole: bool,
        window: tuple[int, int],
        columns: int,
        rows: tuple[int, int],
        all_rows: int,
    ) -> str:
        left, right = window
        if rows[0] < rows[1]:
            return (
                f"{rows[0]:,} of the {rows[1]:,} rows that this block touches are drawn, "
                f"columns {left} to {right - 1} of {columns}"
            )
        if whole or (rows[1] == all_rows and right - left == columns):
            return "drawn whole"
        if len(self.shape) < 2:
            return "the part that this block touches is drawn, 32 elements in a row"
        return (
            f"{rows[1]:,} of {all_rows:,} rows are drawn, columns {left} to {right - 1} "
            f"of {columns}: what this block touches"
        )


def cells_of(array: NamedArray) -> Cells:
    """Return the cells of an array; structs are split."""
    if array.code in "fhbiu" and array.code:
        return Cells(array.shape, array.bytes, array.code, array.shared)
    if array.bytes % 4 == 0 and array.bytes > 4:
        return Cells((*array.shape, array.bytes // 4), 4, "?", array.shared)
    return Cells(array.shape, array.bytes, "?", array.shared)


def _number(value: float) -> float | int | str:
    """Return six digits of a float; JSON has no NaN and no infinity."""
    if not math.isfinite(value):
        return str(value)
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
