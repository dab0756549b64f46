"""Solutions of the puzzles that look right and are not: three or more of each puzzle."""

from __future__ import annotations

from dataclasses import dataclass

from minialex.study.puzzles import find
from minialex.study.puzzles.kernel_puzzle import edited
from minialex.study.puzzles.python_puzzles import PythonPuzzle


@dataclass(frozen=True)
class Wrong:
    """A wrong solution, and why it is one.

    `lines` fill the gap of a puzzle in Python; `edits` are made to the file that a kernel's begins
    with.
    """

    puzzle: str
    why: str
    lines: str = ""
    edits: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.puzzle}: {self.why}"

    def text(self) -> str:
        """Return the whole file."""
        puzzle = find(self.puzzle)
        if isinstance(puzzle, PythonPuzzle):
            return puzzle.filled(self.lines)
        return edited(puzzle.start, self.edits)


def wrong() -> list[Wrong]:
    """Return all wrong solutions, in the order of the puzzles."""
    from tests.study.puzzles import wrong_functions, wrong_kernels

    return [*wrong_functions.WRONG, *wrong_kernels.WRONG]
