"""Layers of a network by name: Modules without Modules in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from minialex.autograd import Tensor
from minialex.nn import Module


def named_layers(model: Module) -> Iterator[tuple[str, Module]]:
    """Yield every layer with its name, in order of definition."""
    return ((n, m) for n, m in model.named_modules() if not list(m.children()))


def layer_name(name: str, module: Module) -> str:
    """Return the name of a layer; of one that is the whole network, its class."""
    return name or type(module).__name__


def layer_text(module: Module) -> str:
    """Return a layer's class and arguments: ``Conv2d(3, 64, 11x11, stride=4, padding=2)``."""
    return f"{type(module).__name__}({module.describe()})"


def blank_image(model: Module, shape: tuple[int, ...]) -> Tensor:
    """Return one image (1, *shape) of zeros, in the type and on the device of the parameters."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        return Tensor(np.zeros((1, *shape), np.float32))
    return Tensor(np.zeros((1, *shape), parameter.dtype)).to(parameter.device)


@contextlib.contextmanager
def evaluation_mode(model: Module) -> Iterator[None]:
    """While the block runs, evaluate; then every Module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
