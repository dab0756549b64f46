"""Profile launches on a machine without a GPU: what they ask of memory, and what that costs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from minialex.cuda import Emulation, emulated
from minialex.cuda.emulator import Counts
from minialex.cuda.emulator.sampling import MAX_BLOCKS
from minialex.study.profile.lines import Line, find, lines
from minialex.study.profile.slowdowns import Slowdown, slowdowns


@dataclass(frozen=True, eq=False)
class LaunchProfile:
    """What one launch asked of memory.

    Attributes
    ----------
    counts : Counts
        Everything that was counted, one row for each line and array.
    """

    counts: Counts

    @cached_property
    def lines(self) -> list[Line]:
        """Every line of which something was counted, in the order of files and text."""
        return lines([self.counts])

    @cached_property
    def slowdowns(self) -> list[Slowdown]:
        """What slows it down, what costs most first."""
        return slowdowns(self.counts)

    def line(self, file: str, number: int) -> Line:
        """Return one line; see `Profile.line`."""
        return find(self.lines, file, number)


@dataclass(frozen=True, eq=False)
class Profile:
    """The launches of a `profiled` block."""

    emulation: Emulation

    @property
    def launches(self) -> list[LaunchProfile]:
        """The launches so far, in order."""
        return [LaunchProfile(counts) for counts in self.emulation.counts]

    def line(self, file: str, number: int) -> Line:
        """Return one line of a kernel's text, over all launches.

        Parameters
        ----------
        file : str
            ``"tile_product.cuh"``, with as much of its path as there is need for.
        number : int
            From 1.

        Raises
        ------
        MinialexError
            If nothing was counted there.
        """
        return find(lines(self.emulation.counts), file, number)


@contextlib.contextmanager
def profiled(
    gpu: str = "H100", *, kernel: str | None = None, max_blocks: int | None = MAX_BLOCKS
) -> Iterator[Profile]:
    """While the block runs, profile the kernels that are launched on NumPy arrays.

    Of a large launch only some blocks run, and the others are taken to be like these; so results
    are not whole.

        with profiled() as profile:
            y = ops.conv2d(x, w)
        assert profile.line("tile_product.cuh", 35).wavefronts_per_request <= 2

    Parameters
    ----------
    gpu : str
        Which GPU to be: ``"T4"``, ``"RTX 3060"``, ``"RTX 4090"``, ``"A100"``, ``"H100"``,
        ``"H200"`` or ``"RTX A6000"``.
    kernel : str, optional
        Profile the kernel of this name only.
    max_blocks : int, optional
        How many blocks of a launch are counted; None for all.

    Yields
    ------
    Profile

    Raises
    ------
    MinialexError
        If there is no such GPU, or no C++ compiler; from a launch, if an access is in no array.
    """
    architecture = "sm_90"
    with emulated(
        "counted", architecture=architecture, kernel=kernel, max_blocks=max_blocks
    ) as emulation:
        yield Profile(emulation)
