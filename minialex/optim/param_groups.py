"""Parameter groups: parameters, and the hyperparameters that they are updated with.

features, classifier = model.features.parameters(), model.classifier.parameters()
optimizer = optim.SGD([{"params": features, "lr": 1e-4}, {"params": classifier}], lr=1e-3)
for group in optimizer.param_groups:
group["lr"] *= 0.5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from math import inf
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from minialex.autograd import Tensor
from minialex.autograd.conversion import as_float
from minialex.wording import counted, unknown

Params: TypeAlias = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]]
"""What an optimizer is made over: Tensors, pairs (name, Tensor), or dictionaries of groups.

A dictionary has Tensors or pairs as ``"params"``, and the hyperparameters that differ from what
the optimizer is given for all groups.
"""

PARAMS, LR, INITIAL_LR = "params", "lr", "initial_lr"


class ParamGroup(MutableMapping[str, Any]):
    """The hyperparameters of some parameters, as a dictionary whose values are checked.

    Its keys are those of PyTorch: ``params``, the hyperparameters by their names, and
    ``initial_lr``, the learning rate that schedules scale. All but ``params``, a tuple of Tensors,
    may be assigned between steps.

    Parameters
    ----------
    owner : str
        The optimizer's class, for messages.
    given : mapping
        ``params`` as `given_groups` has them, and hyperparameters that are not the defaults.
    defaults : mapping
        The optimizer's hyperparameters.

    Raises
    ------
    KeyError
        If a key that is assigned is none of its own.
    TypeError, ValueError
        If a value is no number, or out of its range; ``params`` cannot be assigned.
    """

    def __init__(self, owner: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._owner = owner
        values = {**defaults, **given}
        surplus = [name for name in values if name not in {*defaults, PARAMS, INITIAL_LR}]
        if surplus:
            raise ValueError(unknown(f"hyperparameter of {owner}", surplus[0], defaults))
        values.setdefault(INITIAL_LR, values[LR])
        members = (one[1] if isinstance(one, tuple) else one for one in values.pop(PARAMS))
        self._values: dict[str, Any] = {PARAMS: tuple(members)}
        self._values |= {name: checked(owner, name, value) for name, value in values.items()}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All but ``params``, as a new dictionary."""
        return {name: value for name, value in self._values.items() if name != PARAMS}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == PARAMS:
            raise ValueError(
                f"{self._owner}: the parameters of a group cannot be assigned: make another "
                "optimizer"
            )
        if name not in self._values:
            raise KeyError(unknown(f"hyperparameter of {self._owner}", name, self.hyperparameters))
        self._values[name] = checked(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{self._owner}: {name} of a group cannot be deleted: assign another value")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def describe(self) -> str:
        """Return the hyperparameters, and of how many parameters they are."""
        values = self.hyperparameters
        if values[INITIAL_LR] == values[LR]:
            del values[INITIAL_LR]
        numbers = ", ".join(f"{name}={value!r}" for name, value in values.items())
        size, tensors = sum(p.size for p in self[PARAMS]), len(self[PARAMS])
        return f"{numbers}, {counted(size, 'parameter')} in {counted(tensors, 'tensor')}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"


def given_groups(owner: str, params: Params) -> list[dict[str, Any]]:
    """Return what an optimizer is made over as dictionaries, one per group.

    Raises
    ------
    TypeError, ValueError
        If it is one Tensor, mixes groups with Tensors, or a group lacks its parameters.
    """
    if isinstance(params, Tensor):
        raise TypeError(f"{owner} takes a list of Tensors, not one: write [tensor]")
    entries = _listed(owner, params)
    if not any(isinstance(entry, Mapping) for entry in entries):
        return [{PARAMS: entries}]
    groups = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise TypeError(
                f"{owner}: element {i} is no group beside others that are: write "
                '{"params": [...]}'
            )
        if PARAMS not in entry:
            raise ValueError(f"{owner}: group {i} has no 'params': give it a list of Tensors")
        own = entry[PARAMS]
        groups.append({**entry, PARAMS: [own] if isinstance(own, Tensor) else _listed(owner, own)})
    return groups


def _listed(owner: str, params: Any) -> list[Any]:
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{owner} takes a list of Tensors, not {type(params).__name__}: write "
            "model.parameters()"
        )
    return list(params)


# ---- what hyperparameters may be -----------------------------------------------------------------


def checked(owner: str, name: str, value: Any) -> Any:
    """Return the value of a hyperparameter as it is kept; numbers become floats.

    One that no optimizer here has is returned as it is.

    Raises
    ------
    TypeError, ValueError
        If it is of another kind, or out of its range.
    """
    if name == "betas":
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"{owner}: betas is {value!r}: give two numbers")
        return tuple(_number(owner, name, beta) for beta in value)
    if name == "centered":
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{owner}: centered is {value!r}: give True or False")
        return bool(value)
    return _number(owner, name, value) if name in RANGES else value


def _number(owner: str, name: str, value: Any) -> float:
    within, remedy = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{owner}: {name} is {value!r}: give {remedy}")
    number = as_float(value)
    if not within(number):
        raise ValueError(f"{owner}: {name} is {value!r}: give {remedy}")
    return number


_FROM_0 = (lambda value: 0 <= value < inf), "a finite number from 0"
_BELOW_1 = (lambda value: 0 <= value < 1), "a number from 0 to below 1"

RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    LR: _FROM_0,
    INITIAL_LR: _FROM_0,
    "momentum": _FROM_0,
    "weight_decay": _FROM_0,
    "eps": _FROM_0,
    "alpha": _BELOW_1,
    "betas": _BELOW_1,
}
"""Which numbers hyperparameters may be, and what to give instead of others."""
