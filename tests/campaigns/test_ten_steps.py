"""AlexNet trains as it was recorded to; small, on kernels, as in PyTorch; each fault is seen.

``python -m tests.campaigns ten-steps`` takes ten steps of the whole network on kernels.
"""

import functools
import importlib
from importlib.util import find_spec

import numpy as np
import pytest

from minialex.bench.predicted_steps import MODES
from minialex.models import alexnet
from tests.models.modes import (
    FP32_ROUNDOFF,
    Reference,
    assert_losses,
    fixed_batch,
    in_mode,
    roundoff,
)
from tests.models.recorded import (
    RECORDED,
    RECORDED_STEADY,
    STEADY,
    assert_recorded,
    recorded_losses,
)
from tests.models.test_modes import DRAWN_FAULTS, FAULTS, RMSPROP, WORK, assert_seen
from tests.models.torch_training import torch_losses

STEPS = 10
SLOW = RMSPROP | {"lr": 1e-5}
"""Ten faster steps on the same images take an error of TF32 to a tenth of the loss."""


def test_ten_steps_of_alexnet_in_float64_give_the_recorded_losses():
    assert_recorded(steps=len(RECORDED))


def test_steady_steps_give_the_recorded_losses():
    # all ten are compared with PyTorch's by the campaign
    np.testing.assert_allclose(recorded_losses(2, rmsprop=STEADY), RECORDED_STEADY[:2], rtol=1e-9)


REFERENCE = Reference(steps=STEPS, **WORK, **SLOW)


@functools.cache
def in_pytorch(dtype):
    model = alexnet(WORK["variant"], 10, dropout=0.5, seed=4).to(dtype=dtype)
    batches = [fixed_batch(WORK["size"], WORK["batch"], dtype)] * STEPS
    return torch_losses(importlib.import_module("torch"), model, batches, **SLOW)


@pytest.mark.parametrize("mode", MODES)
def test_ten_steps_on_kernels_follow_float64_and_pytorch(mode):
    losses = in_mode(mode, steps=STEPS, **WORK, **SLOW).losses
    error = REFERENCE.expected(roundoff(mode)).losses
    assert_losses(losses, REFERENCE.exact.losses, error)
    if find_spec("torch"):
        assert_losses(losses, in_pytorch(np.float64), error)
        # in float32 it is off itself
        rounded = REFERENCE.expected(FP32_ROUNDOFF)
        assert_losses(losses, in_pytorch(np.float32), error + rounded.losses)


def test_ten_steps_in_pytorch_are_those_in_float64(torch):
    np.testing.assert_allclose(REFERENCE.exact.losses, in_pytorch(np.float64), rtol=1e-9)
    assert_losses(
        in_pytorch(np.float32), REFERENCE.exact.losses, REFERENCE.expected(FP32_ROUNDOFF).losses
    )


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - set(DRAWN_FAULTS)))
def test_a_fault_in_the_arithmetic_is_seen(fault):
    assert_seen(fault)
