"""What is launched: every op and routine on every case, and AlexNet's training step at full size.

Nothing is computed: a launch is written down and not run, so outputs stay as they were found.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from math import prod
from typing import NamedTuple
from unittest import mock

import numpy as np

from minialex import cuda, models, ops, optim
from minialex.arrays import BFLOAT16, CPU
from minialex.autograd import OPS, Tensor, activation_dtype
from minialex.bench.predicted_steps import MODES, using_mode
from minialex.check import routines, suite
from minialex.check.cases import CASES
from minialex.check.kinds import Kind
from minialex.cuda import emulator
from minialex.study.tracing import kernels_of


class Launch(NamedTuple):
    """A block of a kernel, as it was asked for."""

    file: str
    kernel: str
    threads: int
    dynamic_shared: int


@functools.cache
def launches() -> frozenset[Launch]:
    """Return all of them, in float, double and bfloat16."""
    found: set[Launch] = set()
    implementations = {name: kernels_of(name) for name in CASES}

    def write_down(plan, values):
        found.add(Launch(plan.source.file, plan.expression, prod(plan.block), plan.shared))

    with (
        mock.patch.object(emulator, "launch", write_down),
        cuda.emulated(),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for dtype in np.float32, np.float64, BFLOAT16:
            _launch_ops(implementations, np.dtype(dtype))
        _launch_routines()
        _launch_training_steps()
    return frozenset(found)


def _launch_ops(implementations, dtype):
    for name, cases in CASES.items():
        for one in implementations[name]:
            if dtype.name not in OPS[name].implementations[one].dtypes:
                continue
            pair = suite.Pair(OPS[name], one, one, dtype, CPU)
            for case in cases:
                y, saved = pair.run(pair.prepared(case.draw(name)), case.params)
                gy = np.zeros_like(y)
                OPS[name].implementations[one].backward(gy, saved, **case.params)


def _launch_routines():
    for name, dtype in itertools.product(routines.routines(), ("float32", "float64")):
        for one in routines.implementations(name, dtype):
            for case in routines.cases_of(Kind.VALUES, one) if one.launches_kernels() else ():
                one.results(case)


def _launch_training_steps():
    model = models.alexnet("alexnet", num_classes=1000, seed=1)
    optimizer = optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)
    images, targets = Tensor(np.zeros((32, 3, 227, 227), np.float32)), np.zeros(32, np.int64)
    for mode in MODES:
        with using_mode(mode):
            if activation_dtype(CPU) == BFLOAT16:
                optimizer.refresh_shadow()
            ops.cross_entropy(model(images), targets).backward()
        optimizer.step()
