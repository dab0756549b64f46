"""What the optimizers share: the arena, and the way a step goes over it."""

from __future__ import annotations

from typing import ClassVar

from minialex import arrays
from minialex.autograd import Routine, Tensor, choose, chosen
from minialex.optim.arena import Arena, Params


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
        The step of one kind of optimizer: ``update(p, g, *state, **numbers)`` changes slices of
        the arena in place, those of `state` in the order of `slots`, None where there is none.
        To "array", `g` may be a `Pending`.
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

    def step(self) -> None:
        """Update every parameter that has a gradient; leave the others, and their state, alone.

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
        update, blockwise = choose(self.update, device), chosen(self.update, device) == "array"
        for p in self.params:
            if p.pending is not None or p.grad is not None:
                p.note_change()
        with arrays.on_device(device):
            for span, g in arena.spans(pending=blockwise):
                kept_here = (None if a is None else a[span] for a in state)
                update(arena.data[span], g, *kept_here, **self._numbers())

    def _kept(self) -> list[str]:
        """Return those of `slots` that the settings, which are assigned already, ask for."""
        return list(self.slots)

    def _numbers(self) -> dict[str, float]:
        """Return the settings of this step, by the names that `update` has for them."""
        raise NotImplementedError
