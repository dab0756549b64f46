"""What one thread of an op's kernels does, on a case that the op is checked on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import BFLOAT16, CPU, Array
from minialex.autograd import OPS
from minialex.check import CASES, Case, Pair
from minialex.check.case import generator
from minialex.cuda import emulated
from minialex.cuda.observe import wrapped_launches
from minialex.cuda.plan import LaunchPlan
from minialex.errors import MinialexError
from minialex.wording import unknown


@dataclass(frozen=True)
class Trace:
    """What a thread did, and which kernels ran.

    Attributes
    ----------
    lines : list of str
        What it did, line by line.
    forward, backward : list of str
        The kernels that each of them launched, in the order of their first launches.
    """

    lines: list[str]
    forward: list[str]
    backward: list[str]


def kernels_of(op: str) -> list[str]:
    """Return the names of the implementations of `op` that are kernels of this library."""
    there = OPS[op].implementations.items()
    elsewhere = [(name, one) for name, one in there if one.why_not(CPU)]
    with emulated():
        return [name for name, one in elsewhere if not one.why_not(CPU)]


def ops_in_kernels() -> list[str]:
    """Return the names of the ops that have such implementations."""
    return sorted(op for op in OPS if kernels_of(op))


MIN_INPUT_ELEMENTS = 31
"""The default case has at least so many inputs: in a smaller one most threads do nothing. And its
forward launches a kernel: adaptive_avg_pool2d's first is the identity."""


def find(
    op: str, implementation: str | None, case: str | None, *, command: str = "trace"
) -> tuple[Pair, Case]:
    """Return the implementation of that name, by default what a GPU runs, and the case.

    Parameters
    ----------
    op : str
    implementation, case : str, optional
    command : str
        The command that lists the cases, where there is none of that name.

    Raises
    ------
    MinialexError
        If there is no such op, implementation or case, or it is not in kernels.
    """
    _check("op with CUDA kernels", op, ops_in_kernels())
    name = implementation or OPS[op].kernel
    _check(f"implementation of {op} with CUDA kernels", name, kernels_of(op))
    cases = [one for one in CASES[op] if case in (None, one.name)]
    if not cases:
        raise MinialexError(f"{op} has no case {case!r}: minialex {command} {op} --list names them")
    pair = Pair(OPS[op], name, name, np.dtype(np.float32))
    shown = (one for one in cases if _first_input(one, op).size >= MIN_INPUT_ELEMENTS)
    return pair, next((one for one in shown if case or _launches(pair, one)), cases[0])


def _launches(pair: Pair, case: Case) -> bool:
    """Return whether forward launches a kernel: some cases are too simple."""
    plans: list[LaunchPlan] = []
    with emulated(), wrapped_launches(lambda _: lambda plan, values: plans.append(plan)):
        passes(pair, case)[0]()
    return bool(plans)


def _first_input(case: Case, op: str) -> Array:
    return next(a for a in case.draw(op) if a is not None)


def trace(
    pair: Pair,
    case: Case,
    kernel: str | None = None,
    thread: tuple[int, ...] = (0,),
    block: tuple[int, ...] = (0,),
) -> Trace:
    """Run forward and backward, and record what one thread does.

    Parameters
    ----------
    pair : Pair
    case : Case
    kernel : str, optional
        Which kernel to trace; by default those that forward launches.
    thread, block : tuple of int
        The thread: up to three indices x, y, z, and those of its block.

    Raises
    ------
    MinialexError
        If no such kernel is launched, or none has such a thread.
    EmulationError
        If a kernel does what it must not.
    """
    run_forward, run_backward = passes(pair, case)
    with emulated(
        "traced", kernel=kernel, thread=thread, block=block, write=lambda line: None
    ) as emulation:
        run_forward()
        forward = emulation.launches.copy()
        if kernel is not None:
            run_backward()
    backward = emulation.launches - forward
    if kernel is None:
        with emulated() as fast:
            run_backward()
        backward = fast.launches
    if not emulation.lines:
        raise MinialexError(
            f"{pair.op.name} {pair.name}, case {case.name!r}: forward launches no kernel: choose "
            "another --case"
        )
    return Trace(emulation.lines, _names(forward), _names(backward))


def passes(pair: Pair, case: Case) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what runs the forward pass of a case, and what then runs its backward pass.

    Where activations may be bfloat16 beside float32 weights, forward is run with such ones too, and
    backward for the bias alone, which a kernel of its own is for.
    """
    drawn = case.draw(pair.op.name)
    wanted = case.differentiable(drawn)
    every = tuple(i in wanted for i in range(len(drawn)))
    bias_alone = tuple(i == len(drawn) - 1 for i in range(len(drawn)))
    runs = [(pair, every)]
    if pair.op.takes_weights and _takes_bfloat16(pair) and drawn[-1] is not None:
        runs.append((dataclasses.replace(pair, dtype=BFLOAT16), bias_alone))
    found: list[Any] = []

    def forward() -> None:
        found[:] = [one.run(one.prepared(drawn), case.params) for one, _ in runs]

    def backward() -> None:
        for (one, needs), (y, saved) in zip(runs, found, strict=True):
            rng = generator(pair.op.name, case.name, "trace")
            one.vjp(rng.standard_normal(y.shape).astype(y.dtype), saved, case.params, needs)

    return forward, backward


def _takes_bfloat16(pair: Pair) -> bool:
    return pair.dtype == np.float32 and "bfloat16" in pair.implementations()[0].dtypes


def _names(launches: Iterable[str]) -> list[str]:
    """Return the kernels' names without their template arguments, each once."""
    return list(dict.fromkeys(name.partition("<")[0] for name in launches))


def _check(what: str, name: str, there: list[str]) -> None:
    if name not in there:
        raise MinialexError(unknown(what, name, there))
