"""The backward pass of a small network, step by step, with the numbers in the formulas.

    with minialex.autograd.record_calls() as calls:
        h = ops.linear(x, w)
        loss = ops.relu(h).sum()
    for step in walk(loss, names={"x": x, "w": w, "h": h}, calls=calls).steps:
        print(step.op, step.gy, [(c.to, c.gradient) for c in step.contributions])

`lesson` does so for the networks of ``minialex step``, breaks them on purpose, and asks the
gradient checker.
"""

from minialex.study.walk.breaks import BREAKS, Break
from minialex.study.walk.lessons import Lesson, lesson
from minialex.study.walk.networks import NETWORKS, SmallNetwork
from minialex.study.walk.steps import BackwardPass, BackwardStep, Contribution
from minialex.study.walk.walker import ACCUMULATE, ORDERS, walk

__all__ = [
    "ACCUMULATE",
    "BREAKS",
    "NETWORKS",
    "ORDERS",
    "BackwardPass",
    "BackwardStep",
    "Break",
    "Contribution",
    "Lesson",
    "SmallNetwork",
    "lesson",
    "walk",
]
