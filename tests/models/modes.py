"""Training in each way through the products' kernels, and how far rounding may take it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import emulated, using
from minialex.arrays import Array
from minialex.autograd import OPS, Implementation, Op
from minialex.bench.predicted_steps import using_mode
from minialex.models import alexnet
from tests.device import contact_parts
from tests.models.recorded import trained

FP32_ROUNDOFF = 2.0**-22
"""What 3xTF32 may leave out of a factor; FFMA rounds sums of some hundred terms by as much."""

BF16_ROUNDOFF = 2.0**-8
"""That of bfloat16, which factors are rounded to, and activations as they are stored."""

CLASSES = 10

LOSS_ROUNDOFF = 2.0**-23
"""A loss in float32 is rounded itself, and so is what it is computed from."""

GRADIENT_SAFETY, LOSS_SAFETY = 2, 3
"""How many times the error that is expected is allowed: a loss is a single number."""

DRAWS = 4
"""How many runs the error that is expected is estimated from."""


@dataclass(frozen=True)
class Error:
    """How far losses are off, and the Euclidean norms of how far gradients are, by name."""

    losses: Array
    gradients: dict[str, float]


@dataclass(frozen=True)
class Run:
    """What training gave: the loss before each step, and the first step's gradients by name."""

    losses: Array
    gradients: dict[str, Array]

    def error(self, exact: Run) -> Error:
        """Return how far this run is from the exact one; it may be shorter."""
        norms = {
            name: float(np.linalg.norm(self.gradients[name] - gradient))
            for name, gradient in exact.gradients.items()
        }
        return Error(np.abs(self.losses - exact.losses[: len(self.losses)]), norms)


def train(variant: str, size: int, dtype: Any, *, batch: int, steps: int, **rmsprop: float) -> Run:
    """Train on fixed noise of `size` x `size` pixels, the same images at each step."""
    model = alexnet(variant, CLASSES, dropout=0.5, seed=4).to(dtype=dtype)
    batches = [fixed_batch(size, batch, dtype)] * steps
    losses, gradients = trained(model, batches, **rmsprop)
    return Run(np.array(losses), gradients)


def fixed_batch(size: int, batch: int, dtype: Any) -> tuple[Array, Array]:
    """Return noise and classes."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((batch, 3, size, size)).astype(dtype)
    return x, rng.integers(0, 10, batch)


def in_mode(mode: str, **work: Any) -> Run:
    """As `train`, in float32 on emulated kernels."""
    with using_mode(mode), emulated():
        return train(dtype=np.float32, **work)


def roundoff(mode: str) -> float:
    """Return the largest share of itself that a factor of a product is off by."""
    return contact_parts.roundoff(mode) or FP32_ROUNDOFF


@contextlib.contextmanager
def perturbed_products(share: float, seed: int) -> Iterator[None]:
    """Let each factor of a product be off by a random share of itself, of up to `share`.

    Logits are no factors; they are off where activations are bfloat16, whose roundoff that is.
    """
    rng = np.random.default_rng(seed)

    def perturbed(a: Array) -> Array:
        return a * (1 + rng.uniform(-share, share, a.shape))

    def implementation(op: Op) -> Implementation:
        exact = op.implementations["blocked"]

        def forward(x: Array, w: Array, b: Array | None = None, **params: Any) -> Any:
            y = exact.forward(perturbed(x), perturbed(w), b, **params)[0]
            are_rounded = share == BF16_ROUNDOFF and len(w) == CLASSES
            return perturbed(y) if are_rounded else y, (x, w)

        def backward(gy: Array, saved: Any, **params: Any) -> Any:
            gx, gw, _ = exact.backward(perturbed(gy), tuple(map(perturbed, saved)), **params)
            return gx, gw, gy.sum(axis=tuple(i for i in range(gy.ndim) if i != 1))

        return Implementation(forward, backward)

    for name in ("conv2d", "linear"):
        OPS[name].implementations["perturbed"] = implementation(OPS[name])
    try:
        with using("perturbed"):
            yield
    finally:
        for name in ("conv2d", "linear"):
            del OPS[name].implementations["perturbed"]


class Reference:
    """Training in float64: what it gives, and how far from it one expects to be."""

    def __init__(self, **work: Any) -> None:
        self._train = functools.partial(train, dtype=np.float64, **work)
        self._errors: dict[float, Error] = {}

    @functools.cached_property
    def exact(self) -> Run:
        """What it gives."""
        return self._train()

    def expected(self, share: float) -> Error:
        """Return how far it is off where factors are by up to `share`."""
        if share not in self._errors:
            self._errors[share] = expected_error(self._train, self.exact, share)
        return self._errors[share]


def expected_error(work: Callable[[], Run], exact: Run, share: float) -> Error:
    """Return how far `work` is off where factors are by up to `share`: the root mean square."""
    errors = []
    for seed in range(DRAWS):
        with perturbed_products(share, seed):
            errors.append(work().error(exact))
    return Error(
        root_mean_square([e.losses for e in errors]),
        {n: float(root_mean_square([e.gradients[n] for e in errors])) for n in exact.gradients},
    )


def root_mean_square(errors: Sequence[Any]) -> Array:
    """Return the root mean square over the first axis."""
    return np.asarray(np.sqrt(np.mean(np.square(errors), axis=0)))


def assert_losses(losses: Sequence[float], exact: Array, expected: Array) -> None:
    """Hold losses in float32 to the error that is expected of them."""
    allowed = LOSS_SAFETY * (expected + LOSS_ROUNDOFF * exact)
    assert (np.abs(losses - exact) <= allowed).all(), (np.abs(losses - exact) / allowed).round(2)
