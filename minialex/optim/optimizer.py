"""What the optimizers share: the groups, the arena, and the loop of a step over its segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

from minialex import arrays
from minialex.arrays import Array
from minialex.autograd import Routine, Tensor, implementation_for
from minialex.autograd.clock import note_write
from minialex.optim.arena import Arena
from minialex.optim.param_groups import (
    INITIAL_LR,
    LR,
    PARAMS,
    RANGES,
    ParamGroup,
    Params,
    checked,
    given_groups,
)
from minialex.optim.update import ReplayInputs, Update


class Optimizer:
    """Changes parameters after each backward.

    Parameters
    ----------
    params : Tensors, pairs (name, Tensor) as of `named_parameters`, or dictionaries of groups
        See `ParamGroup`. Those without a gradient, because they need none for instance, are left
        as they are.
    **defaults
        The hyperparameters of groups that do not have their own, `lr` among them.

    Attributes
    ----------
    param_groups : tuple of ParamGroup
        ``for group in optimizer.param_groups: group["lr"] = ...`` changes a hyperparameter between
        steps. State that the new value needs starts at zero, in memory for all parameters, and
        state that it no longer needs is left as it is.
    steps : int
        How many steps were taken.
    param_steps : list of int
        How many of these changed each parameter.
    arena : Arena
    update : Routine
        The step of one kind of optimizer, its implementations each an `Update`:
        ``update(p, g, *state, **numbers)`` changes slices of the arena in place, those of `state`
        in the order of `slots`, None where it is not in use.
    slots : tuple of str
        Every kind of state that it may have.
    depends_on_steps : bool
        Whether an update depends on how many steps changed the parameter before.

    A step uses the `data` and `grad` of the parameters, however they were assigned. It copies an
    array that was assigned into the arena: `data` is then another array with the same numbers.

    Raises
    ------
    TypeError, ValueError
        If there is no parameter, one is given twice or is no leaf, types or devices differ, or a
        hyperparameter is unknown or out of its range.
    """

    update: ClassVar[Routine]
    slots: ClassVar[tuple[str, ...]]
    depends_on_steps: ClassVar[bool] = False

    def __init__(self, params: Params, **defaults: Any) -> None:
        owner = type(self).__name__
        groups = given_groups(owner, params)
        self.param_groups = tuple(ParamGroup(owner, given, defaults) for given in groups)
        self.arena = Arena((one for given in groups for one in given[PARAMS]), self._active_slots())
        self.steps = 0
        self.param_steps = [0] * len(self.params)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in RANGES:
            raise AttributeError(
                f"{type(self).__name__} has its {name} in its groups: for group in "
                f"optimizer.param_groups: group[{name!r}] = ..."
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        groups = [group.describe() for group in self.param_groups]
        if len(groups) > 1:
            groups = [f"\n  ({i}) {group}" for i, group in enumerate(groups)] + ["\n"]
        return f"{type(self).__name__}({''.join(groups)})"

    @property
    def params(self) -> list[Tensor]:
        """The parameters, in the order given."""
        return self.arena.params

    def zero_grad(self) -> None:
        """Set the gradients to None, so that the next backward does not add to them."""
        for p in self.params:
            p.grad = None

    def scale_lr(self, factor: float) -> None:
        """Set the learning rate of each group to `factor` times its ``initial_lr``.

        ``optimizer.scale_lr(schedule(optimizer.steps))`` before a step follows a `Schedule`.
        """
        for group in self.param_groups:
            group[LR] = group[INITIAL_LR] * factor

    def step(self, replay_inputs: ReplayInputs | None = None) -> None:
        """Update every parameter that has a gradient; leave the others, and their state, alone.

        Parameters
        ----------
        replay_inputs : ReplayInputs, optional
            Where a replayable update finds the learning rates, which are to be those of the groups,
            and whether to do nothing. Others do not look there.

        Raises
        ------
        TypeError, ValueError
            If an array of another type, shape or device was assigned to a parameter.
        """
        self.arena.rebind()
        self._count()
        arena, device = self.arena, arrays.device_of(self.arena.data)
        arena.add_state(self._active_slots())
        update = self._update()
        read = replay_inputs if update.replayable else None
        with arrays.on_device(device):
            for (i, t), part, g in arena.segments(self._launches(), update.takes_deferred):
                group = self.param_groups[i]
                active, numbers = self._slots_of(group), self._numbers(group, t)
                if read is not None:
                    numbers["replay_inputs"] = read.of_group(i)
                if update.writes_shadow and arena.shadow is not None:
                    numbers["shadow"] = arena.shadow[part]
                state = (arena.state[s][part] if s in active else None for s in self.slots)
                update(arena.data[part], g, *state, **numbers)
        self._mark_shadow()

    def _update(self) -> Update:
        update: Update = implementation_for(self.update, arrays.device_of(self.arena.data))
        return update

    def refresh_shadow(self) -> None:
        """Have the ``shadow`` of each parameter be its numbers of now, in bfloat16.

        Layers take it in place of rounding their weights, beside bfloat16 activations. From then on
        steps keep it so, but for parameters whose ``data`` anyone asks for: what was given away may
        be written to at any time. Without kernels nothing takes it, and there is none; nor has a
        copy of the optimizer any, until it is asked for.
        """
        if self._update().writes_shadow:
            self.arena.rebind()
            self.arena.refresh_shadow()

    def count_step(self) -> None:
        """Count a step that a CUDA graph has replayed."""
        self._count()
        self._mark_shadow()

    def _count(self) -> None:
        """Count a step, and note that it writes to the parameters and their shadow."""
        self.steps += 1
        for i, p in enumerate(self.params):
            if _has_gradient(p):
                self.param_steps[i] += 1
                p.note_change()
        for view in self.arena.shadow_views:
            note_write(view)

    def _mark_shadow(self) -> None:
        """Say that the step has written the shadow of what it has changed."""
        if self.arena.shadow_views and self._update().writes_shadow:
            for p, view in zip(self.params, self.arena.shadow_views, strict=True):
                if _has_gradient(p) and not p.is_exposed:
                    p.shadow = view

    def rewind(self, steps: int) -> None:
        """Go back to the count `steps`: those since then have changed nothing."""
        changed_nothing, self.steps = self.steps - steps, steps
        for i, p in enumerate(self.params):
            if _has_gradient(p):
                self.param_steps[i] -= changed_nothing

    # Saving -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides further steps, but for the parameters.

        Returns
        -------
        dict
            ``state``: for each parameter, by its number in the order given, ``step``, how many
            steps changed it, and arrays of its shape by slot, which are the optimizer's own: copy
            them to keep them. ``param_groups``: the hyperparameters of each group, and the numbers
            of its parameters as ``params``. ``steps``: how many steps were taken.
        """
        views = {slot: self.arena.views(slot) for slot in self.arena.state}
        state = {
            i: {"step": steps, **{slot: of_all[i] for slot, of_all in views.items()}}
            for i, steps in enumerate(self.param_steps)
        }
        groups = [
            {**group.hyperparameters, PARAMS: members}
            for group, members in zip(self.param_groups, self._members(), strict=True)
        ]
        return {"state": state, "param_groups": groups, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an optimizer of the same kind and parameters returned.

        Raises
        ------
        ValueError, TypeError
            If something is missing or surplus, or of another shape or range; nothing is changed
            then.
        """
        _check_keys("the state", state, ("state", "param_groups", "steps"))
        steps = _count("steps", state["steps"])
        groups = self._checked_groups(state["param_groups"])
        slots, counts, saved = self._checked_state(state["state"], groups)

        self.steps, self.param_steps = steps, counts
        for group, values in zip(self.param_groups, groups, strict=True):
            group.update(values)
        self.arena.add_state(slots)
        for slot, flat in self.arena.state.items():
            if slot not in slots:
                flat[...] = 0
        for slot in slots:
            for view, its in zip(self.arena.views(slot), saved, strict=True):
                view[...] = arrays.to_device(its[slot], arrays.device_of(view))

    def _checked_groups(self, saved: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the hyperparameters of saved groups that are like those here."""
        owner = type(self).__name__
        _check_kind("param_groups", saved, Sequence)
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"load_state_dict: the state has {len(saved)} groups, the optimizer "
                f"{len(self.param_groups)}"
            )
        groups = []
        for i, members in enumerate(self._members()):
            group = self.param_groups[i]
            _check_keys(f"group {i} of the state, which is to be {owner}'s,", saved[i], group)
            values = dict(saved[i])
            if list(values.pop(PARAMS)) != members:
                raise ValueError(f"load_state_dict: group {i} of the state is of other parameters")
            groups.append({name: checked(owner, name, value) for name, value in values.items()})
        return groups

    def _checked_state(
        self, saved: Mapping[int, Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]
    ) -> tuple[list[str], list[int], list[dict[str, Array]]]:
        """Return the slots of a saved state, and each parameter's steps and arrays."""
        names, needed = self.arena.names, self._active_slots(groups)
        _check_keys("the state by parameter", saved, range(len(names)))
        slots = [s for s in self.slots if s in needed or s in saved[0]]
        counts, found = [], []
        for i, (name, p) in enumerate(zip(names, self.params, strict=True)):
            _check_keys(f"the state of {name}", saved[i], ("step", *slots))
            counts.append(_count(f"step of {name}", saved[i]["step"]))
            its = {slot: Tensor(saved[i][slot]).data for slot in slots}
            for slot, array in its.items():
                if array.shape != p.shape:
                    raise ValueError(
                        f"load_state_dict: {slot} of {name} has shape {array.shape}, not {p.shape}"
                    )
            found.append(its)
        return slots, counts, found

    def _members(self) -> Iterator[list[int]]:
        """Yield the numbers of each group's parameters."""
        first = 0
        for group in self.param_groups:
            yield list(range(first, first + len(group[PARAMS])))
            first += len(group[PARAMS])

    # What a CUDA graph of a step asks -----------------------------------------------------------

    def constants(self) -> list[dict[str, Any]]:
        """Return what stays the same from step to step: the hyperparameters but for the rates."""
        return [
            {name: v for name, v in group.hyperparameters.items() if name not in (LR, INITIAL_LR)}
            for group in self.param_groups
        ]

    def rates(self, step: int, factor: float | None = None) -> list[tuple[float, float]]:
        """Return what differs from step to step: for each group what `ReplayInputs` holds.

        Parameters
        ----------
        step : int
            Steps taken before.
        factor : float, optional
            By what a schedule scales ``initial_lr`` then; without it the rate is ``lr``.
        """
        return [
            self._rates(group, group[LR] if factor is None else group[INITIAL_LR] * factor, step)
            for group in self.param_groups
        ]

    def why_unreplayable(self) -> str:
        """Return why a step needs numbers that `rates` does not give; empty where it does not."""
        if not self.depends_on_steps:
            return ""
        for name, p, steps in zip(self.arena.names, self.params, self.param_steps, strict=True):
            if _has_gradient(p) and steps != self.steps:
                return (
                    f"{name} took {steps} of {self.steps} steps, which {self.update.name} corrects "
                    "for one by one"
                )
        return ""

    # What each kind of optimizer has of its own -------------------------------------------------

    def _slots_of(self, group: Mapping[str, Any]) -> list[str]:
        """Return those of `slots` that the hyperparameters of a group need."""
        return list(self.slots)

    def _numbers(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """Return the hyperparameters of a group by the names that `update` has for them.

        `t` is the number of this step, from 1, where it `depends_on_steps`, and else 0.
        """
        raise NotImplementedError

    def _rates(self, group: Mapping[str, Any], lr: float, step: int) -> tuple[float, float]:
        """Return what the kernel reads for a group at the rate `lr`, after `step` steps."""
        return lr, 1.0

    def _active_slots(self, groups: Iterable[Mapping[str, Any]] | None = None) -> list[str]:
        """Return those of `slots` that any group needs."""
        needed = {s for g in groups or self.param_groups for s in self._slots_of(g)}
        return [slot for slot in self.slots if slot in needed]

    def _launches(self) -> list[tuple[int, int]]:
        """Return for each parameter its group and step: one launch updates equal ones together."""
        groups = [i for i, members in enumerate(self._members()) for _ in members]
        counts = self.param_steps if self.depends_on_steps else [0] * len(groups)
        return list(zip(groups, counts, strict=True))


def _has_gradient(p: Tensor) -> bool:
    # a deferred one is not computed for that
    return p.deferred_grad is not None or p.grad is not None


def _check_kind(what: str, given: Any, kind: type) -> None:
    if not isinstance(given, kind):
        raise TypeError(
            f"load_state_dict: {what} is {type(given).__name__}: give what state_dict() returned"
        )


def _check_keys(what: str, given: Mapping[Any, Any], wanted: Iterable[Any]) -> None:
    _check_kind(what, given, Mapping)
    missing = [name for name in wanted if name not in given]
    surplus = [name for name in given if name not in wanted]
    if missing or surplus:
        faults = [f"lacks {', '.join(map(str, missing))}"] * bool(missing)
        faults += [f"has {', '.join(map(str, surplus))} too many"] * bool(surplus)
        raise ValueError(f"load_state_dict: {what} {' and '.join(faults)}")


def _count(what: str, value: Any) -> int:
    if not isinstance(value, Integral) or value < 0:
        raise ValueError(f"load_state_dict: {what} is {value!r}: give a whole number from 0")
    return int(value)
