"""All puzzles, in the order of their numbers."""

from __future__ import annotations

import difflib

from minialex.errors import MinialexError
from minialex.study.puzzles import (
    convolution,
    elementwise,
    engine,
    kernels,
    losses,
    optimizers,
    pooling,
    profiled_kernels,
)
from minialex.study.puzzles.puzzle import Puzzle

PUZZLES: tuple[Puzzle, ...] = (
    *elementwise.PUZZLES,
    *losses.PUZZLES,
    *convolution.PUZZLES,
    *pooling.PUZZLES,
    *optimizers.PUZZLES,
    *engine.PUZZLES,
    *kernels.PUZZLES,
    *profiled_kernels.PUZZLES,
)


def find(which: str) -> Puzzle:
    """Return the puzzle of that number, from 1, or of that name.

    Raises
    ------
    MinialexError
        If there is none.
    """
    for number, puzzle in enumerate(PUZZLES, 1):
        if which in (str(number), puzzle.name):
            return puzzle
    if which.isdecimal():
        raise MinialexError(f"no puzzle {which}: they go from 1 to {len(PUZZLES)}")
    near = difflib.get_close_matches(which.lower(), [puzzle.name for puzzle in PUZZLES], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "minialex puzzle list names them"
    raise MinialexError(f"unknown puzzle {which!r}: {hint}")
