"""Right functions put together at random, of which the checker must accuse none.

One to twelve ops on one to three inputs of sizes from 1e-8 to 1e8, in float64 or float32. Many of
them cancel: an intermediate is larger than what goes in and what comes out. INCONCLUSIVE is no
accusation, but is counted: a checker that decides nothing accuses none either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minialex import Tensor, ops
from minialex.check import Report, Verdict, gradcheck
from tests.campaigns.campaign import Campaign

Step = Callable[..., Tensor]

MOST_OPS = 12
LARGEST_DECADE = 8.0
RANGE = {"float32": 1e15, "float64": 1e100}
"""No value on the way is larger, or nearer to 0: gradients divide by squares of it."""

FAR = 1 << 40
"""From a seed to that of the next attempt, where one drew what is not differentiable."""

DIMS = None, 0, -1


@dataclass(frozen=True)
class Composition:
    """Inputs, and steps that each take earlier values by their numbers; the last are returned."""

    inputs: tuple[Tensor, ...]
    steps: tuple[tuple[str, Step, tuple[int, ...]], ...]
    returned: int

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = list(inputs)
        for _, step, operands in self.steps:
            values.append(step(*(values[i] for i in operands)))
        return tuple(values[-self.returned :])

    def is_finite(self) -> bool:
        """Return whether all gradients are finite: sqrt at 0 has none, and NaN is no right one."""
        with np.errstate(all="ignore"):
            for y in self(*self.inputs):
                if y.requires_grad:
                    y.backward(np.ones(y.shape, y.dtype), retain_graph=True)
        found = [t.grad for t in self.inputs]
        for t in self.inputs:
            t.grad = None
        return all(g is not None and np.isfinite(g).all() for g in found)

    def __str__(self) -> str:
        lines = [f"v{i}: {t.shape} {t.dtype}" for i, t in enumerate(self.inputs)]
        for i, (name, _, operands) in enumerate(self.steps, len(lines)):
            lines.append(f"v{i} = {name}({', '.join(f'v{o}' for o in operands)})")
        return "; ".join(lines) + f"; the last {self.returned} are returned"


def draw(seed: int) -> Composition:
    """Return the composition of that seed."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float64", "float32"]))
    shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 4)))
    inputs = [_input(rng, shape, dtype) for _ in range(rng.integers(1, 4))]
    values, steps = list(inputs), []
    wanted = int(rng.integers(1, MOST_OPS + 1))
    while len(steps) < wanted:
        name, step, arity = _step(rng)
        # the newest more often, for compositions that are deep
        operands = tuple(
            len(values) - 1 - min(int(rng.exponential(1.5)), len(values) - 1) for _ in range(arity)
        )
        y = _tried(step, [values[i] for i in operands], RANGE[dtype])
        if y is not None:
            values.append(y)
            steps.append((name, step, operands))
    returned = min(int(rng.integers(1, 3)), len(steps))
    composition = _pruned(inputs, steps, returned)
    return composition if composition.is_finite() else draw(seed + FAR)


def _pruned(inputs: list[Tensor], steps: list[Any], returned: int) -> Composition:
    """Return the composition without the inputs and steps that no result is made from."""
    first = len(inputs)
    used = set(range(first + len(steps) - returned, first + len(steps)))
    for i in reversed(range(len(steps))):
        if first + i in used:
            used.update(steps[i][2])
    numbers = {old: new for new, old in enumerate(sorted(used))}
    kept = tuple(t for i, t in enumerate(inputs) if i in used)
    rest = tuple(
        (name, step, tuple(numbers[o] for o in operands))
        for i, (name, step, operands) in enumerate(steps, first)
        if i in used
    )
    return Composition(kept, rest, returned)


def _input(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Tensor:
    scale = 10.0 ** rng.uniform(-LARGEST_DECADE, LARGEST_DECADE)
    shift = rng.choice([0.0, 0.0, 1.0, 3.0])
    some = shape[rng.integers(len(shape)) :] if rng.random() < 0.2 else shape
    return Tensor((scale * (rng.standard_normal(some) + shift)).astype(dtype), requires_grad=True)


def _step(rng: np.random.Generator) -> tuple[str, Step, int]:
    """Draw an op: its name, the function, and how many operands it takes."""
    kind = rng.choice(["unary", "binary", "number", "dim", "shape", "layer"], p=P_KINDS)
    number = float(rng.normal() * 10.0 ** rng.integers(-4, 5))
    dim = DIMS[rng.integers(len(DIMS))]
    match kind:
        case "unary":
            name = str(rng.choice(UNARY))
            return name, getattr(ops, name), 1
        case "binary":
            name = str(rng.choice(BINARY))
            return name, getattr(ops, name), 2
        case "number":
            name = str(rng.choice(["add", "subtract", "multiply", "divide", "power", "maximum"]))
            if name == "power":
                number = float(rng.choice([2, 3, -1, 0.5, 1.5]))
            return f"{name} {number:.6g}", lambda x: getattr(ops, name)(x, number), 1
        case "dim":
            name = str(rng.choice(["sum", "mean", "max", "softmax", "log_softmax"]))
            if name in ("softmax", "log_softmax"):
                dim = -1 if dim is None else dim
                return f"{name} {dim}", lambda x: getattr(ops, name)(x, dim), 1
            return f"{name} {dim}", lambda x: getattr(ops, name)(x, dim, True), 1
        case "shape":
            name = str(rng.choice(["flip", "flatten", "part", "concatenate"]))
            return name, SHAPES[name], 2 if name == "concatenate" else 1
    name = str(rng.choice(list(LAYERS)))
    return name, LAYERS[name], 2 if name in ("matmul", "linear", "conv2d") else 1


P_KINDS = (0.3, 0.25, 0.15, 0.15, 0.07, 0.08)
UNARY = (
    *("exp", "log", "sqrt", "tanh", "sigmoid"),
    *("relu", "absolute", "negative", "exp", "tanh"),
)
BINARY = "add", "subtract", "multiply", "divide", "maximum", "minimum", "subtract"


def _image(x: Tensor) -> Tensor:
    """Return `x` as images (1, 1, H, W)."""
    return x.reshape(1, 1, x.shape[0], -1)


SHAPES: dict[str, Step] = {
    "flip": lambda x: x.permute(*reversed(range(x.ndim))),
    "flatten": lambda x: x.reshape(-1),
    "part": lambda x: x[: max(1, x.shape[0] // 2)],
    "concatenate": lambda a, b: ops.concatenate([a, b]),
}
LAYERS: dict[str, Step] = {
    "matmul": lambda a, b: a.reshape(a.shape[0], -1) @ b.reshape(b.shape[0], -1).T,
    "linear": lambda a, b: ops.linear(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)),
    "conv2d": lambda a, b: ops.conv2d(_image(a), _image(b)[:, :, :2, :2], padding=1),
    "max_pool2d": lambda a: ops.max_pool2d(_image(a), 2, 1, 1),
    "avg_pool2d": lambda a: ops.avg_pool2d(_image(a), 2, 1, 1),
    "local_response_norm": lambda a: ops.local_response_norm(
        a.reshape(1, -1, 1, 1), size=3, alpha=0.5, beta=0.75, k=2.0
    ),
}


def _tried(step: Step, operands: list[Tensor], largest: float) -> Tensor | None:
    """Return the result; None where the operands do not go together, or are out of range."""
    try:
        with np.errstate(all="raise", under="ignore"):
            y = step(*operands)
    except (ValueError, TypeError, ArithmeticError, IndexError):
        return None
    sizes = np.abs(y.data[y.data != 0])
    within = np.isfinite(sizes).all() and sizes.size and largest > sizes.max()
    return y if within and sizes.min() > 1 / largest and y.size <= 200 else None


def check(seed: int) -> tuple[Composition, Report]:
    """Return the composition of that seed and what the checker says of it."""
    composition = draw(seed)
    return composition, gradcheck(composition, composition.inputs, raise_exception=False, seed=seed)


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Return one line for each composition that is accused."""
    lines = []
    for seed in seeds:
        composition, report = check(seed)
        if report.verdict is Verdict.FAIL:
            lines.append(f"seed {seed}: {composition}\n{report}")
    return lines


CAMPAIGN = Campaign("right compositions", attempt, count=10_000, short=40, batch=20)
