"""A puzzle in CUDA: a copy of one of the package's kernel files, with something wrong in it.

Nothing is written: while a solution is tried, kernels see it in the place of the file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minialex import cuda
from minialex.autograd import OPS
from minialex.check import CASES, Case, CaseFindings, CheckRun, Pair
from minialex.cuda import source
from minialex.cuda.emulator.compiler import compiler
from minialex.errors import MinialexError
from minialex.study.puzzles.limits import Limit, within
from minialex.study.puzzles.puzzle import SEEDS, TYPES, Puzzle, SolutionError, redrawn

MAX_COMPILER_LINES = 8

Edit = tuple[str, str]
"""A piece of a file, which stands there once, and what comes in its place."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelPuzzle(Puzzle):
    """A kernel file with something wrong in it.

    Attributes
    ----------
    file : str
        Which of the package's.
    op, implementation : str
        What runs the kernels.
    edits : tuple of (old, new)
        What is done to the file: what undoes that is the answer.
    limits : tuple of Limit
        What a profile must not exceed.
    profiled_on : Case, optional
        What that profile is taken on, in float32.
    """

    file: str
    op: str
    implementation: str
    edits: tuple[Edit, ...]
    limits: tuple[Limit, ...] = ()
    profiled_on: Case | None = None

    @property
    def suffix(self) -> str:
        """That of the kernel file."""
        return self.file[self.file.rindex(".") :]

    @property
    def start(self) -> str:
        """The file with something wrong in it."""
        return edited(self.answer, self.edits)

    @property
    def answer(self) -> str:
        """The file as the package has it."""
        return f"// minialex puzzle show {self.name}\n{self._own}"

    @functools.cached_property
    def _own(self) -> str:
        return source.path_of(self.file).read_text(encoding="utf-8")

    @property
    def checked_by(self) -> str:
        """Which cases, and how they run."""
        counted = ", and what a profile counts" if self.limits else ""
        return (
            f"all {len(CASES[self.op])} cases of {self.op}, in float64 and float32, under "
            f"emulation that checks each access to memory, in {len(SEEDS)} orders of threads, each "
            f"with other numbers{counted}"
        )

    def checks(self, text: str, seeds: Sequence[int] = SEEDS) -> Iterator[CaseFindings]:
        """Yield what each check finds."""
        # without one, it is not the solution that fails
        compiler()
        with cuda.edited(self.file, self._own, text):
            try:
                yield from self._profiles()
                for seed in seeds:
                    with cuda.emulated("checked", seed=seed + 1):
                        yield from self._values(seed)
            except MinialexError as error:
                lines = str(error).splitlines()[:MAX_COMPILER_LINES]
                raise SolutionError(*lines) from None

    def _values(self, seed: int) -> Iterator[CaseFindings]:
        for case in CASES[self.op]:
            for pair in self._pairs():
                yield CheckRun(pair, redrawn(case, seed)).run()

    def _profiles(self) -> Iterator[CaseFindings]:
        if self.profiled_on is not None:
            float32 = self._pairs()[TYPES.index(np.dtype(np.float32))]
            yield within(float32, self.profiled_on, self.limits)

    def _pairs(self) -> list[Pair]:
        return [
            Pair(OPS[self.op], self.implementation, self.implementation, dtype) for dtype in TYPES
        ]


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with pieces of it replaced.

    Raises
    ------
    ValueError
        If one does not stand there exactly once.
    """
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"{old!r} stands {text.count(old)} times in the file, not once")
        text = text.replace(old, new)
    return text
