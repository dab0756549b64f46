"""Puzzles about the updates of optimizers."""

from __future__ import annotations

from minialex.study.puzzles.puzzle import BACKWARD, Puzzle
from minialex.study.puzzles.python_puzzles import OptimizerPuzzle

_IN_PLACE = """
        All arrays are flat and of one length; p and the state are to be changed in place, g is to
        stay as it is.
"""

PUZZLES: list[Puzzle] = [
    OptimizerPuzzle(
        name="rmsprop",
        title="RMSprop: where the small number stands",
        kind=BACKWARD,
        topic="optimizers",
        routine="rmsprop",
        functions=("rmsprop",),
        task=f"""
        Complete a step of RMSprop, in this order: weight decay is added to the gradient; v, the
        running mean of its square, and m, that of itself where there is one, take the share alpha
        of what they were; the gradient is divided by the root of v, or of v - m^2 where there is
        m, with eps added to the root; b, where there is one, is the momentum; p goes down by lr
        times that. v - m^2 counts as 0 where rounding leaves less.{_IN_PLACE.rstrip()}
        """,
        hint="Is eps under the root, or beside it?",
        why="eps stands outside the root, as in PyTorch: sqrt(v) + eps. Under the root, 1e-8 "
        "would act like 1e-4.",
        template="""
        import numpy as np


        def rmsprop(p, g, v, m, b, *, lr, alpha, eps, weight_decay, momentum):
            g = g + weight_decay * p
            v[...] = alpha * v + (1 - alpha) * g**2
            variance = v
            if m is not None:
                m[...] = alpha * m + (1 - alpha) * g
                variance = np.maximum(v - m**2, 0)
            @@
        """,
        begun="""
        step = g / np.sqrt(variance + eps)
        if b is not None:
            b[...] = momentum * b + step
            step = b
        p -= lr * step
        """,
        solved="""
        step = g / (np.sqrt(variance) + eps)
        if b is not None:
            b[...] = momentum * b + step
            step = b
        p -= lr * step
        """,
    ),
    OptimizerPuzzle(
        name="adam",
        title="Adam's first steps",
        kind=BACKWARD,
        topic="optimizers",
        routine="adam",
        functions=("adam",),
        task=f"""
        m and v are the running means of the gradient and of its square, with the shares b1 and b2
        of what they were. They begin at 0, and so are too small at first: divide m by 1 - b1^t,
        and v by 1 - b2^t, where t is 1 at the first step. Then p goes down by lr m / (sqrt(v) +
        eps), with these corrected m and v. What is kept stays uncorrected.{_IN_PLACE.rstrip()}
        """,
        hint="Three places to go wrong: what is corrected, when eps is added, and what is kept.",
        why="The correction belongs to the numbers that are used, not to those kept, and eps is "
        "added to the root of the corrected v.",
        template="""
        import numpy as np


        def adam(p, g, m, v, *, lr, b1, b2, eps, weight_decay, t):
            g = g + weight_decay * p
            m[...] = b1 * m + (1 - b1) * g
            v[...] = b2 * v + (1 - b2) * g**2
            @@
        """,
        begun="p -= lr * m / (np.sqrt(v) + eps)",
        solved="""
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        p -= lr * m_hat / (np.sqrt(v_hat) + eps)
        """,
    ),
]
