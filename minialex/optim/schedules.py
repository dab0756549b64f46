"""Learning rates as functions of the step, so that resuming needs nothing but the step's number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, inf, pi
from numbers import Integral, Real
from typing import Any

from minialex.wording import unknown

Schedule = Callable[[int], float]
"""From the number of steps taken so far, 0 at the start, to the learning rate of the next."""

NAMES = "constant", "step", "cosine", "article"


def constant(step: int, *, lr: float) -> float:
    """Return `lr`, always."""
    return lr


def step_decay(step: int, *, lr: float, every: int, factor: float) -> float:
    """Return `lr`, times `factor` after each `every` steps."""
    return lr * factor ** (step // every)


def cosine(step: int, *, lr: float, total: int) -> float:
    """Return `lr` falling along half a cosine to 0 (Loshchilov and Hutter 2017, section 3)."""
    return lr * 0.5 * (1 + cos(pi * min(step, total) / total))


def warmed_up(step: int, *, after: Schedule, warmup: int) -> float:
    """Return `after`, scaled up in equal parts over the first `warmup` steps."""
    return after(step) * min(1.0, (step + 1) / warmup)


def make_schedule(
    name: str,
    *,
    lr: float,
    total: int,
    warmup: int = 0,
    every: int = 256,
    factor: float = 0.5,
) -> Schedule:
    """Return a schedule by name.

    Parameters
    ----------
    name : "constant", "step", "cosine" or "article"
        "article" is the source article's section 2.5: "step" at its numbers, halved every 256
        batches (it starts from 0.01 there: give that as `lr`).
    lr : float
        The learning rate to start from, or after warming up.
    total : int
        Steps in the whole run, at least 1; "cosine" ends there.
    warmup : int
        Steps over which the rate rises to `lr`, from 0 to `total`.
    every, factor : int, float
        "step" multiplies by `factor`, above 0, after each `every` steps, at least 1.

    Raises
    ------
    TypeError
        If an argument is no number, or a number of steps not whole.
    ValueError
        If there is no such schedule, or an argument is out of its range.
    """
    _check_arguments(lr=lr, total=total, warmup=warmup, every=every, factor=factor)
    schedules: dict[str, Schedule] = {
        "constant": partial(constant, lr=lr),
        "step": partial(step_decay, lr=lr, every=every, factor=factor),
        "cosine": partial(cosine, lr=lr, total=total),
        "article": partial(step_decay, lr=lr, every=256, factor=0.5),
    }
    if name not in schedules:
        raise ValueError(unknown("schedule", name, NAMES))
    return partial(warmed_up, after=schedules[name], warmup=warmup) if warmup else schedules[name]


def _check_arguments(**given: Any) -> None:
    for name, value in given.items():
        rate = name in ("lr", "factor")
        if not isinstance(value, Real if rate else Integral):
            kind = "a number" if rate else "a whole number of steps"
            raise TypeError(f"make_schedule: {name} is {value!r}: give {kind}")
    ranges = {
        "lr": (0 < given["lr"] < inf, "a finite number above 0"),
        "total": (given["total"] >= 1, "at least 1 step"),
        "warmup": (0 <= given["warmup"] <= given["total"], f"0 to {given['total']} steps (total)"),
        "every": (given["every"] >= 1, "at least 1 step"),
        "factor": (0 < given["factor"] < inf, "a finite number above 0"),
    }
    for name, (kept, remedy) in ranges.items():
        if not kept:
            raise ValueError(f"make_schedule: {name} is {given[name]!r}: give {remedy}")
