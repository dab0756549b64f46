"""Networks whose initial weights are drawn once per process: 61 million numbers take a second."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

from minialex import models
from minialex.arrays import Array
from minialex.nn import Dropout

CLASSES = 1000


@cache
def _initialised(name: str) -> models.AlexNet:
    return models.alexnet(name, CLASSES)


def network(name: str, dropout: float, place: Callable[[Array], Array]) -> models.AlexNet:
    """Return a network with the weights of seed 0.

    Parameters
    ----------
    name : str
        One of ``models.VARIANTS``.
    dropout : float
    place : callable
        Is given each parameter's array and returns the one to use, a copy where it is written to.
    """
    cached = _initialised(name)
    model = copy.deepcopy(cached, {id(p.data): place(p.data) for p in cached.parameters()})
    for _, module in model.named_modules():
        if isinstance(module, Dropout):
            module.p = dropout
    return model


def clear_cache() -> None:
    """Free the cached weights."""
    _initialised.cache_clear()
