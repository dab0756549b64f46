"""A whole network's training on CUDA kernels, against the same on array operations."""

import numpy as np
import pytest

from minialex import Tensor, emulated, models, ops, optim
from minialex.autograd import ROUTINES, Implementation, Op, record_calls
from minialex.study.kernel_uses import uses

STEPS, CLASSES = 2, 10
OPTIMIZERS = {
    # with an eps below a gradient's size, rounding decides on the sign of the smallest steps
    "RMSprop": {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4, "eps": 0.01},
    "SGD": {"lr": 2e-3, "momentum": 0.9, "weight_decay": 5e-4},
    "Adam": {"lr": 1e-3, "weight_decay": 5e-4, "eps": 0.01},
}


def train(name):
    """Return the losses of a few steps, by how much they changed parameters, and the ops' names."""
    rng = np.random.default_rng(3)
    # of a size that adaptive pooling has to change
    images = rng.standard_normal((4, 3, 80, 80), np.float32)
    targets = rng.integers(0, CLASSES, 4)
    model = models.alexnet("alexnet-mini", CLASSES, dropout=0.5, seed=1)
    optimizer = getattr(optim, name)(model.parameters(), **OPTIMIZERS[name])
    before, losses = optimizer.arena.data.copy(), []
    with record_calls() as calls:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(Tensor(images)), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, optimizer.arena.data - before, {call.op.name for call in calls}


def refused(*args, **kwargs):
    raise AssertionError("array operations where there is a kernel")


@pytest.fixture
def without_arrays(monkeypatch):
    """Return a function that takes the array operations from all that has kernels."""

    def forget():
        for routine in ROUTINES.values():
            if routine.kernel != "plain":
                broken = Implementation(refused, refused) if isinstance(routine, Op) else refused
                for one in {"plain", "blocked"} & routine.implementations.keys():
                    monkeypatch.setitem(routine.implementations, one, broken)

    return forget


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_steps_on_kernels_alone_are_those_of_array_operations(name, without_arrays):
    losses, change, _ = train(name)
    without_arrays()
    with emulated() as emulation:
        kernel_losses, kernel_change, used = train(name)
    np.testing.assert_allclose(kernel_losses, losses, rtol=3e-6)
    bound = 3e-4 * np.sqrt(np.mean(change**2))
    np.testing.assert_allclose(kernel_change, change, rtol=0, atol=bound)
    launched = {one.partition("<")[0] for one in emulation.launches}
    assert with_kernels({*used, name.lower()}) <= owners(launched)


def with_kernels(names):
    return {name for name in names if ROUTINES[name].kernel != "plain"}


def owners(launched):
    """Return the routines of those kernels that belong to one routine alone."""
    found = [{use.routine for use in there} for (_, k), there in uses().items() if k in launched]
    return set.union(*(routines for routines in found if len(routines) == 1))


def test_array_operations_are_noticed(without_arrays):
    without_arrays()
    with pytest.raises(AssertionError, match="where there is a kernel"):
        train("SGD")
