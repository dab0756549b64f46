"""What the units of a layer see along one axis of an image, by arithmetic.

Unit i sees the pixels from ``start + i stride`` on, ``size`` of them. Behind a window of k
elements, d apart, every s of them, with p of padding (Araujo, Norris and Sim, "Computing Receptive
Fields of Convolutional Neural Networks", Distill 2019):

    size += (k - 1) d stride        start -= p stride        stride *= s

from 1, 0 and 1 at the image. Near the border a unit sees less than that, as padding is no pixel;
and what no window of a layer reads, nothing behind it sees. `AxisField.seen` is exact there: it
goes back layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from minialex.wording import counted

SIDES = "row", "column"


@dataclass(frozen=True)
class Windows:
    """Windows over one axis: `count` of them over `size` elements.

    Attributes
    ----------
    size, count, kernel, stride, padding, dilation : int
    """

    size: int
    count: int
    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    def reads(self, i: int) -> Iterator[int]:
        """Yield the elements that window `i` reads."""
        start = i * self.stride - self.padding
        taps = range(start, start + self.kernel * self.dilation, self.dilation)
        return (at for at in taps if 0 <= at < self.size)


@dataclass(frozen=True)
class GridCells:
    """The cells of a grid over one axis, which need not be of one size: adaptive pooling."""

    size: int
    count: int

    def reads(self, i: int) -> Iterator[int]:
        """Yield the elements of cell `i`."""
        return iter(range(i * self.size // self.count, -(-(i + 1) * self.size // self.count)))

    def as_windows(self) -> Windows | None:
        """Return the windows that they are, where they are of one size."""
        width, rest = divmod(self.size, self.count)
        return None if rest else Windows(self.size, self.count, width, width, 0)


Step = Windows | GridCells


@dataclass(frozen=True)
class ClosedForm:
    """What all units of a layer have in common along one axis, but for the border.

    Attributes
    ----------
    size : int
        How many pixels a unit sees.
    stride : int
        How far apart the first pixels of neighbouring units are.
    start : int
        The first pixel of unit 0; below 0 in the padding.
    """

    size: int = 1
    stride: int = 1
    start: int = 0

    def behind(self, windows: Windows) -> ClosedForm:
        """Return that of windows over these units."""
        return ClosedForm(
            self.size + (windows.kernel - 1) * windows.dilation * self.stride,
            self.stride * windows.stride,
            self.start - windows.padding * self.stride,
        )


CLOSED = "size", "stride", "start"
"""The numbers of a `ClosedForm`."""


@dataclass(frozen=True)
class AxisField:
    """What units see along one axis of an image of `pixels`, behind all `steps`."""

    pixels: int
    steps: tuple[Step, ...] = ()

    @property
    def count(self) -> int:
        """How many units there are."""
        return self.steps[-1].count if self.steps else self.pixels

    @cached_property
    def closed(self) -> ClosedForm | None:
        """The closed form; None where the units do not see equally many pixels."""
        found = ClosedForm()
        for step in self.steps:
            windows = step.as_windows() if isinstance(step, GridCells) else step
            if windows is None:
                return None
            found = found.behind(windows)
        return found

    def seen(self, units: Sequence[int]) -> list[int]:
        """Return the pixels that any of the `units` sees, in order."""
        at = set(units)
        for step in reversed(self.steps):
            at = {element for i in at for element in step.reads(i)}
        return sorted(at)

    def behind(self, step: Step) -> AxisField:
        """Return the field behind one more layer."""
        return AxisField(self.pixels, (*self.steps, step))


@dataclass(frozen=True)
class Rectangle:
    """A part of an image, the first and last row and column of it among it.

    Attributes
    ----------
    rows, columns : tuple of int and int
        Empty, where nothing of the image is in it: the last comes before the first.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the image is in it."""
        return any(first > last for first, last in (self.rows, self.columns))

    def __str__(self) -> str:
        if self.is_empty:
            return "nothing of the image: padding alone"
        rows, columns = (
            f"{side} {first}" if first == last else f"{side}s {first}-{last}"
            for side, (first, last) in zip(SIDES, (self.rows, self.columns), strict=True)
        )
        return f"{rows}, {columns} of the image"

    def record(self) -> dict[str, list[int]]:
        """Return it as JSON has it."""
        return {"rows": list(self.rows), "columns": list(self.columns)}


@dataclass(frozen=True)
class Loss:
    """Rows, or columns, of a layer's input that none of its windows reads.

    Attributes
    ----------
    side : str
        "row" or "column".
    size : int
        How many there are.
    read : tuple of int
        Those that are read.
    """

    side: str
    size: int
    read: tuple[int, ...]

    @classmethod
    def of(cls, side: str, step: Step) -> Loss:
        """Return what the windows of a step do not read."""
        read = {at for i in range(step.count) for at in step.reads(i)}
        return cls(side, step.size, tuple(sorted(read)))

    @property
    def lost(self) -> int:
        """How many are not read."""
        return self.size - len(self.read)

    def __str__(self) -> str:
        lost = f"{counted(self.lost, self.side)} lost"
        if self.read and self.read[-1] == len(self.read) - 1:
            return f"{self.side}s 0-{self.read[-1]} of {self.size}: {lost}"
        return f"{len(self.read)} of {self.size} {self.side}s: {lost}"
