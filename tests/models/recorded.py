"""Losses that training AlexNet once gave."""

import numpy as np

from minialex import Tensor, ops, optim
from minialex.models import alexnet

DROPOUT = 0.5
RMSPROP = {"lr": 1e-5, "momentum": 0.9, "weight_decay": 5e-4}
STEADY = RMSPROP | {"eps": 0.01}
"""With an eps below a gradient's size, rounding decides on the sign of the smallest steps."""


def batches(steps, dtype=np.float64):
    """Yield as many batches of fixed noise, images and classes."""
    rng = np.random.default_rng(9)
    for _ in range(steps):
        x, t = 0.5 * rng.standard_normal((2, 3, 227, 227)), rng.integers(0, 10, 2)
        yield x.astype(dtype), t


def network(dtype=np.float64):
    """Return the network before its first step."""
    return alexnet("alexnet", 10, dropout=DROPOUT, seed=4).to(dtype=dtype)


def trained(model, batches, **rmsprop):
    """Train on `batches`; return the loss before each step, and the first step's gradients."""
    optimizer = optim.RMSprop(model.parameters(), **rmsprop)
    losses, gradients = [], {}
    for x, t in batches:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(Tensor(x)), t)
        loss.backward()
        if not gradients:
            named = model.named_parameters()
            gradients = {name: p.grad.astype(np.float64) for name, p in named}
        optimizer.step()
        losses.append(loss.item())
    return losses, gradients


def recorded_losses(steps, dtype=np.float64, rmsprop=RMSPROP):
    """Return the losses of some steps on fixed noise, with the article's RMSprop."""
    return trained(network(dtype), batches(steps, dtype), **rmsprop)[0]


# Made by this function in float64, whose network, loss and optimizer test_alexnet.py compares with
# PyTorch.
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
RECORDED_STEADY = [
    2.5860888078133426,
    1.8336782953270938,
    3.364810871825865,
    4.2042157509653775,
    2.9952700724477475,
    2.453309440023817,
    2.5612276218154273,
    4.461848257931955,
    1.8909946723022277,
    2.7030847193781224,
]
# The root mean square of what `perturbed_products` of modes.py makes of those in four runs, by the
# share of itself that a factor is off by.
STEADY_ERRORS = {
    2.0**-22: [
        1.3034361505180062e-07,
        1.8593148400128297e-07,
        1.1977746825435918e-07,
        1.7165548524683154e-07,
        2.567846747040084e-07,
        2.891904616587026e-07,
        9.257836203124498e-08,
        1.4932422348832587e-05,
        1.1339266193597276e-05,
        1.8923878044283675e-05,
    ],
    2.0**-11: [
        0.00026992825578110556,
        0.00043943594143806705,
        0.0014211296776464872,
        0.0020123902797055666,
        0.003342491080719959,
        0.0023212832487531816,
        0.00459610266094348,
        0.014497804455439793,
        0.003640248002920723,
        0.01598843824283064,
    ],
    2.0**-8: [
        0.002536468180680734,
        0.0028400368256692138,
        0.004372432744628048,
        0.005671145729965449,
        0.008044005541434885,
        0.0035687304902290882,
        0.01959082914072442,
        0.026299784347422844,
        0.01765219505826096,
        0.02695848793188369,
    ],
}


def assert_recorded(steps):
    np.testing.assert_allclose(recorded_losses(steps), RECORDED[:steps], rtol=1e-6)
