"""Whole networks as cases: a training step (forward, loss, backward, RMSprop) and inference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minialex import models, optim
from minialex.arrays import Device, device_of, to_device
from minialex.autograd import OPS, Tensor, implementation_for, no_grad, using
from minialex.bench import drawn
from minialex.bench.calls import STEPS, Calls, Task
from minialex.bench.case import PLAIN, Bench, Case, Trial, gather
from minialex.bench.drawn import CLASSES
from minialex.bench.layers import layers, network_parts
from minialex.bench.optimizers import update_work
from minialex.bench.peers.peer import Peer
from minialex.bench.proof import FLOAT32, UPDATE, Result, sample
from minialex.ops import cross_entropy

STEP, INFERENCE = "step", "inference"
CHOSEN = "default"
"""The contender for which every op chooses its implementation itself."""
# enough images to compare results on; at most so many
FEW = 8
Choice = Callable[[], AbstractContextManager[Any]]


def network_cases(networks: list[str], batch: int, wanted: set[str]) -> list[Case]:
    """Return the training step and the inference of each network."""
    cases = []
    for network in networks:
        if STEP in wanted:
            parts = [*network_parts(network, batch, True), update_work(network, "RMSprop")]
            cases.append(_case(network, STEP, batch, parts))
        if INFERENCE in wanted:
            cases.append(_case(network, INFERENCE, batch, network_parts(network, batch, False)))
    return cases


def _case(network: str, op: str, batch: int, parts: list[tuple[int, int]]) -> Case:
    what = "forward, loss, backward, RMSprop" if op == STEP else "forward, no gradients"
    make = partial(network_trial, network, op, batch)
    return Case(op, what, batch, (network,), tuple(parts), make, images=batch)


def task_of(network: str, batch: int, device: Device) -> Task:
    """Return random images and classes for a network, on a device."""
    rng, size = np.random.default_rng(2), models.VARIANTS[network].image_size
    images = rng.standard_normal((batch, 3, size, size), np.float32)
    targets = rng.integers(0, CLASSES, batch)
    return Task(network, to_device(images, device), to_device(targets, device))


def network_trial(network: str, op: str, batch: int, bench: Bench) -> Trial:
    """Make a step or an inference ready.

    What is compared is the same work without dropout on a few images: for a step, by how much a
    few steps change every parameter. It is computed once a run, whatever the batch.
    """
    task = task_of(network, batch, bench.device)
    few = bench.once(
        ("few", network), lambda: replace(task_of(network, FEW, bench.device), dropout=0.0)
    )
    used = {layer.op.name for layer in layers(network)}
    names = bench.wanted(sorted({n for o in used for n in OPS[o].implementations}))
    plain = _alike(PLAIN, used, bench.device)
    if not plain:
        # once, and under the name that says why it is of interest
        names = [n for n in names if not _alike(n, used, bench.device)] + [CHOSEN]

    def checked(name: str, make: Callable[[Task], Calls | None]) -> Calls | None:
        key = network, op, name
        if key not in bench.known:
            # to make it ready again takes seconds: weights are drawn afresh
            small = make(few)
            if small is None:
                return None
            # now, and not when asked: two of these in memory at once are one too many
            bench.known[key] = small.result()
            del small
        large = make(task)
        return None if large is None else replace(large, result=lambda: bench.known[key])

    def ours(name: str) -> Calls:
        calls = checked(name, partial(_ours, op, name))
        assert calls is not None
        return calls

    def theirs(peer: Peer) -> Calls | None:
        return checked(peer.name, peer.step if op == STEP else peer.inference)

    contenders, absent, broken = gather(bench, {n: partial(ours, n) for n in names}, theirs)
    exact = replace(few, images=few.images.astype(np.float64))
    bound = UPDATE if op == STEP else FLOAT32
    return Trial(
        contenders,
        lambda: bench.once((network, op, "float64"), lambda: _ours(op, PLAIN, exact).result()),
        bound,
        absent,
        broken,
        chosen=PLAIN if plain else CHOSEN,
    )


def _alike(name: str, ops: set[str], device: Device) -> bool:
    """Return whether choosing `name` for all ops comes to what they choose by themselves."""
    by_themselves = [implementation_for(OPS[op], device) for op in sorted(ops)]
    with using(name):
        return by_themselves == [implementation_for(OPS[op], device) for op in sorted(ops)]


def our_step(task: Task) -> Calls:
    """Return our training step, every op with the implementation that it chooses."""
    return _ours(STEP, CHOSEN, task)


def _ours(op: str, name: str, task: Task) -> Calls:
    """Make our network ready, with one implementation for all ops that have it."""
    there, dtype = device_of(task.images), task.images.dtype
    # astype copies: each contender trains weights of its own
    model = drawn.network(task.network, task.dropout, lambda a: to_device(a, there).astype(dtype))
    x, chosen = Tensor(task.images), nullcontext if name == CHOSEN else partial(using, name)
    return _step(model, x, task, chosen) if op == STEP else _inference(model, x, chosen)


def _step(model: models.AlexNet, x: Tensor, task: Task, chosen: Choice) -> Calls:
    optimizer = optim.RMSprop(model.parameters(), **task.rmsprop)  # type: ignore[arg-type]

    def run() -> Any:
        with chosen():
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

    return Calls(run, result)


def _inference(model: models.AlexNet, x: Tensor, chosen: Choice) -> Calls:
    model.eval()

    def run() -> Any:
        with chosen(), no_grad():
            return model(x)

    return Calls(run, lambda: [run().data])
