"""Finding the layer at which a network's numbers stopped being finite."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor, no_grad
from minialex.data import DataLoader
from minialex.errors import MinialexError
from minialex.nn import Module
from minialex.train.run_state import RunState
from minialex.train.step import TrainStep
from minialex.weights.checkpoint import LAST_CHECKPOINT


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


class FiniteCheck:
    """Ends a run whose numbers are no longer finite, naming the layer at which that began.

    Parameters
    ----------
    state : RunState
    step : TrainStep
    loader : DataLoader
        Of the training images.
    folder : Path
        Of the run, which the message says how to go on with.
    """

    def __init__(self, state: RunState, step: TrainStep, loader: DataLoader, folder: Path) -> None:
        self._state, self._step, self._loader, self._folder = state, step, loader, folder

    def losses(self) -> None:
        """Raise NonFiniteLossError if the loss of a step was not finite.

        Since then nothing was changed, so that the batch can be run once more.
        """
        if not self._step.failed():
            return
        state, position = self._state, self._state.position
        position.batch = state.optimizer.steps - position.epoch * len(self._loader)
        with contextlib.closing(self._loader.epoch(position.epoch, position.batch)) as batches:
            images = Tensor(next(batches).images)
        layer, cause = first_nonfinite(state.model, images) or (None, "the loss overflowed")
        raise self._error(layer, cause)

    def weights(self) -> None:
        """Raise NonFiniteLossError if a weight or the optimizer's state is not finite."""
        arena = self._state.optimizer.arena
        if all(finite(flat) for flat in (arena.data, *arena.state.values())):
            return
        for name, parameter in self._state.model.named_parameters():
            if not finite(parameter.data):
                layer, _, what = name.rpartition(".")
                raise self._error(layer, f"its {what} is no longer finite")
        raise self._error(None, "the optimizer's running averages overflowed")

    def outputs(self, loader: DataLoader) -> None:
        """Raise NonFiniteLossError for the first batch at which the network's are not finite."""
        self._state.model.eval()
        for batch in loader.epoch(0):
            found = first_nonfinite(self._state.model, Tensor(batch.images))
            if found:
                raise self._error(*found)

    def _error(self, layer: str | None, cause: str) -> NonFiniteLossError:
        kept, lr = self._folder / LAST_CHECKPOINT, self._state.optimizer.param_groups[0]["lr"]
        where = f"{kept} is from before" if kept.exists() else "no checkpoint was written yet"
        return NonFiniteLossError(
            layer=layer,
            cause=cause,
            step=self._state.optimizer.steps,
            lr=lr,
            rest=f"{where}; start again with a lower lr ({lr / 10:.2g}) or a longer warmup",
        )


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

    def look_at(name: str) -> Callable[[Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: Module, args: tuple[Tensor, ...], y: Tensor) -> None:
            if not finite(y.data):
                found.append((name, _cause(module, args)))

        return hook

    with contextlib.ExitStack() as hooks, no_grad():
        for name, module in model.named_modules():
            if not list(module.children()):
                hooks.enter_context(module.register_forward_hook(look_at(name)))
        model(x)
    return found[0] if found else None


def _cause(module: Module, args: tuple[Tensor, ...]) -> str:
    for name, parameter in module.named_parameters():
        if not finite(parameter.data):
            return f"its {name} is no longer finite"
    return (
        "its output overflowed" if all(finite(x.data) for x in args) else "its input is not finite"
    )
