"""Which implementation runs: one rule for ops, optimizers and image preparation alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from minialex import cuda
from minialex.arrays import Device

ARRAY = "array"

ROUTINES: dict[str, Routine] = {}
"""Everything that has implementations to choose from, by name: every op, and more."""


@dataclass(frozen=True, eq=False)
class Routine:
    """Something with several implementations that agree.

    Parameters
    ----------
    name : str
        Its name in `ROUTINES` and in `using`.
    implementations : dict
        From the name of the idea (``"array"``, ``"tiled"``, ...) to the implementation;
        ``"array"`` is always there.
    kernel : str
        Which of them runs where CUDA kernels do: on a GPU's arrays, and under the emulator.
        By convention an only one is named ``"kernel"``.
    cpu : str
        Which of them runs elsewhere.
    """

    name: str
    implementations: Mapping[str, Any]
    kernel: str = field(default=ARRAY, kw_only=True)
    cpu: str = field(default=ARRAY, kw_only=True)

    def __post_init__(self) -> None:
        for name in (ARRAY, self.kernel, self.cpu):
            if name not in self.implementations:
                raise ValueError(f"op {self.name!r} has no implementation named {name!r}")
        ROUTINES[self.name] = self


_switch: ContextVar[Mapping[str, str]] = ContextVar("switch", default=MappingProxyType({}))
_EVERYTHING = "*"


def choose(routine: Routine, device: Device) -> Any:
    """Return the implementation that runs on arrays of `device`."""
    return routine.implementations[chosen(routine, device)]


def chosen(routine: Routine, device: Device) -> str:
    """Return the name of the implementation that runs on arrays of `device`.

    It is the one that `using` names; else the routine's `kernel` where kernels run, and its `cpu`
    elsewhere.
    """
    switch = _switch.get()
    name = switch.get(routine.name, switch.get(_EVERYTHING, ""))
    if name in routine.implementations:
        return name
    return routine.cpu if cuda.why_not(device) else routine.kernel


@contextlib.contextmanager
def using(implementation: str | None = None, /, **by_name: str) -> Iterator[None]:
    """Choose implementations: ``using("array")`` for all ops, ``using(conv2d="array")`` for one.

    A name given for all ops applies to those that have an implementation of that name. Optimizers
    and image preparation are chosen among likewise: ``using(rmsprop="array")``.

    Raises
    ------
    ValueError
        If there is no such op, or no such implementation of it.
    """
    chosen = dict(_switch.get())
    if implementation is not None:
        every = sorted({name for one in ROUTINES.values() for name in one.implementations})
        _check("implementation", implementation, every)
        chosen = {_EVERYTHING: implementation}
    for name, wanted in by_name.items():
        _check("op", name, sorted(ROUTINES))
        _check(f"implementation of {name}", wanted, sorted(ROUTINES[name].implementations))
        chosen[name] = wanted
    token = _switch.set(chosen)
    try:
        yield
    finally:
        _switch.reset(token)


def _check(what: str, name: str, there: list[str]) -> None:
    if name not in there:
        raise ValueError(f"there is no {what} named {name!r}; there is: {', '.join(there)}")
