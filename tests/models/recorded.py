"""Losses that training AlexNet once gave."""

import numpy as np

from minialex import Tensor, ops, optim
from minialex.models import alexnet


def train(steps):
    """Return the losses of some steps in float64 on fixed noise with the article's RMSprop."""
    model = alexnet("alexnet", 10, dropout=0.5, seed=4).to(dtype=np.float64)
    optimizer = optim.RMSprop(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
    rng = np.random.default_rng(9)
    losses = []
    for _ in range(steps):
        x, t = 0.5 * rng.standard_normal((2, 3, 227, 227)), rng.integers(0, 10, 2)
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(Tensor(x)), t)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# Made by this function, whose network, loss and optimizer test_alexnet.py holds against PyTorch.
RECORDED = [
    2.5860888078133426,
    1.8058781026172124,
    5.4440337814294395,
    6.190011464240116,
    2.732705226454078,
    2.9761072015917196,
    2.441652528367249,
    4.064866237105964,
    2.0523635032848526,
    2.2480085871531803,
]


def assert_recorded(steps):
    np.testing.assert_allclose(train(steps), RECORDED[:steps], rtol=1e-6)
