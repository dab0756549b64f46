"""The model of time, judged by measurements that are not ours: SGEMM_CUDA's published times.

No constant of the model was fitted to them: docs/profile-model.md says where each is from. What is
asserted is the order of the six kernels, and that no time is off by more than a third.
"""

import math

import numpy as np
import pytest

from benchmarks.sgemm.rungs import FILE, PUBLISHED_GPU, PUBLISHED_SIZE, RUNGS
from minialex.cuda import emulated
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile.resources import resources
from minialex.study.profile.time_model import predict
from tests.cuda.tools import disassembles

BLOCKS = 9
"""Blocks that are counted: all do the same."""
BINDING = ["L1", "L1", "shared memory", "shared memory", "shared memory", "shared memory"]


@disassembles
def test_the_six_kernels_come_out_in_the_published_order():
    gpu = known_gpu(PUBLISHED_GPU)
    A, B, C = (np.zeros((PUBLISHED_SIZE, PUBLISHED_SIZE), np.float32) for _ in range(3))
    predictions = []
    for rung in RUNGS:
        with emulated("counted", max_blocks=BLOCKS) as emulation:
            rung.launch(A, B, C)
        (counts,) = emulation.counts
        taken = resources(FILE, rung.name, gpu, math.prod(counts.block))
        predictions.append(predict(counts, taken))
    seconds = [one.seconds for one in predictions]
    assert seconds == sorted(seconds, reverse=True)
    assert [one.binding for one in predictions] == BINDING
    off = [one / rung.published_seconds for one, rung in zip(seconds, RUNGS, strict=True)]
    assert off == pytest.approx([1] * len(RUNGS), rel=1 / 3), off
