"""A step of each optimizer over the parameters of a network as a case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from math import prod, sqrt
from typing import Any

import numpy as np

from minialex import optim
from minialex.arrays import Array, to_device
from minialex.autograd import Tensor, implementation_name, using
from minialex.bench import cached_networks
from minialex.bench.case import BenchCase, BenchContext, PreparedCase, collect_contenders
from minialex.bench.correctness import Result, sample
from minialex.bench.layers import ITEM_BYTES
from minialex.bench.source_lines import source_lines
from minialex.bench.workload import STEPS, Workload

OPTIMIZER = "optimizer"
NETWORK = "alexnet"


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer's settings here, and its work per parameter.

    Attributes
    ----------
    settings : dict
    states : int
        Arrays of state, each read and written.
    flops : int
        Operations, a square root and a division counting one each.
    """

    settings: dict[str, Any]
    states: int
    flops: int

    @property
    def bytes(self) -> int:
        """Bytes read and written: the parameter, its gradient, the state."""
        return ITEM_BYTES * (3 + 2 * self.states)


# the article's settings for RMSprop, the usual ones for the others
OPTIMIZERS = {
    "RMSprop": OptimizerSpec(
        {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8, "momentum": 0.9, "weight_decay": 5e-4}, 2, 13
    ),
    "SGD": OptimizerSpec({"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}, 1, 6),
    "Adam": OptimizerSpec(
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 5e-4}, 2, 15
    ),
}


@cache
def shapes(network: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a network's parameters."""
    return tuple(p.shape for p in cached_networks.network(network, 0.5, lambda a: a).parameters())


def update_work(network: str, name: str) -> tuple[int, int]:
    """Return the operations and bytes of one step over a network's parameters."""
    optimizer, size = OPTIMIZERS[name], sum(map(prod, shapes(network)))
    return optimizer.flops * size, optimizer.bytes * size


def optimizer_cases() -> list[BenchCase]:
    """Return a step of each optimizer over the 61.1 million parameters of `alexnet`."""
    return [
        BenchCase(
            op=OPTIMIZER,
            what=name,
            batch=0,
            labels=(NETWORK,),
            work=(update_work(NETWORK, name),),
            prepare=partial(prepare_optimizer, name),
            per_step=int(name == "RMSprop"),
        )
        for name in OPTIMIZERS
    ]


def prepare_optimizer(name: str, context: BenchContext) -> PreparedCase:
    """Make a step ready. What is compared is by how much a few steps change each parameter."""
    rng = np.random.default_rng(3)
    params = [rng.standard_normal(shape, np.float32) for shape in shapes(NETWORK)]
    gradients = [rng.standard_normal(shape, np.float32) for shape in shapes(NETWORK)]
    p, g = ([to_device(a, context.device) for a in group] for group in (params, gradients))
    settings, update = OPTIMIZERS[name].settings, getattr(optim, name).update
    default = implementation_name(update, context.device)
    names = context.selected(list(update.implementations), default)
    contenders, unavailable, failed = collect_contenders(
        context,
        {one: partial(_workload, name, one, p, g) for one in names},
        lambda peer: peer.optimizer(name, p, g, settings),
    )
    samples = [(sample(p), sample(g)) for p, g in zip(params, gradients, strict=True)]
    return PreparedCase(
        contenders,
        independent=lambda: [
            to_device(FORMULAS[name](p.astype(np.float64), g, settings) - p, context.device)
            for p, g in samples
        ],
        unavailable=unavailable,
        failed=failed,
        default=default,
        lines={one: source_lines(update.implementations[one]) for one in names},
    )


def _workload(
    name: str, implementation: str, params: list[Array], gradients: list[Array]
) -> Workload:
    """Make one of our implementations ready."""
    tensors = [Tensor(p, requires_grad=True) for p in params]
    optimizer = getattr(optim, name)(tensors, **OPTIMIZERS[name].settings)
    for t, g in zip(tensors, gradients, strict=True):
        t.grad = g

    def step() -> None:
        with using(**{optimizer.update.name: implementation}):
            optimizer.step()

    before = [sample(t.data) for t in tensors]
    # now, and not when asked: what cannot run here says so at once
    for _ in range(STEPS):
        step()
    changes = [sample(t.data) - b for t, b in zip(tensors, before, strict=True)]
    return Workload(step, lambda: changes)


def _rmsprop(p: Result, g: Result, s: dict[str, Any]) -> Result:
    v, b = np.zeros(p.shape), np.zeros(p.shape)
    for _ in range(STEPS):
        d = g + s["weight_decay"] * p
        v = s["alpha"] * v + (1 - s["alpha"]) * d**2
        b = s["momentum"] * b + d / (np.sqrt(v) + s["eps"])
        p = p - s["lr"] * b
    return p


def _sgd(p: Result, g: Result, s: dict[str, Any]) -> Result:
    b = np.zeros(p.shape)
    for _ in range(STEPS):
        b = s["momentum"] * b + g + s["weight_decay"] * p
        p = p - s["lr"] * b
    return p


def _adam(p: Result, g: Result, s: dict[str, Any]) -> Result:
    (b1, b2), m, v = s["betas"], np.zeros(p.shape), np.zeros(p.shape)
    for t in range(1, STEPS + 1):
        d = g + s["weight_decay"] * p
        m, v = b1 * m + (1 - b1) * d, b2 * v + (1 - b2) * d**2
        p = p - s["lr"] / (1 - b1**t) * m / (np.sqrt(v) / sqrt(1 - b2**t) + s["eps"])
    return p


FORMULAS = {"RMSprop": _rmsprop, "SGD": _sgd, "Adam": _adam}
"""The definitions, in float64: the parameters after a few steps with the same gradient."""
