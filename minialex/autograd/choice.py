"""Which implementation runs: one rule for ops, optimizers and image preparation alike.

Each record (`Op`, `Routine`) names its own defaults, with the reason beside them: ``cpu=`` where no
CUDA kernels run, ``kernel=`` where they do, ``tensor_cores=`` on a GPU that has them. `using`
overrides them. Nothing else decides, and nothing falls back to another implementation.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import BFLOAT16, Device
from minialex.errors import MinialexError
from minialex.wording import unknown

PLAIN = "plain"

FP32, TF32, BF16 = "fp32", "tf32", "bf16"
PRECISIONS = FP32, TF32, BF16
"""How accurate products of float32 arrays are.

``fp32`` is about as accurate as multiplying and adding in float32; ``tf32`` rounds what is
multiplied to 10 bits of fraction (a relative error of up to 2^-11 each), ``bf16`` to 7 (2^-8), and
both add in float32. In ``bf16`` the networks of ``minialex.models`` hold activations in bfloat16
as well, see `activation_dtype`.
"""

MIN_TENSOR_CORE_CAPABILITY = 80
"""The first compute capability, times ten, whose tensor cores multiply TF32 and bfloat16."""

ROUTINES: dict[str, Routine] = {}
"""Everything that has implementations to choose from, by name: every op, and more."""

LATE_ROUTINES: dict[str, str] = {}
"""By name, the module of each routine that ``import minialex`` leaves out, to be fast."""


@dataclass(frozen=True, eq=False)
class Routine:
    """Something with several implementations that agree.

    Parameters
    ----------
    name : str
        Its name in `ROUTINES` and in `using`.
    implementations : dict
        From the name of the idea to the implementation. ``"plain"``, the formula in operations on
        whole arrays, is always there; ``"blocked"`` is the same for a CPU's caches and cores; the
        others launch kernels, and one that is alone is named ``"kernel"``.
    kernel : str
        The default where CUDA kernels run: on a GPU's arrays, and under the emulator.
    cpu : str
        The default elsewhere. The record says beside it why it is not ``"plain"``.
    tensor_cores : dict
        By precision, the default for float32 arrays on tensor cores; that of ``bf16`` is it for
        bfloat16 arrays too.
    """

    name: str
    implementations: dict[str, Any]
    kernel: str = field(default=PLAIN, kw_only=True)
    cpu: str = field(default=PLAIN, kw_only=True)
    tensor_cores: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        self._check()
        ROUTINES[self.name] = self

    def _defined_in(self) -> str:
        """Return the name of the module that ``plain`` is from."""
        return str(self.implementations[PLAIN].__module__)

    def _check(self) -> None:
        """Refuse what cannot be chosen from, before it is registered."""
        if self.name == "precision":
            raise ValueError("an op cannot be named 'precision', which `using` has for itself")
        for name in (PLAIN, self.kernel, self.cpu, *self.tensor_cores.values()):
            if name not in self.implementations:
                raise ValueError(f"op {self.name!r} has no implementation named {name!r}")
        there = ROUTINES.get(self.name)
        if there is not None and there._defined_in() != self._defined_in():
            raise ValueError(
                f"there is an op {self.name!r} already, of {there._defined_in()}: give this one "
                "another name; to have another implementation of that one, add it to "
                f"OPS[{self.name!r}].implementations"
            )


_switch: ContextVar[Mapping[str, str]] = ContextVar("switch", default=MappingProxyType({}))
_EVERYTHING = "*"
_PRECISION = "precision"

Choices = dict[tuple[str, str], None]
"""Routines and the implementations of them that were taken, each once, in order."""

_noted: ContextVar[tuple[Choices, ...]] = ContextVar("noted", default=())


def precision() -> str:
    """Return the precision in use: one of `PRECISIONS`."""
    return _switch.get().get(_PRECISION, FP32)


def activation_dtype(device: Device) -> np.dtype[Any]:
    """Return the type that a network of float32 weights on `device` holds activations in.

    It is bfloat16 in the precision ``bf16``, else float32: a network rounds the images that it is
    given, and all that its layers make of them is of that type.

    Raises
    ------
    MinialexError
        If the precision is that of tensor cores, and the device has none.
    """
    check_precision(precision(), device)
    return BFLOAT16 if precision() == BF16 else np.dtype(np.float32)


def implementation_for(routine: Routine, device: Device, dtype: Any = np.float32) -> Any:
    """Return the implementation that runs on arrays of `device` and `dtype`."""
    return routine.implementations[implementation_name(routine, device, dtype)]


def implementation_name(routine: Routine, device: Device, dtype: Any = np.float32) -> str:
    """Return the name of the implementation that runs on arrays of `device` and `dtype`.

    It is the one that `using` names. Where none is named it is the routine's `cpu` where no
    kernels run; on a GPU with tensor cores, for float32, that of `tensor_cores` for the precision,
    and for bfloat16 that for ``bf16``; and its `kernel` elsewhere. The emulator has tensor cores as
    well, but is slower on them than without: there `fp32` is the `kernel`, unless it counts what
    that GPU would do.

    Raises
    ------
    MinialexError
        If the precision is that of tensor cores, and there are none.
    """
    name = _implementation_name(routine, device, dtype)
    for noted in _noted.get():
        noted[routine.name, name] = None
    return name


def _implementation_name(routine: Routine, device: Device, dtype: Any) -> str:
    switch = _switch.get()
    name = switch.get(routine.name, switch.get(_EVERYTHING, ""))
    if name in routine.implementations:
        return name
    wanted = switch.get(_PRECISION, FP32)
    if wanted in routine.tensor_cores and dtype == np.float32:
        check_precision(wanted, device)
        if wanted != FP32 or (cuda.is_gpu(device) and _has_tensor_cores(device)):
            return routine.tensor_cores[wanted]
    if BF16 in routine.tensor_cores and dtype == BFLOAT16 and _has_tensor_cores(device):
        return routine.tensor_cores[BF16]
    return routine.cpu if cuda.why_not(device) else routine.kernel


def _has_tensor_cores(device: Device) -> bool:
    runs_kernels = not cuda.why_not(device)
    return runs_kernels and cuda.capability(device) >= MIN_TENSOR_CORE_CAPABILITY


def check_precision(precision: str, device: Device) -> None:
    """Check that products of float32 arrays of `device` can be computed in `precision`.

    Raises
    ------
    MinialexError
        If it has no tensor cores for that.
    """
    if precision == FP32:
        return
    if cuda.why_not(device):
        what = f"{device} has none"
    elif cuda.capability(device) < MIN_TENSOR_CORE_CAPABILITY:
        which = device if device.kind == "cuda" else "the emulated GPU"
        what = f"{which} is sm_{cuda.capability(device)}"
    else:
        return
    raise MinialexError(
        f"precision {precision} needs tensor cores of sm_{MIN_TENSOR_CORE_CAPABILITY} or later, "
        f"and {what}: use such a GPU, emulate one (--emulate), or use precision {FP32}"
    )


@contextlib.contextmanager
def using(
    implementation: str | None = None, /, *, precision: str | None = None, **by_name: str
) -> Iterator[None]:
    """Choose implementations: ``using("plain")`` for all ops, ``using(conv2d="plain")`` for one.

    A name given for all ops applies to those that have an implementation of that name. Optimizers
    and image preparation are chosen among likewise: ``using(rmsprop="plain")``.

    Parameters
    ----------
    implementation : str, optional
        The name of the idea, for all ops.
    precision : "fp32", "tf32" or "bf16", optional
        Choose by how accurate products are, wherever no implementation is named.
    by_name : str
        The name of an implementation, by op.

    Raises
    ------
    ValueError
        If there is no such op, no such implementation of it, or no such precision.
    """
    chosen = dict(_switch.get())
    if implementation is not None:
        every = sorted({name for one in ROUTINES.values() for name in one.implementations})
        _check("implementation", implementation, every)
        kept = {_PRECISION: chosen[_PRECISION]} if _PRECISION in chosen else {}
        chosen = {_EVERYTHING: implementation, **kept}
    if precision is not None:
        _check("precision", precision, list(PRECISIONS))
        chosen[_PRECISION] = precision
    for name, wanted in by_name.items():
        if name in LATE_ROUTINES:
            importlib.import_module(LATE_ROUTINES[name])
        _check("op", name, sorted(ROUTINES))
        _check(f"implementation of {name}", wanted, sorted(ROUTINES[name].implementations))
        chosen[name] = wanted
    token = _switch.set(chosen)
    try:
        yield
    finally:
        _switch.reset(token)


@contextlib.contextmanager
def noted_choices() -> Iterator[Choices]:
    """Collect which implementations are taken while the block runs."""
    found: Choices = {}
    token = _noted.set((*_noted.get(), found))
    try:
        yield found
    finally:
        _noted.reset(token)


def named() -> tuple[str, ...]:
    """Return what `using` names here, as ``--use`` takes it: ``plain``, ``conv2d=tiled``."""
    chosen = _switch.get().items()
    every = (wanted for name, wanted in chosen if name == _EVERYTHING)
    single = (f"{n}={wanted}" for n, wanted in chosen if n not in (_EVERYTHING, _PRECISION))
    return *every, *sorted(single)


def _check(what: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise ValueError(unknown(what, name, known))
