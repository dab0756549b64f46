"""A call of an op, as the contract is asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minialex.arrays import Array
from minialex.check.case import Inputs
from minialex.check.suite import Pair


@dataclass(frozen=True)
class Tolerances:
    """By how much results may differ.

    Attributes
    ----------
    nondet : float
        From run to run.
    atol, rtol : float
        Besides, where gradients for different cotangents are compared; `rtol` of the largest.
    """

    nondet: float = 0.0
    atol: float = 0.0
    rtol: float = 0.0


EXACT = Tolerances()


@dataclass(frozen=True, eq=False)
class OpCall:
    """A call of an op, and how its backward is called: what the contract is asked about.

    Attributes
    ----------
    pair : Pair
        The implementations.
    inputs, params
        What forward is called with.
    like : array
        Of the shape, type and device that the output must have.
    gy : array or None
        The cotangent; None where no backward follows.
    wanted : tuple of int
        The inputs whose gradients are wanted.
    names : tuple of str
        What the inputs are called.
    every : bool
        Whether there must be a gradient for all of these, and none for others, whatever backward is
        told. Otherwise it may know of inputs that have none, and give more than it is asked for.
    tolerances : Tolerances
    """

    pair: Pair
    inputs: Inputs
    params: Mapping[str, Any]
    like: Array
    gy: Array | None
    wanted: tuple[int, ...]
    names: tuple[str, ...]
    every: bool = True
    tolerances: Tolerances = EXACT
