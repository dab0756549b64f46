"""Training steps that are small, and every number that they change."""

import numpy as np

from minialex import arrays, optim
from minialex.data import Batch, DataLoader, Digits, Subset, eval_transform
from minialex.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from minialex.optim import make_schedule
from minialex.philox import Generator
from minialex.train.step import TrainStep

SIZE, CLASSES, IMAGES, BATCH = 16, 10, 22, 4
"""Six batches, the last of them smaller."""

OPTIMIZERS = {
    "rmsprop": lambda params: optim.RMSprop(params, 1e-3, momentum=0.5, weight_decay=1e-3),
    "sgd": lambda params: optim.SGD(params, 1e-2, momentum=0.5),
    "adam": lambda params: optim.Adam(params, 1e-3),
    "groups": lambda params: optim.Adam(layerwise(list(params)), 1e-3),
}


def layerwise(params):
    """Return two groups, so that a part of the network learns at a tenth."""
    return [{"params": params[:2], "lr": 1e-4}, {"params": params[2:], "betas": (0.8, 0.99)}]


schedule = make_schedule("cosine", total=6, warmup=2)


def network():
    """Return a network with a layer of each kind that AlexNet has."""
    generator = Generator(1)
    model = Sequential(
        Conv2d(3, 8, 5, stride=2, padding=2, generator=generator),
        ReLU(),
        MaxPool2d(3, 2),
        Flatten(),
        Dropout(0.5, generator),
        Linear(8 * 3 * 3, CLASSES, generator=generator),
    )
    model.generator = generator
    return model


def made(optimizer="rmsprop", device="cpu", **options):
    model = network().to(device)
    options = {"schedule": schedule, "label_smoothing": 0.1} | options
    return TrainStep(model, OPTIMIZERS[optimizer](model.parameters()), **options)


def batches(device="cpu"):
    digits = Subset(Digits(), np.arange(IMAGES))
    loader = DataLoader(
        digits, BATCH, eval_transform(SIZE), device=arrays.device(device), workers=0
    )
    return list(loader.epoch(0))


def kept(step):
    """Return every number that a step changes."""
    arena = step.optimizer.arena
    flat = [arena.data, *arena.state.values(), step.state.totals]
    rates = [group["lr"] for group in step.optimizer.param_groups]
    return [arrays.to_numpy(a).copy() for a in flat], rates, step.optimizer.param_steps[:]


def assert_equal_bits(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1:] == other[1:]


def tiny(kind, device="cpu", clip=0.0, **settings):
    """Return a step of one linear layer."""
    model = Sequential(Flatten(), Linear(12, 3, generator=Generator(1))).to(device)
    return TrainStep(model, kind(model.named_parameters(), **settings), clip=clip)


def tiny_batch(device="cpu"):
    images = np.random.default_rng(1).standard_normal((4, 3, 2, 2), np.float32)
    where = arrays.device(device)
    given = (arrays.to_device(a, where) for a in (images, np.arange(4) % 3))
    return Batch(*given, np.arange(4))
