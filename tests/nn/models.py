"""A small network, and the names of what it trains."""

from minialex import nn
from minialex.philox import Generator


def small() -> nn.Sequential:
    g = Generator(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=2, padding=1, generator=g),
        nn.ReLU(),
        nn.Flatten(),
        nn.Sequential(nn.Dropout(0.5, g), nn.Linear(4 * 4 * 4, 5, generator=g)),
    )


def names(model):
    found = [name for name, _ in model.named_parameters()]
    assert list(model.state_dict()) == found
    return found
