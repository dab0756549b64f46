"""A puzzle in CUDA: a copy of one of the package's kernel files, with something wrong in it.

Nothing is written: while a solution is tried, kernels see it in the place of the file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minialex import cuda
from minialex.autograd import OPS
from minialex.check import CASES, CaseFindings, CheckRun, Pair
from minialex.cuda import source
from minialex.cuda.emulator.compiler import compiler
from minialex.cuda.emulator.errors import EmulationError
from minialex.cuda.signature import signatures
from minialex.errors import MinialexError
from minialex.study.puzzles.limits import LimitedCase
from minialex.study.puzzles.puzzle import SEEDS, TYPES, Puzzle, SolutionError, redrawn
from minialex.wording import counted

MAX_ERROR_LINES = 8

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
    profiled_on : tuple of LimitedCase
        What a profile in float32 must not exceed: on two cases of unlike shapes, so that being
        fast at one size is not enough.
    """

    file: str
    op: str
    implementation: str
    edits: tuple[Edit, ...]
    profiled_on: tuple[LimitedCase, ...] = ()

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
        profile = ", and what a profile counts" if self.profiled_on else ""
        return (
            f"all {len(CASES[self.op])} cases of {self.op}, in float64 and float32, under "
            f"emulation that checks each access to memory, in {len(SEEDS)} orders of threads, each "
            f"with other numbers{profile}"
        )

    @property
    def check_count(self) -> int:
        """That of the profiles, and of the cases in each type and order."""
        return len(self.profiled_on) + len(SEEDS) * len(CASES[self.op]) * len(TYPES)

    def checks(self, text: str, seeds: Sequence[int] = SEEDS) -> Iterator[CaseFindings]:
        """Yield what each check finds."""
        # without one, it is not the solution that fails
        compiler()
        wanted = self._parameters()
        with cuda.edited(self.file, self._own, text):
            try:
                self._check_parameters(wanted)
                yield from self._profiles()
                for seed in seeds:
                    with cuda.emulated("checked", seed=seed + 1):
                        yield from self._values(seed)
            except (MinialexError, TypeError, ValueError) as error:
                raise SolutionError(*self._told(error, text)) from None

    def _told(self, error: Exception, text: str) -> list[str]:
        """Return the lines that say why a kernel cannot be launched."""
        lines = str(error).splitlines()
        if not isinstance(error, EmulationError) or error.kind != "compile":
            return lines[:MAX_ERROR_LINES]
        # what follows the first error mostly follows from it
        return lines[:2] + [
            f"leave out {line.strip()}: headers of the host are not taken"
            for line in text.splitlines()
            if re.match(r"\s*#\s*include\s*<", line) and line not in self._own
        ]

    def _parameters(self) -> dict[str, list[str]]:
        """Return the names of the parameters of each kernel in the file as it is seen now."""
        found = signatures(source.read(self.file))
        return {name: [p.name for p in one.parameters] for name, one in found.items()}

    def _check_parameters(self, wanted: Mapping[str, Sequence[str]]) -> None:
        for name, own in self._parameters().items():
            if len(own) != len(wanted.get(name, own)):
                raise MinialexError(
                    f"{name} has {counted(len(own), 'parameter')} ({', '.join(own)}), it must have "
                    f"{len(wanted[name])} ({', '.join(wanted[name])})"
                )

    def _values(self, seed: int) -> Iterator[CaseFindings]:
        for case in CASES[self.op]:
            for pair in self._pairs():
                yield CheckRun(pair, redrawn(case, seed)).run()

    def _profiles(self) -> Iterator[CaseFindings]:
        float32 = self._pairs()[TYPES.index(np.dtype(np.float32))]
        for one in self.profiled_on:
            yield one.profile(float32)

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
