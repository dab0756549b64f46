"""Learning-rate schedules as functions of the step: to resume needs nothing but the step's number.

schedule = make_schedule("cosine", total=1000, warmup=100)
optimizer.scale_lr(schedule(optimizer.steps))        before each optimizer.step()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, inf, pi
from numbers import Integral, Real
from typing import Any

from minialex.wording import unknown

Schedule = Callable[[int], float]
"""From the number of steps taken so far, 0 at the start, to the factor of the next one's rate.

One of `make_schedule` refuses what is no whole number from 0. The factor scales the ``initial_lr``
of each group of an optimizer.
"""

NAMES = "constant", "step", "cosine", "article"


def constant(step: int) -> float:
    """Return 1, always."""
    return 1.0


def step_decay(step: int, *, step_size: int, gamma: float) -> float:
    """Return 1, times `gamma` after each `step_size` steps."""
    return float(gamma ** (step // step_size))


def cosine(step: int, *, total: int) -> float:
    """Return half a cosine, from 1 to 0 (Loshchilov and Hutter 2017, section 3)."""
    return 0.5 * (1 + cos(pi * step / total)) if step < total else 0.0


def warmed_up(step: int, *, after: Schedule, warmup: int) -> float:
    """Return what rises to 1 in equal parts over `warmup` steps; then `after`, from its start."""
    return (step + 1) / warmup if step < warmup else after(step - warmup)


def make_schedule(
    name: str,
    *,
    total: int,
    warmup: int = 0,
    step_size: int = 256,
    gamma: float = 0.5,
) -> Schedule:
    """Return a schedule by name.

    Parameters
    ----------
    name : "constant", "step", "cosine" or "article"
        "article" is the source article's section 2.5: "step" at its numbers, halved every 256
        batches (it starts from a rate of 0.01 there).
    total : int
        Steps in the whole run, at least 1. "cosine" ends there, and stays at 0 from there on;
        the others go on as before.
    warmup : int
        Steps over which the rate rises to the full one, from 0 to `total`. The schedule starts
        after them, as PyTorch's SequentialLR has it.
    step_size, gamma : int, float
        "step" multiplies by `gamma`, above 0, after each `step_size` steps, at least 1.

    Raises
    ------
    TypeError
        If an argument is no number, or a number of steps not whole.
    ValueError
        If there is no such schedule, or an argument is out of its range.
    """
    _check_arguments(total=total, warmup=warmup, step_size=step_size, gamma=gamma)
    schedules: dict[str, Schedule] = {
        "constant": constant,
        "step": partial(step_decay, step_size=step_size, gamma=gamma),
        "cosine": partial(cosine, total=total - warmup),
        "article": partial(step_decay, step_size=256, gamma=0.5),
    }
    if name not in schedules:
        raise ValueError(unknown("schedule", name, NAMES))
    schedule = schedules[name]
    if warmup:
        schedule = partial(warmed_up, after=schedule, warmup=warmup)
    return partial(_at_whole_step, name=name, schedule=schedule)


def _at_whole_step(step: int, *, name: str, schedule: Schedule) -> float:
    if not isinstance(step, Integral):
        raise TypeError(f"the schedule {name!r}: step is {step!r}: give a whole number of steps")
    if step < 0:
        raise ValueError(f"the schedule {name!r}: step is {step!r}: give the steps taken, from 0")
    return schedule(int(step))


def _check_arguments(**given: Any) -> None:
    for name, value in given.items():
        whole = name != "gamma"
        if not isinstance(value, Integral if whole else Real):
            kind = "a whole number of steps" if whole else "a number"
            raise TypeError(f"make_schedule: {name} is {value!r}: give {kind}")
    ranges = {
        "total": (given["total"] >= 1, "at least 1 step"),
        "warmup": (0 <= given["warmup"] <= given["total"], f"0 to {given['total']} steps (total)"),
        "step_size": (given["step_size"] >= 1, "at least 1 step"),
        "gamma": (0 < given["gamma"] < inf, "a finite number above 0"),
    }
    for name, (kept, remedy) in ranges.items():
        if not kept:
            raise ValueError(f"make_schedule: {name} is {given[name]!r}: give {remedy}")
