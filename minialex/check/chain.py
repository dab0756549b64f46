"""Whether ops that are right each by itself are put together right.

Where a gradient of a composition is not what differences of the whole make it, and none of its ops
is wrong, that is for one of three reasons. What the graph has recorded is not all that the function
does; autograd does not add up what the ops give; or the differences show less than they seem to: a
kink nearby, a change that is lost beside something large. The first two are looked for here, by
running what was recorded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minialex.arrays import Array, to_device, to_numpy
from minialex.autograd import Tensor
from minialex.autograd.graph import Edge, ancestry
from minialex.autograd.op import Call
from minialex.check import noise
from minialex.check.case import Inputs
from minialex.check.measured import direction
from minialex.check.subject import Subject, cotangents, joined

VISIBLE = 1e-6
"""What share of a change of the outputs, or of the terms of a gradient, is put down to rounding."""


def astray(subject: Subject, k: int, gy: Array, rng: np.random.Generator) -> str:
    """Return what is wrong between the ops on the way to leaf `k`, for `gy`; or nothing."""
    wide, xs = not subject.why_narrow, subject.arrays()
    moved = [*_moved(subject, k, rng)]
    with np.errstate(all="ignore"):
        with subject.recorded(wide=wide) as (calls, outputs):
            terms = _added_up(outputs, gy).get([*subject.leaves.values()][k], [])
            again = [_replayed(subject, calls, outputs, there) for there in moved]
        g = subject.vjp(xs, gy, wide=wide)[k]
        here, *elsewhere = (subject.values(there, wide=wide) for there in (xs, *moved))
    if not _is_sum(g, terms):
        name = [*subject.leaves][k]
        return f"what they give for {name} is not what autograd adds up: a hook on the way?"
    for y, replayed in zip(elsewhere, again, strict=True):
        if not _largest(replayed - y) <= VISIBLE * _largest(y - here):
            return (
                "fn is not what they compute: .data, numpy(), detach() or no_grad() on the way, or "
                "code between ops?"
            )
    return ""


def _largest(a: Array) -> float:
    return float(np.abs(a).max(initial=0.0))


def _is_sum(g: Array | None, terms: Sequence[Any]) -> bool:
    if g is None or not terms:
        return g is None and not terms
    total = np.sum([to_numpy(t).astype(np.float64) for t in terms], axis=0)
    return _largest(g - total) <= VISIBLE * max(map(_largest, map(to_numpy, terms)))


def _moved(subject: Subject, k: int, rng: np.random.Generator) -> Iterator[Inputs]:
    """Yield the inputs with number `k` moved a little, and a little more."""
    step = noise.perturbation(subject.work.dtype)
    for share in (step, step**0.5):
        xs = (x for x in subject.arrays() if x is not None)
        yield tuple(x + share * direction(x, rng) if i == k else x for i, x in enumerate(xs))


def _added_up(outputs: Sequence[Tensor], gy: Array) -> dict[Edge, list[Any]]:
    """Return, for each leaf, the gradients that ops give for it."""
    given: dict[Edge, list[Any]] = {}
    for y, part in cotangents(outputs, gy):
        given.setdefault(y if y.node is None else y.node, []).append(part)
    for node in reversed(ancestry(y.node for y in outputs if y.node is not None)):
        terms = given.pop(node, [])
        if not terms:
            continue
        for edge, g in zip(node.edges, node.vjp(sum(terms[1:], terms[0])), strict=True):
            if edge is not None and g is not None:
                given.setdefault(edge, []).append(g)
    return given


def _replayed(
    subject: Subject, calls: Sequence[Call], outputs: Sequence[Tensor], xs: Inputs
) -> Array:
    """Return what the outputs are at `xs`, as the graph has it: all else is what it was."""
    leaves = subject.leaves.values()
    values: dict[Edge, Array] = {
        t: to_device(np.asarray(x, t.dtype), t.device) for t, x in zip(leaves, xs, strict=True)
    }
    for call in calls:
        # one that fn has sent a gradient through itself is no part of the graph any more
        if call.node is not None and not call.node.freed:
            inputs = tuple(
                a if edge is None else values.get(edge, a)
                for edge, a in zip(call.node.edges, call.inputs, strict=True)
            )
            values[call.node] = call.implementation.forward(*inputs, **call.params)[0]
    return joined(values.get(y if y.node is None else y.node, y.data) for y in outputs)
