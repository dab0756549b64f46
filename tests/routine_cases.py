"""What the routines that are not ops are tried on: optimizers.

A case runs any implementation of its routine on the same inputs, the definition in
``minialex.reference`` among them, and returns every array that it was given to write to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import reference
from minialex.arrays import CPU, Array, Device, to_device, to_numpy
from minialex.autograd import ROUTINES

STEPS = 3
SIZES = 1, 31, 33, 257, 1025
LARGE = 16400


@dataclass(frozen=True, eq=False)
class Case:
    """One set of inputs.

    Parameters
    ----------
    name : str
    run : ``run(implementation, dtype, device) -> list of arrays``
    bound : float
        How far off results may be, in units in the last place of 1.
    dtypes : tuple of str
    """

    name: str
    run: Callable[[Callable[..., None], Any, Device], list[Array]]
    bound: float
    dtypes: tuple[str, ...] = ("float32", "float64")


@functools.cache
def truth(name: str, case: Case) -> list[Array]:
    """Return what the definition gives, in float64."""
    return case.run(getattr(reference, name), np.float64, CPU)


def results(name: str, implementation: str, case: Case, dtype: str, device: Device) -> list[Array]:
    """Return what an implementation gives, on the host."""
    call = ROUTINES[name].implementations[implementation]
    return [to_numpy(a) for a in case.run(call, np.dtype(dtype), device)]


def check(name: str, implementation: str, case: Case, dtype: str, device: Device = CPU) -> None:
    """Hold an implementation to the definition.

    Raises
    ------
    AssertionError
        If it is further off than rounding explains.
    """
    bound = case.bound * float(np.finfo(dtype).eps)
    for got, want in zip(
        results(name, implementation, case, dtype, device), truth(name, case), strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound, err_msg=case.name)


def check_all(name: str, implementation: str, dtype: str) -> None:
    """Hold an implementation to the definition on all small cases of its routine."""
    for case in CASES[name]:
        if dtype in case.dtypes and str(LARGE) not in case.name:
            check(name, implementation, case, dtype)


# ---- optimizers ----------------------------------------------------------------------------------


def optimizer_case(
    what: str, size: int, there: tuple[bool, ...], numbers: dict[str, float], start: int = 16
) -> Case:
    """Return a case of a few steps over a stretch that begins `start` numbers into an arena.

    Parameters
    ----------
    there : tuple of bool
        Which kinds of state there are.
    """

    def run(update: Callable[..., None], dtype: Any, device: Device) -> list[Array]:
        rng = np.random.default_rng(size)
        # What lies around the stretch is a part of the result: it must stay.
        host = [np.ones(start + size + 21, dtype) for _ in (0, 1, *there)]
        whole = [to_device(a, device) for a in host]
        cut = slice(start, start + size)
        p, g, *state = (a[cut] for a in whole)
        p[...] = to_device(rng.standard_normal(size, np.float32).astype(dtype), device)
        for one in state:
            one[...] = 0
        kept = [one if wanted else None for one, wanted in zip(state, there, strict=True)]
        for t in range(1, STEPS + 1):
            slopes = rng.standard_normal(size, np.float32).astype(dtype)
            slopes[5::11] = 0
            g[...] = to_device(slopes, device)
            update(p, g, *kept, **{k: t if k == "t" else v for k, v in numbers.items()})
        return whole

    return Case(f"{what}-{size}-from-{start}", run, bound=8)


def cases_of(settings: dict[str, tuple[tuple[bool, ...], dict[str, float]]]) -> list[Case]:
    """Return cases of an optimizer: every setting at every size, the last at more."""
    cases = [
        optimizer_case(what, size, *setting) for what, setting in settings.items() for size in SIZES
    ]
    what, setting = list(settings.items())[-1]
    # Where nothing is aligned, and where there is more than one block of threads.
    return [
        *cases,
        optimizer_case(what, 70, *setting, start=1),
        optimizer_case(what, 70, *setting, start=0),
        optimizer_case(what, LARGE, *setting),
    ]


# Constants that make every term matter.
RMSPROP = {"lr": 0.1, "alpha": 0.7, "eps": 0.3, "weight_decay": 0.4, "momentum": 0.6}
SGD = {"lr": 0.1, "weight_decay": 0.4, "momentum": 0.6}
ADAM = {"lr": 0.1, "b1": 0.6, "b2": 0.9, "eps": 0.3, "weight_decay": 0.4, "t": 1}
USUAL = {"lr": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "t": 1}

CASES: dict[str, list[Case]] = {
    "rmsprop": cases_of(
        {
            "plain": ((True, False, False), RMSPROP),
            "centered": ((True, True, False), RMSPROP),
            "momentum": ((True, False, True), RMSPROP),
            "everything": ((True, True, True), RMSPROP),
        }
    ),
    "sgd": cases_of({"plain": ((False,), SGD), "momentum": ((True,), SGD)}),
    "adam": cases_of({"usual": ((True, True), USUAL), "every term": ((True, True), ADAM)}),
}
"""The cases of each routine, by its name."""
