"""Finding the layer at which a network's numbers stopped being finite."""

from __future__ import annotations

from collections.abc import Callable

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor, no_grad
from minialex.errors import MinialexError
from minialex.nn import Module


class NonFiniteLossError(MinialexError):
    """Training met a loss that is not finite.

    Attributes
    ----------
    layer : str or None
        The first layer whose output is not finite; None if all are and the loss itself is not.
    step : int
        Batches of the run that were done.
    lr : float
        The learning rate of the last step.
    """

    def __init__(self, layer: str | None, cause: str, step: int, lr: float, rest: str) -> None:
        where = f"layer {layer} is the first whose output is not finite" if layer else "no layer"
        super().__init__(
            f"the loss is not finite at step {step}: {where} ({cause}), "
            f"learning rate {lr:g}; {rest}"
        )
        self.layer, self.step, self.lr = layer, step, lr


def finite(x: Array) -> bool:
    """Return whether all elements of `x` are finite."""
    return bool(array_module(x).isfinite(x).all())


def first_nonfinite(model: Module, x: Tensor) -> tuple[str, str] | None:
    """Run `model` on `x` and return the first layer whose output is not finite, and why.

    Returns
    -------
    layer, cause : str, or None where every layer's output is finite
        The layer's name in `named_modules`, and whether its input or its parameters were to blame
        or its output overflowed.
    """
    found: list[tuple[str, str]] = []

    def look_at(name: str) -> Callable[[Module, Tensor, Tensor], None]:
        def hook(module: Module, x: Tensor, y: Tensor) -> None:
            if not finite(y.data):
                found.append((name, _cause(module, x)))

        return hook

    layers = [
        (name, module)
        for name, module in model.named_modules()
        if not list(module.named_children())
    ]
    stops = [module.register_forward_hook(look_at(name)) for name, module in layers]
    try:
        with no_grad():
            model(x)
    finally:
        for stop in stops:
            stop()
    return found[0] if found else None


def _cause(module: Module, x: Tensor) -> str:
    for name, parameter in module.named_parameters():
        if not finite(parameter.data):
            return f"its {name} is no longer finite"
    return "its output overflowed" if finite(x.data) else "its input is not finite"
