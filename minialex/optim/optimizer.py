"""What the optimizers share: the arena, and the way a step goes over it."""

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
        in the order of `slots`, None where the settings ask for none.
    slots : tuple of str
        Every kind of state that it may keep.

    A step works on what parameters show in `data` and `grad`, whoever put it there. It moves an
    array that was assigned into the arena: `data` then is another array with the same numbers.

    Settings may be assigned between steps: state that one asks for starts at zero, and state that
    none asks for any longer is left as it is.
    """

    update: ClassVar[Routine]
    slots: ClassVar[tuple[str, ...]]

    def __init__(self, params: Params, lr: float) -> None:
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr must not be negative, but is {lr}")
        self.lr, self.steps = lr, 0
        self.arena = Arena(params, self._kept())

    @property
    def params(self) -> list[Tensor]:
        """The parameters, in the order given."""
        return self.arena.params

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts afresh."""
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
        self.arena.adopt()
        self.steps += 1
        arena, device, kept = self.arena, arrays.device_of(self.arena.data), self._kept()
        arena.keep(kept)
        state = [arena.state[slot] if slot in kept else None for slot in self.slots]
        update: Update = implementation_for(self.update, device)
        for p in self.params:
            if p.deferred_grad is not None or p.grad is not None:
                p.note_change()
        numbers: dict[str, Any] = self._numbers()
        if replay_inputs is not None and update.replayable:
            numbers["replay_inputs"] = replay_inputs
        with arrays.on_device(device):
            for segment, g in arena.segments(keep_deferred=update.takes_deferred):
                kept_here = (None if a is None else a[segment] for a in state)
                update(arena.data[segment], g, *kept_here, **numbers)

    def replayed(self) -> None:
        """Take note that a GPU has repeated a step without being told by `step`."""
        self.steps += 1
        for p in self.params:
            if p.grad is not None:
                p.note_change()

    def constants(self) -> dict[str, float]:
        """Return the settings that are the same in each step, whatever its number and rate."""
        return {k: v for k, v in self._numbers().items() if k not in ("lr", "t")}

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

    def _kept(self) -> list[str]:
        """Return those of `slots` that the settings, which are assigned already, ask for."""
        return list(self.slots)

    def _numbers(self) -> dict[str, float]:
        """Return the settings of this step, by the names that `update` has for them."""
        raise NotImplementedError
