"""What the optimizers share: the arena, and the loop of a step over its segments."""

from __future__ import annotations

from typing import Any, ClassVar

from minialex import arrays
from minialex.autograd import Routine, Tensor, implementation_for
from minialex.optim.arena import Arena, Params
from minialex.optim.update import ReplayInputs, Update


class Optimizer:
    """Changes parameters after each backward.

    Attributes
    ----------
    lr : float
        The learning rate of the next step. Assign it to follow a schedule.
    steps : int
        How many steps were taken.
    arena : Arena
    update : Routine
        The step of one kind of optimizer, its implementations each an `Update`:
        ``update(p, g, *state, **numbers)`` changes slices of the arena in place, those of `state`
        in the order of `slots`, None where it is not in use.
    slots : tuple of str
        Every kind of state that it may have.

    A step uses the `data` and `grad` of the parameters, however they came there. It copies an array
    that was assigned into the arena: `data` is then another array with the same numbers.

    Hyperparameters may be assigned between steps: state that one needs starts at zero, and state
    that none needs any longer is left as it is.
    """

    update: ClassVar[Routine]
    slots: ClassVar[tuple[str, ...]]

    def __init__(self, params: Params, lr: float) -> None:
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr must not be negative, but is {lr}")
        self.lr, self.steps = lr, 0
        self.arena = Arena(params, self._active_slots())

    @property
    def params(self) -> list[Tensor]:
        """The parameters, in the order given."""
        return self.arena.params

    def zero_grad(self) -> None:
        """Set the gradients to None, so that the next backward does not add to them."""
        for p in self.params:
            p.grad = None

    def step(self, replay_inputs: ReplayInputs | None = None) -> None:
        """Update every parameter that has a gradient; leave the others, and their state, alone.

        Parameters
        ----------
        replay_inputs : ReplayInputs, optional
            Where a replayable update finds the learning rate, which is to be that of `lr`, and
            whether to do nothing. Others do not look there.

        Raises
        ------
        TypeError, ValueError
            If an array of another type, shape or device was assigned to a parameter.
        """
        self.arena.rebind()
        self.steps += 1
        arena, device, active = self.arena, arrays.device_of(self.arena.data), self._active_slots()
        arena.add_state(active)
        state = [arena.state[slot] if slot in active else None for slot in self.slots]
        update: Update = implementation_for(self.update, device)
        for p in self.params:
            if p.deferred_grad is not None or p.grad is not None:
                p.note_change()
        numbers: dict[str, Any] = self._hyperparameters()
        if replay_inputs is not None and update.replayable:
            numbers["replay_inputs"] = replay_inputs
        with arrays.on_device(device):
            for segment, g in arena.segments(keep_deferred=update.takes_deferred):
                its_state = (None if a is None else a[segment] for a in state)
                update(arena.data[segment], g, *its_state, **numbers)

    def replayed(self) -> None:
        """Count a step that a CUDA graph has replayed, without `step`."""
        self.steps += 1
        for p in self.params:
            if p.grad is not None:
                p.note_change()

    def constants(self) -> dict[str, float]:
        """Return the hyperparameters that stay the same from step to step."""
        return {k: v for k, v in self._hyperparameters().items() if k not in ("lr", "t")}

    def rates(self, step: int, lr: float) -> tuple[float, float]:
        """Return what differs from step to step: the pair that `ReplayInputs` holds at step `step`.

        Parameters
        ----------
        step : int
            Steps taken before.
        lr : float
            Its learning rate.
        """
        return lr, 1.0

    def _active_slots(self) -> list[str]:
        """Return those of `slots` that the hyperparameters, which are assigned already, need."""
        return list(self.slots)

    def _hyperparameters(self) -> dict[str, float]:
        """Return the hyperparameters of this step, by the names that `update` has for them."""
        raise NotImplementedError
