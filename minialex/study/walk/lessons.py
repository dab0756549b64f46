"""A small network's backward pass, right and perhaps broken, with the checker's verdict on both."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array, to_numpy
from minialex.autograd import Call, Gradients, Tensor, no_grad, record_calls
from minialex.autograd.graph import Node
from minialex.check import Report, gradcheck
from minialex.study.walk.breaks import Break, find_break
from minialex.study.walk.networks import SmallNetwork, find_network
from minialex.study.walk.steps import SAME, BackwardPass, listed, written
from minialex.study.walk.walker import walk

SCHEMA = 1
"""The version of what `Lesson.record` returns."""


@dataclass(frozen=True, eq=False)
class NamedValue:
    """A leaf, or what an op made of others.

    Attributes
    ----------
    name : str
    data : array
    call : Call or None
        What made it; None for a leaf.
    inputs : tuple of str
        The names of what it was made of; constants are shown as numbers.
    """

    name: str
    data: Array
    call: Call | None = None
    inputs: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the value as JSON has it."""
        op = self.call.op.name if self.call else None
        return {"name": self.name, "op": op, "inputs": list(self.inputs), **listed(self.data)}


@dataclass(frozen=True)
class Wrong:
    """An element of a gradient that went wrong, the one furthest off.

    Attributes
    ----------
    name : str
        The leaf's.
    index : tuple of int
    got, right : float
    off, size : int
        How many elements are wrong, of how many.
    """

    name: str
    index: tuple[int, ...]
    got: float
    right: float
    off: int
    size: int


@dataclass(frozen=True, eq=False)
class Lesson:
    """What `lesson` found.

    Attributes
    ----------
    network : SmallNetwork
    seed : int
    values : tuple of NamedValue
        Leaves, then what each op made, in order.
    right : BackwardPass
    agrees : bool
        Whether its gradients are, bit for bit, those that ``Tensor.backward`` left.
    dropped : tuple of str
        The values whose `grad` was None after that, though gradients came through them.
    report : Report
        What `minialex.check.gradcheck` says of it.
    mistake : Break or None
    broken : BackwardPass or None
        The pass with that mistake, and
    broken_report : Report or None
        what the checker says of that.
    """

    network: SmallNetwork
    seed: int
    values: tuple[NamedValue, ...]
    right: BackwardPass
    agrees: bool
    dropped: tuple[str, ...]
    report: Report
    mistake: Break | None = None
    broken: BackwardPass | None = None
    broken_report: Report | None = None

    @property
    def shown(self) -> BackwardPass:
        """The pass that is gone through: the broken one, where there is one."""
        return self.broken or self.right

    @property
    def shown_report(self) -> Report:
        """What the checker says of that pass."""
        return self.report if self.broken_report is None else self.broken_report

    @property
    def leaves(self) -> list[str]:
        """The names of the leaves."""
        return [value.name for value in self.values if value.call is None]

    def value(self, name: str) -> NamedValue:
        """Return the value of that name."""
        return next(value for value in self.values if value.name == name)

    def wrong(self) -> tuple[Wrong, ...]:
        """Return where the gradients of the broken pass differ from the right ones."""
        found = []
        for name in self.leaves:
            right = self.right.grads[name]
            got = self.shown.grads.get(name, np.zeros_like(right))
            # no more than rounding in another order of the same sum
            off = ~np.isclose(got, right, rtol=SAME, atol=SAME)
            if off.any():
                far = np.abs(got - right).argmax()
                at = tuple(int(i) for i in np.unravel_index(far, right.shape))
                numbers = float(got[at]), float(right[at]), int(off.sum()), right.size
                found.append(Wrong(name, at, *numbers))
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """Return the lesson as JSON has it."""
        mistake = self.mistake and {
            "name": self.mistake.name,
            "about": self.mistake.about,
            "why": self.mistake.why,
        }
        return {
            "schema": SCHEMA,
            "network": self.network.name,
            "about": self.network.about,
            "seed": self.seed,
            "values": [value.record() for value in self.values],
            "right": self.right.record(),
            "agrees_with_backward": self.agrees,
            "grad_is_none": list(self.dropped),
            "check": self.report.record(),
            "break": mistake,
            "broken": None if self.broken is None else self.broken.record(),
            "wrong": [dataclasses.asdict(one) for one in self.wrong()],
            "broken_check": None if (found := self.broken_report) is None else found.record(),
        }


def lesson(network: str = "skip", mistake: str | None = None, seed: int = 0) -> Lesson:
    """Walk back through a small network, rightly and with a mistake, and have both checked.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    mistake : str, optional
        One of `BREAKS`.
    seed : int
        Which numbers the network has.

    Raises
    ------
    MinialexError
        If there is no such network or mistake, or this network has nothing of the kind to break.
    """
    net = find_network(network)
    chosen = None if mistake is None else find_break(mistake)
    leaves = _leaves(net.draw(seed))
    with record_calls() as calls:
        values = net.run(**leaves)
    if chosen:
        chosen.check_applies(network, calls)
    named, loss = leaves | values, values["loss"]
    right = walk(loss, names=named, calls=calls)
    agrees, dropped = _agrees(loss, leaves, right), _dropped(values)
    found = Lesson(net, seed, _named(named, calls), right, agrees, dropped, _checked(net, seed))
    if chosen is None:
        return found
    return dataclasses.replace(
        found,
        mistake=chosen,
        broken=chosen.walk(loss, None, leaves, names=named, calls=calls),
        broken_report=_checked(net, seed, chosen),
    )


def _leaves(arrays: dict[str, Array]) -> dict[str, Tensor]:
    return {name: Tensor(a, requires_grad=True) for name, a in arrays.items()}


def _named(named: dict[str, Tensor], calls: list[Call]) -> tuple[NamedValue, ...]:
    names = {id(t.data): name for name, t in named.items()}
    made = {id(call.y): call for call in calls}

    def value(name: str, t: Tensor) -> NamedValue:
        call = made.get(id(t.data))
        inputs = () if call is None else tuple(a for a in call.inputs if a is not None)
        return NamedValue(
            name,
            t.data,
            call,
            tuple(names.get(id(a)) or written(to_numpy(a)) for a in inputs),
        )

    return tuple(value(name, t) for name, t in named.items())


def _agrees(loss: Tensor, leaves: dict[str, Tensor], found: BackwardPass) -> bool:
    """Return whether ``backward`` leaves what was found, bit for bit."""
    loss.backward(retain_graph=True)
    same = [
        t.grad is not None and t.grad.tobytes() == found.grads[name].tobytes()
        for name, t in leaves.items()
    ]
    for t in leaves.values():
        t.grad = None
    return all(same)


def _dropped(values: dict[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name, t in values.items() if t.grad is None)


def _checked(net: SmallNetwork, seed: int, mistake: Break | None = None) -> Report:
    """Return what the gradient checker says of a walk through the network."""
    leaves = _leaves(net.draw(seed))
    report = gradcheck(
        _walked(net, mistake), tuple(leaves.values()), raise_exception=False, seed=seed
    )
    names = list(leaves)

    def renamed(text: str) -> str:
        return re.sub(r"\binput (\d+)\b", lambda found: names[int(found[1])], text)

    return Report(
        tuple(
            dataclasses.replace(one, what=renamed(one.what), detail=tuple(map(renamed, one.detail)))
            for one in report.findings
        ),
        report.remarks,
    )


def _walked(net: SmallNetwork, mistake: Break | None) -> Callable[..., Tensor]:
    """Return the network as one op, whose backward is a walk through it."""

    def backward(gy: Array, saved: tuple[Array, ...]) -> Gradients:
        leaves = _leaves(dict(zip(net.shapes, saved, strict=True)))
        loss = net.run(**leaves)["loss"]
        if mistake is None:
            grads = walk(loss, gy, names=leaves).grads
        else:
            grads = mistake.walk(loss, gy, leaves).grads
        return tuple(grads[name] for name in leaves)

    def forward(*leaves: Tensor) -> Tensor:
        with no_grad():
            loss = net.run(*leaves)["loss"]
        result = Tensor(loss.data, requires_grad=True)
        result.node = Node(
            "walk",
            backward,
            takes=frozenset(),
            saved=tuple(t.data for t in leaves),
            params={},
            edges=leaves,
            shape=loss.shape,
            dtype=loss.dtype,
        )
        return result

    return forward
