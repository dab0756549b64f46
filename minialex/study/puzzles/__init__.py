"""Puzzles: complete a backward, repair a kernel, find what may go, make it faster.

>>> from minialex.study.puzzles import find, tried
>>> puzzle = find("softmax")
>>> tried(puzzle, puzzle.start).verdict
<Verdict.FAIL: 'FAIL'>
"""

from minialex.study.puzzles.catalogue import PUZZLES, find
from minialex.study.puzzles.puzzle import Puzzle, PuzzleResult, result_of
from minialex.study.puzzles.trial import tried

__all__ = ["PUZZLES", "Puzzle", "PuzzleResult", "find", "result_of", "tried"]
