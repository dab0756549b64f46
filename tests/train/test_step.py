"""The training step: the loop's bits, and what it takes and refuses."""

import numpy as np
import pytest

from minialex import Tensor, arrays, models, ops, optim
from minialex.data import Batch
from minialex.nn import Dropout
from minialex.optim import make_schedule
from minialex.philox import Generator
from minialex.train import replay
from minialex.train.step import TrainStep
from tests.train.steps import (
    CLASSES,
    OPTIMIZERS,
    assert_equal_bits,
    batches,
    kept,
    made,
    schedule,
    tiny,
    tiny_batch,
)


def by_hand(optimizer):
    """Return what a loop written by hand leaves."""
    step = made(optimizer)
    model, update, generator = step.model, step.optimizer, step.model.generator
    loss_sum = right = 0
    for batch in batches():
        update.zero_grad()
        logits = model(Tensor(batch.images))
        loss = ops.cross_entropy(logits, batch.targets, label_smoothing=0.1)
        loss_sum += float(loss.data) * len(batch)
        right += int((logits.data.argmax(axis=1) == batch.targets).sum())
        loss.backward()
        update.scale_lr(schedule(update.steps))
        update.step()
    step.state.totals[...] = loss_sum, right
    return kept(step), generator.offset


@pytest.mark.parametrize(
    ("optimizer", "emulated"), [*((name, False) for name in OPTIMIZERS), ("groups", True)]
)
def test_it_has_the_bits_of_a_loop_by_hand(optimizer, emulated, request):
    if emulated:
        request.getfixturevalue("emulator")
    want, drawn = by_hand(optimizer)
    step = made(optimizer)
    for batch in batches():
        step(batch)
    assert_equal_bits(kept(step), want)
    assert step.model.generator.offset == drawn
    assert step.state.on_host() == (False, 6, drawn)
    assert step.uncaptured == "there is no GPU"


@pytest.mark.parametrize("key", ["lr", "initial_lr"])
def test_a_kernel_takes_a_rate_that_was_assigned(key, emulator):
    step = tiny(optim.SGD, lr=1.0)
    step.schedule = None if key == "lr" else make_schedule("constant", total=9)
    step(tiny_batch())
    before = step.optimizer.arena.data.copy()
    step.optimizer.param_groups[0][key] = 0.0
    step(tiny_batch())
    np.testing.assert_array_equal(step.optimizer.arena.data, before)


def test_a_clipped_step_is_a_shorter_one():
    """Of SGD without momentum the change is the gradient, whose norm was brought to the bound."""
    changes = {}
    for clip in 0.0, 1e-3, 1e6:
        step = tiny(optim.SGD, clip=clip, lr=1.0)
        before = step.optimizer.arena.data.copy()
        step(tiny_batch())
        changes[clip] = step.optimizer.arena.data - before
    np.testing.assert_array_equal(changes[1e6], changes[0.0])
    norm = np.linalg.norm(changes[0.0].astype(np.float64))
    assert norm > 0.1
    # what is added to the weights is rounded
    np.testing.assert_allclose(changes[1e-3], changes[0.0] * 1e-3 / norm, atol=1e-7)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_from_the_first_loss_that_is_not_finite_nothing_changes(device, request):
    if device == "cuda":
        request.getfixturevalue("gpu")
    step, given = made(device=device), batches(device)
    for batch in given[: replay.WARM_UP_STEPS + 1]:
        step(batch)
    assert not step.failed()
    before, drawn = kept(step), step.model.generator.offset
    images = arrays.to_numpy(given[0].images).copy()
    images[1, 2, 3, 4] = np.inf
    spoilt = Batch(arrays.to_device(images, step.device), given[0].targets, given[0].indices)
    for batch in spoilt, given[1], given[-1]:
        step(batch)
    assert step.failed()
    after = kept(step)
    assert_equal_bits((after[0][:-1], *after[1:]), (before[0][:-1], *before[1:]))
    assert step.model.generator.offset == drawn
    # until the caller goes on
    step.state.failed[...] = 0
    step.state.totals[...] = 0
    step(given[1])
    assert not step.failed()
    assert step.optimizer.steps == replay.WARM_UP_STEPS + 2
    assert not np.array_equal(kept(step)[0][0], before[0][0])


def test_a_rate_assigned_after_a_loss_that_is_not_finite_hides_nothing():
    step, given = made(schedule=None), batches()
    step(given[0])
    images = given[1].images.copy()
    images[0, 0, 0, 0] = np.nan
    step(Batch(images, given[1].targets, given[1].indices))
    step.optimizer.param_groups[0]["lr"] /= 2
    step(given[2])
    assert step.failed()
    assert step.optimizer.steps == 1


def test_an_optimizer_over_other_parameters_is_refused():
    other = models.alexnet("alexnet-mini", CLASSES)
    with pytest.raises(
        ValueError, match=r"none of the model's: make it over model\.parameters\(\)"
    ):
        TrainStep(made().model, optim.SGD(other.parameters()))


def test_several_random_generators_are_refused():
    model = models.alexnet("alexnet-mini", CLASSES)
    model.more = Dropout(0.5, Generator(3))
    with pytest.raises(ValueError, match="draw from 2 random generators, but one is counted"):
        TrainStep(model, optim.SGD(model.parameters()))
