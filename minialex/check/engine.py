"""What autograd owes every op: gradients that add up, and go where they should.

Ops are checked one by one; here is what is between them. All numbers are small and whole, so that
results are exact and must be equal. Ops run in their plain implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import arrays
from minialex.arrays import CPU, Array, Device, array_module, to_numpy
from minialex.autograd import DeferredGradient, Tensor, no_grad, using
from minialex.autograd.graph import Node
from minialex.check import comparison
from minialex.check.case_findings import CaseFindings
from minialex.check.kinds import Kind
from minialex.check.verdict import Finding, Verdict

MakeLeaf = Callable[..., Tensor]
"""From numbers to a Tensor of them that requires a gradient."""

Facts = Iterator[tuple[str, Any, Any]]
"""What is compared, what it is and what it must be: an array, numbers, or None."""


@dataclass(frozen=True)
class Engine:
    """Autograd itself, on a device, in a type."""

    dtype: Any
    device: Device = CPU
    title: str = "engine"
    name: str = "autograd"

    def why_not(self) -> str:
        """Return an empty text: it can run."""
        return ""

    def launches_kernels(self) -> bool:
        """Return False: ops run in their plain implementations."""
        return False

    def record(self) -> dict[str, str]:
        """Return what names it, as JSON has it."""
        return {"engine": self.name, "dtype": str(self.dtype), "device": str(self.device)}

    def __str__(self) -> str:
        return f"{self.title} {self.name} {self.dtype} on {self.device}"

    def leaf(self, *numbers: Any) -> Tensor:
        """Return a leaf of these numbers."""
        host = np.array(numbers, self.dtype)
        return Tensor(arrays.to_device(host, self.device), requires_grad=True)


@dataclass(frozen=True, eq=False)
class EngineCase:
    """One thing that autograd owes."""

    name: str
    facts: Callable[[MakeLeaf], Facts]


def check(engine: Engine, case: EngineCase) -> CaseFindings:
    """Check that the facts of a case hold."""
    with using("plain"):
        found = tuple(_compare(*fact) for fact in case.facts(engine.leaf))
    return CaseFindings(engine, case.name, found, Kind.ENGINE)


def _compare(what: str, got: Any, want: Any) -> Finding:
    if got is None or want is None:
        right = got is want
        shown, size = f"got {_shown(got)}, it must be {_shown(want)}", 1
    else:
        host, truth = to_numpy(got) if arrays.is_array(got) else np.array(got), np.array(want)
        right = host.shape == truth.shape and np.array_equal(host, truth, equal_nan=True)
        shown, size = f"got {host.tolist()}, it must be {truth.tolist()}", truth.size
    return Finding(what, Verdict.PASS, 0.0, 0.0, size) if right else comparison.wrong(what, shown)


def _shown(value: Any) -> str:
    return "none" if value is None else "a gradient"


CASES: list[EngineCase] = []


def cases_of(kind: Kind, engine: Engine) -> list[EngineCase]:
    """Return all cases where that is what is asked, and none for another kind of check."""
    return CASES if kind is Kind.ENGINE else []


CHECKS = {Kind.ENGINE: check}


def _case(name: str) -> Callable[[Callable[[MakeLeaf], Facts]], Callable[[MakeLeaf], Facts]]:
    def add(facts: Callable[[MakeLeaf], Facts]) -> Callable[[MakeLeaf], Facts]:
        CASES.append(EngineCase(name, facts))
        return facts

    return add


# ---- gradients add up ----------------------------------------------------------------------------


@_case("one leaf in two ops")
def _(leaf: MakeLeaf) -> Facts:
    w, x, z = leaf(2, 3), leaf(5, 7), leaf(11, 13)
    (w * x + w * z).sum().backward()
    yield "gradient of the shared leaf", w.grad, [16, 20]
    yield "gradient of one factor", x.grad, [2, 3]


@_case("one leaf twice in one op")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(2, -3)
    (x * x).sum().backward()
    yield "gradient", x.grad, [4, -6]


@_case("one result twice in one op, and in two")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(3)
    a = x * 2
    (a * a + a).sum().backward()
    yield "gradient", x.grad, [2 * 2 * 6 + 2]


@_case("branches of unequal length")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(2)
    a = x * x
    long = a
    for _ in range(5):
        long = long + 1
    (a * long).sum().backward()
    # y = x^2 (x^2 + 5)
    yield "gradient", x.grad, [4 * 8 + 10 * 2]


@_case("sixty diamonds, one after another")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(1)
    y = x
    for _ in range(60):
        y = y * 0.5 + y * 0.5
    y.sum().backward()
    yield "gradient", x.grad, [1]


@_case("a cotangent that two branches share")
def _(leaf: MakeLeaf) -> Facts:
    # the backward of add may give one array to both its inputs; more flows into one of them later
    x, z = leaf(1, 2), leaf(3, 4)
    a, b = x * 1, z * 1
    (a + b + a).sum().backward()
    yield "gradient of what stands twice", x.grad, [2, 2]
    yield "gradient of what stands once", z.grad, [1, 1]


@_case("graphs drawn at random")
def _(leaf: MakeLeaf) -> Facts:
    for seed in range(20):
        yield from _random_graph(leaf, np.random.default_rng(seed))


def _random_graph(leaf: MakeLeaf, rng: np.random.Generator) -> Facts:
    """Compare with derivatives carried forward beside the values: of whole numbers, exact."""
    start = [int(n) for n in rng.integers(-2, 3, 3)]
    leaves = [leaf(n) for n in start]
    nodes = list(leaves)
    values, slopes = list(start), [np.eye(3, dtype=int)[k] for k in range(3)]
    for _ in range(12):
        i, j = rng.integers(len(nodes), size=2)
        product = values[i] * slopes[j] + values[j] * slopes[i]
        if rng.random() < 0.5 and max(abs(values[i] * values[j]), *abs(product)) < 1000:
            node, value, slope = nodes[i] * nodes[j], values[i] * values[j], product
        else:
            node, value = nodes[i] - nodes[j], values[i] - values[j]
            slope = slopes[i] - slopes[j]
        nodes.append(node)
        values.append(value)
        slopes.append(slope)
    total = nodes[0]
    for node in nodes[1:]:
        total = total + node
    total.sum().backward()
    for k, x in enumerate(leaves):
        yield f"gradient of leaf {k}", x.grad, [int(sum(slope[k] for slope in slopes))]


@_case("a second backward adds")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(1, 2)
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    yield "gradient", x.grad, [7, 7]
    x.grad = None
    (x * 5).sum().backward()
    yield "gradient after it was set to None", x.grad, [5, 5]


@_case("a graph that is kept")
def _(leaf: MakeLeaf) -> Facts:
    x = leaf(2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    yield "gradient", x.grad, [8]


@_case("what needs no gradient gets none")
def _(leaf: MakeLeaf) -> Facts:
    x, c = leaf(3), leaf(5).detach()
    (x * c).sum().backward()
    yield "gradient of the leaf", x.grad, [5]
    yield "gradient of the constant", c.grad, None
    with no_grad():
        y = x * 2
    yield "node under no_grad", y.node, None


@_case("gradients are arrays of their own")
def _(leaf: MakeLeaf) -> Facts:
    a, b = leaf(1, 2), leaf(3, 4)
    gy = array_module(a.data).ones_like(a.data)
    (a + b).backward(gy)
    assert a.grad is not None
    a.grad += 1
    yield "gradient of another leaf", b.grad, [1, 1]
    yield "cotangent", gy, [1, 1]


# ---- where an optimizer holds the gradient -------------------------------------------------------


def _homed(x: Tensor) -> tuple[Tensor, Array]:
    """Give a leaf a grad_buffer between two elements that are not its own; return these all."""
    xp = array_module(x.data)
    arena: Array = xp.full(x.data.size + 2, np.nan, x.dtype)
    x.grad_buffer = arena[1:-1].reshape(x.shape)
    return x, arena


def _around(*inside: float) -> list[float]:
    return [np.nan, *inside, np.nan]


@_case("a gradient in its buffer")
def _(leaf: MakeLeaf) -> Facts:
    w, arena = _homed(leaf(1, 2))
    (w * 3).sum().backward()
    yield "buffer", arena, _around(3, 3)
    (w * 4).sum().backward()
    yield "buffer after a second backward", arena, _around(7, 7)
    yield "gradient", w.grad, [7, 7]
    w.grad = None
    (w * 5 + w * w).sum().backward()
    yield "buffer after the gradient was set to None", arena, _around(5 + 2, 5 + 4)


def _recorded(x: Tensor, y: Array, backward: Callable[..., Any], *takes: str) -> Tensor:
    """Return `y` as made of `x` by an op with that backward, which makes these requests."""
    result = Tensor(y)
    result.requires_grad = True
    result.node = Node(
        "recorded",
        backward,
        takes=frozenset(takes),
        saved=(),
        params={},
        edges=(x.node or x,),
        shape=y.shape,
        dtype=y.dtype,
    )
    return result


def _doubled_in_place(x: Tensor) -> Tensor:
    """Return 2 x, by an op that writes its gradient where `out` says."""

    def backward(gy: Array, saved: Any, *, out: tuple[Array | None]) -> tuple[Array]:
        (place,) = out
        return (array_module(gy).multiply(gy, 2, out=place),)

    return _recorded(x, x.data * 2, backward, "out")


@_case("a backward that writes to the buffer itself")
def _(leaf: MakeLeaf) -> Facts:
    w, arena = _homed(leaf(1, 2))
    (_doubled_in_place(w) + w * 3).sum().backward()
    yield "buffer, beside another op", arena, _around(5, 5)
    (_doubled_in_place(w) + _doubled_in_place(w)).sum().backward()
    yield "buffer, twice in a second backward", arena, _around(9, 9)
    x = leaf(1, 2)
    _doubled_in_place(x * 3).sum().backward()
    yield "gradient through a result, which has no buffer", x.grad, [6, 6]


def _tripled_later(x: Tensor, seen: list[bool]) -> Tensor:
    """Return 3 x, by an op that defers its gradient where it may, and notes whether it might."""

    def backward(gy: Array, saved: Any, *, may_defer: tuple[bool]) -> tuple[Any]:
        seen.append(may_defer[0])
        kept = gy.copy()

        def compute_rows(rows: slice, out: Array) -> None:
            out[...] = kept[rows] * 3

        later = DeferredGradient(gy.shape, gy.dtype, compute_rows)
        return (later if may_defer[0] else gy * 3,)

    return _recorded(x, x.data * 3, backward, "may_defer")


@_case("a deferred gradient")
def _(leaf: MakeLeaf) -> Facts:
    seen: list[bool] = []
    w, arena = _homed(leaf(1, 2))
    _tripled_later(w, seen).sum().backward()
    yield "buffer before it is read", arena, _around(np.nan, np.nan)
    yield "gradient", w.grad, [3, 3]
    _tripled_later(w, seen).sum().backward()
    yield "gradient after a second backward", w.grad, [6, 6]
    w.grad = None
    _tripled_later(w, seen).sum().backward()
    (w * 2).sum().backward()
    yield "gradient with one that is not deferred", w.grad, [5, 5]
    w.grad = None
    _tripled_later(w, seen).sum().backward()
    w.grad = None
    yield "gradient set to None while it waits", w.grad, None
    _tripled_later(leaf(1, 2), seen).sum().backward()
    yield "whether it may be deferred", seen, [True, False, True, True, False]


# ---- hooks ---------------------------------------------------------------------------------------


@_case("hooks of a leaf")
def _(leaf: MakeLeaf) -> Facts:
    x, seen = leaf(1, 2), list[Any]()
    handle = x.register_hook(lambda g: seen.append(to_numpy(g).copy()))
    x.register_hook(lambda g: g * 10)
    (x * 2 + x * 3).sum().backward()
    yield "what the hook was called with", seen, [[5, 5]]
    yield "gradient that another replaced", x.grad, [50, 50]
    handle.remove()
    (x * 2).sum().backward()
    yield "calls after it was removed", len(seen), 1
    yield "gradient after a second backward", x.grad, [70, 70]


@_case("hooks of a result")
def _(leaf: MakeLeaf) -> Facts:
    x, seen = leaf(1, 2), list[Any]()
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: seen.append(to_numpy(g).copy()))
    y.register_hook(lambda g: g * 5)
    (y * 3 + y).sum().backward()
    yield "what the hook was called with", seen, [[4, 4]]
    yield "retained gradient", y.grad, [20, 20]
    yield "gradient of the leaf", x.grad, [40, 40]


@_case("hooks before a buffer")
def _(leaf: MakeLeaf) -> Facts:
    w, arena = _homed(leaf(1, 2))
    w.register_hook(lambda g: g * 10)
    (_doubled_in_place(w) + w * w).sum().backward()
    yield "buffer", arena, _around(10 * (2 + 2), 10 * (2 + 4))
