"""Random graphs with hooks, on parameters that an optimizer holds and on everything else.

A hook must be called once per backward with the whole gradient, wherever that is written or
deferred, and what it returns must be what is added to `grad` and stepped with. What is right comes
from a backward pass written out here. All numbers are whole: sums have the same bits in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minialex import Tensor, ops, optim
from tests.campaigns.campaign import Campaign

ROWS, WIDTH = 2, 96
"""The gradient of so wide a weight, from so few rows, is deferred where an optimizer holds it."""

OPS_PER_GRAPH = 6
FACTORS = None, None, 2.0, -1.0
"""What hooks multiply a gradient by; None where they only look."""

Array = Any


@dataclass(eq=False)
class Value:
    """A Tensor with hooks, and how its gradient flows on."""

    tensor: Tensor
    pulls: list[tuple[Value, Callable[[Array], Array]]] = field(default_factory=list)
    factors: list[float | None] = field(default_factory=list)
    told: list[Array] = field(default_factory=list)

    def draw_hooks(self, rng: np.random.Generator) -> Value:
        """Register up to two hooks, and now and then one that is removed again."""
        if rng.random() < 0.3:
            self.tensor.register_hook(lambda g: g * 5).remove()
        for _ in range(int(rng.integers(0, 3))):
            factor = FACTORS[rng.integers(len(FACTORS))]
            self.factors.append(factor)
            self.tensor.register_hook(lambda g, f=factor: self._hook(g, f))
        return self

    def _hook(self, g: Array, factor: float | None) -> Array | None:
        self.told.append(g.copy())
        return None if factor is None else g * factor


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Return what is wrong with the graphs of these seeds."""
    return [f"seed {seed}: {fault}" for seed in seeds for fault in faults(seed)]


def faults(seed: int) -> Iterator[str]:
    """Yield what is wrong with the gradients of one or two backward passes, and with a step."""
    rng = np.random.default_rng(seed)
    leaves = [leaf(rng, shape) for shape in 2 * [(WIDTH, WIDTH)] + 2 * [(ROWS, WIDTH)]]
    held = [one for one in leaves if rng.random() < 0.7] or leaves[:1]
    optimizer = optim.SGD([one.tensor for one in held], lr=1.0)
    totals = {one: np.zeros(one.tensor.shape) for one in leaves}
    for _ in range(int(rng.integers(1, 3))):
        values = graph(rng, leaves)
        gy = rng.integers(-1, 2, (ROWS, WIDTH)).astype(np.float64)
        gradients, told = backward(values, gy)
        values[-1].tensor.backward(gy)
        for value in values:
            if not same(value.told, told[value]):
                yield f"a hook of {value.tensor.shape} was told of another gradient, or not once"
            value.told.clear()
        for one in leaves:
            totals[one] += gradients.get(one, 0.0)
    # to look at a deferred gradient computes it: half of the steps are taken without
    for one in leaves if rng.random() < 0.5 else ():
        g = one.tensor.grad
        if not np.array_equal(0 * totals[one] if g is None else g, totals[one]):
            yield f"the gradient of a leaf of {one.tensor.shape} is another"
    right = [one.tensor.data - totals[one] for one in held]
    optimizer.step()
    if not same([one.tensor.data for one in held], right):
        yield "a step was taken with another gradient"


def leaf(rng: np.random.Generator, shape: tuple[int, ...]) -> Value:
    """Return a leaf of small whole numbers."""
    data = rng.integers(-1, 2, shape).astype(np.float64)
    return Value(Tensor(data, requires_grad=True)).draw_hooks(rng)


def graph(rng: np.random.Generator, leaves: list[Value]) -> list[Value]:
    """Return the leaves, and the results of ops on them and on each other; the last is the end."""
    values, weights, rows = list(leaves), leaves[:2], leaves[2:]
    # as long as each factor of a product has a few digits, float64 holds every sum
    deep = 0
    for _ in range(OPS_PER_GRAPH):
        a, b = (rows[i] for i in rng.integers(len(rows), size=2))
        w = weights[rng.integers(len(weights))]
        kind = rng.integers(3)
        if kind == 0 and deep < 3:
            deep += 1
            result = linear(a, w)
        elif kind == 1:
            result = Value(a.tensor * 3.0 - b.tensor, [(a, lambda g: g * 3), (b, np.negative)])
        else:
            result = Value(a.tensor + b.tensor, [(a, np.copy), (b, np.copy)])
        values.append(result.draw_hooks(rng))
        # the newest more often, for graphs that are deep
        rows = [*rows, result, result]
    return values


def linear(a: Value, w: Value) -> Value:
    x, weights = a.tensor.data, w.tensor.data.copy()
    return Value(
        ops.linear(a.tensor, w.tensor), [(a, lambda g: g @ weights), (w, lambda g: g.T @ x)]
    )


def backward(values: list[Value], gy: Array) -> tuple[dict[Value, Array], dict[Value, list[Array]]]:
    """Return the gradient that each value ends with, and what its hooks must be told."""
    gradients: dict[Value, Array] = {values[-1]: gy}
    told: dict[Value, list[Array]] = {value: [] for value in values}
    for value in reversed(values):
        if value not in gradients:
            continue
        for factor in value.factors:
            told[value].append(gradients[value])
            if factor is not None:
                gradients[value] = gradients[value] * factor
        for source, pull in value.pulls:
            gradients[source] = gradients.get(source, 0.0) + pull(gradients[value])
    return gradients, told


def same(got: list[Array], want: list[Array]) -> bool:
    """Return whether these are the same arrays in the same order."""
    return len(got) == len(want) and all(map(np.array_equal, got, want))


CAMPAIGN = Campaign("graphs with hooks", attempt, count=20_000, short=60, batch=60)
