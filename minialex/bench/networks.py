"""Whole networks as cases: a training step (forward, loss, backward, RMSprop) and inference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minialex import models, optim
from minialex.arrays import BFLOAT16, Device, device_of, to_device
from minialex.autograd import (
    OPS,
    Tensor,
    activation_dtype,
    implementation_for,
    no_grad,
    using,
)
from minialex.bench import cached_networks
from minialex.bench.cached_networks import CLASSES
from minialex.bench.case import (
    DEFAULT,
    PLAIN,
    BenchCase,
    BenchContext,
    PreparedCase,
    collect_contenders,
)
from minialex.bench.correctness import (
    FLOAT32,
    ROUNDED,
    ROUNDED_UPDATE,
    UPDATE,
    Result,
    sample,
)
from minialex.bench.layers import layers, network_work
from minialex.bench.optimizers import update_work
from minialex.bench.peers.peer import Peer
from minialex.bench.workload import STEPS, NetworkTask, Workload
from minialex.ops import cross_entropy

STEP, INFERENCE = "step", "inference"
COMPARED_IMAGES = 8
"""The images on which results are compared, whatever the batch."""
Using = Callable[[], AbstractContextManager[Any]]
"""Returns a context in which implementations are chosen."""


def network_cases(networks: list[str], batch: int, kinds: set[str]) -> list[BenchCase]:
    """Return the training step and the inference of each network, where among the `kinds`."""
    cases = []
    for network in networks:
        if STEP in kinds:
            work = [*network_work(network, batch, True), update_work(network, "RMSprop")]
            cases.append(_case(network, STEP, batch, work))
        if INFERENCE in kinds:
            cases.append(_case(network, INFERENCE, batch, network_work(network, batch, False)))
    return cases


def _case(network: str, op: str, batch: int, work: list[tuple[int, int]]) -> BenchCase:
    what = "forward, loss, backward, RMSprop" if op == STEP else "forward, no gradients"
    prepare = partial(prepare_network, network, op, batch)
    return BenchCase(op, what, batch, (network,), tuple(work), prepare, images=batch)


def network_task(network: str, batch: int, device: Device) -> NetworkTask:
    """Return random images and classes for a network, on a device."""
    rng, size = np.random.default_rng(2), models.VARIANTS[network].image_size
    images = rng.standard_normal((batch, 3, size, size), np.float32)
    targets = rng.integers(0, CLASSES, batch)
    return NetworkTask(network, to_device(images, device), to_device(targets, device))


def prepare_network(network: str, op: str, batch: int, context: BenchContext) -> PreparedCase:
    """Make a step or an inference ready.

    What is compared is the same work without dropout on a few images: for a step, by how much a
    few steps change every parameter. It is computed once per run, whatever the batch.
    """
    device = context.device
    task = network_task(network, batch, device)
    small = context.cached(
        ("small task", network),
        lambda: replace(network_task(network, COMPARED_IMAGES, device), dropout=0.0),
    )
    ops = {layer.op.name for layer in layers(network)}

    def with_result(name: str, make: Callable[[NetworkTask], Workload | None]) -> Workload | None:
        key = network, op, name
        if key not in context.cache:
            # making it ready again takes seconds: weights are drawn anew
            workload = make(small)
            if workload is None:
                return None
            # now, and not when asked: two of these in memory at once are one too many
            context.cache[key] = workload.result()
            del workload
        timed = make(task)
        return None if timed is None else replace(timed, result=lambda: context.cache[key])

    def ours(name: str) -> Workload:
        workload = with_result(name, partial(_workload, op, name))
        assert workload is not None
        return workload

    def peers(peer: Peer) -> Workload | None:
        return with_result(peer.name, peer.step if op == STEP else peer.inference)

    names = _contender_names(ops, context)
    contenders, unavailable, failed = collect_contenders(
        context, {name: partial(ours, name) for name in names}, peers
    )
    in_float64 = replace(small, images=small.images.astype(np.float64))
    return PreparedCase(
        contenders,
        independent=lambda: context.cached(
            (network, op, "float64"), lambda: _workload(op, PLAIN, in_float64).result()
        ),
        tolerance=UPDATE if op == STEP else FLOAT32,
        unavailable=unavailable,
        failed=failed,
        default=DEFAULT if DEFAULT in names else PLAIN,
    )


def _contender_names(ops: set[str], context: BenchContext) -> list[str]:
    """Return "plain", other implementations, and "default" where that is not the same as plain.

    A choice that comes to the default is not timed twice, and is called the default.
    """
    names = context.selected(sorted({n for op in ops for n in OPS[op].implementations}))
    if _is_default(PLAIN, ops, context.device):
        return names
    return [n for n in names if not _is_default(n, ops, context.device)] + [DEFAULT]


def _is_default(name: str, ops: set[str], device: Device) -> bool:
    """Return whether choosing `name` for all ops comes to their defaults."""
    defaults = [implementation_for(OPS[op], device) for op in sorted(ops)]
    with using(name):
        return defaults == [implementation_for(OPS[op], device) for op in sorted(ops)]


def default_step(task: NetworkTask) -> Workload:
    """Return our training step, every op with its default implementation."""
    return _workload(STEP, DEFAULT, task)


def _workload(op: str, name: str, task: NetworkTask) -> Workload:
    """Make our network ready, with one implementation for all ops that have it."""
    device, dtype = device_of(task.images), task.images.dtype
    # astype copies: each contender trains weights of its own
    model = cached_networks.network(
        task.network, task.dropout, lambda a: to_device(a, device).astype(dtype)
    )
    x, implementation = (
        Tensor(task.images),
        nullcontext if name == DEFAULT else partial(using, name),
    )
    if op == STEP:
        workload, rounded = _step(model, x, task, implementation), ROUNDED_UPDATE
    else:
        workload, rounded = _inference(model, x, implementation), ROUNDED
    return replace(workload, tolerance=rounded.get(_roundoff(name)))


def _roundoff(name: str) -> float:
    """Return by how much ops' implementations of that name round what they multiply."""
    found = (op.implementations.get(name) for op in OPS.values())
    return max((one.operand_roundoff for one in found if one is not None), default=0.0)


def _step(model: models.AlexNet, x: Tensor, task: NetworkTask, implementation: Using) -> Workload:
    optimizer = optim.RMSprop(model.parameters(), **task.rmsprop)  # type: ignore[arg-type]

    def run() -> Any:
        with implementation():
            if activation_dtype(x.device) == BFLOAT16:
                optimizer.refresh_shadow()
            optimizer.zero_grad()
            loss = cross_entropy(model(x), task.targets)
            loss.backward()
            optimizer.step()
        return loss

    def result() -> list[Result]:
        before = [sample(p.data) for p in model.parameters()]
        for _ in range(STEPS):
            run()
        after = [sample(p.data) for p in model.parameters()]
        return [a - b for a, b in zip(after, before, strict=True)]

    return Workload(run, result)


def _inference(model: models.AlexNet, x: Tensor, implementation: Using) -> Workload:
    model.eval()

    def run() -> Any:
        with implementation(), no_grad():
            return model(x)

    return Workload(run, lambda: [run().data])
