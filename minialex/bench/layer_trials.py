"""A layer made ready to be timed: every implementation and peer of one pass, and the proof first.

The chain of proof. On a small part of the layer, in float64, the array implementation's forward is
compared with the definition (`minialex.reference`), and its gradients with differences of that
forward. At full size, in float32, it is compared with itself in float64, computed a third of the
batch at a time. Everything else is compared with it at full size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minialex import reference
from minialex.arrays import Array, array_module, on_device, to_device
from minialex.autograd import Implementation, implementation_name
from minialex.bench.calls import AbsentError, Calls
from minialex.bench.case import PLAIN, Bench, Case, Trial, gather
from minialex.bench.layers import DATA, FORWARD, WEIGHT, Layer, draw, layers, work
from minialex.bench.proof import FLOAT64, Result, WrongResultError, check

# the side of the images on which the definition, in plain loops, is affordable
SMALL = 31
# the step of a difference, and how far it may be from the gradient, relative to that
STEP, SLOPE = 1e-8, 1e-5


def layer_cases(networks: list[str], batch: int, ops: set[str] | None = None) -> list[Case]:
    """Return a case for each layer and pass; layers that do the same work are one case."""
    alike: dict[tuple[Any, ...], list[Layer]] = {}
    for network in networks:
        for layer in layers(network):
            if ops is None or layer.op.name in ops:
                alike.setdefault(layer.same, []).append(layer)
    return [_case(group, what, batch) for group in alike.values() for what in group[0].passes]


def _case(group: list[Layer], what: str, batch: int) -> Case:
    layer, network = group[0], group[0].label.split()[0]
    mine = [one for one in group if one.label.split()[0] == network]
    return Case(
        op=layer.op.name,
        what=what,
        batch=batch,
        labels=tuple(one.label for one in group),
        parts=(work(layer, what, batch),),
        make=partial(layer_trial, layer, what, batch),
        count=sum(not (what == DATA and one.first) for one in mine),
    )


def layer_trial(layer: Layer, what: str, batch: int, bench: Bench) -> Trial:
    """Make a layer's pass ready; its array implementation is proved first, once a run."""
    bench.once(("proved", layer.same), partial(prove, layer))
    rng = np.random.default_rng(batch)
    host = draw(layer, batch, rng)
    host_gy = np.asarray(rng.standard_normal(layer.out(batch), np.float32))
    with on_device(bench.device):
        inputs = tuple(None if a is None else to_device(a, bench.device) for a in host)
        gy = to_device(host_gy, bench.device)
        names = bench.wanted(list(layer.op.implementations))
        ours = {name: partial(_ours, layer, what, name, inputs, gy) for name in names}
        contenders, absent, broken = gather(
            bench, ours, lambda peer: peer.layer(layer.op.name, what, inputs, gy, layer.params)
        )
    independent = partial(_independent, layer, what, inputs, gy)
    name = implementation_name(layer.op, bench.device)
    return Trial(contenders, independent, chosen=name, absent=absent, broken=broken)


def needs(layer: Layer, what: str) -> tuple[bool, ...]:
    """Return which inputs a pass wants the gradients of."""
    wanted = layer.parameters if what == WEIGHT else (0,)
    return tuple(i in wanted for i in range(len(layer.shapes)))


def _ours(layer: Layer, what: str, name: str, inputs: tuple[Array | None, ...], gy: Array) -> Calls:
    """Make one of our implementations ready."""
    one = layer.op.implementations[name]
    saved = one.forward(*inputs, **layer.params)[1]
    run = _runner(layer, what, one, inputs, gy, saved)
    return Calls(run, run)


def _runner(
    layer: Layer,
    what: str,
    one: Implementation,
    inputs: tuple[Array | None, ...],
    gy: Array,
    saved: tuple[Any, ...],
) -> Callable[[], list[Array]]:
    """Return a function that does one pass and returns what it computed."""
    if what == FORWARD:
        return lambda: [one.forward(*inputs, **layer.params)[0]]
    wanted = needs(layer, what)
    extras: dict[str, Any] = {}
    if "needs" in one.takes:
        extras["needs"] = wanted
    elif layer.parameters:
        raise AbsentError("its backward gives all gradients at once")
    if "out" in one.takes and what == WEIGHT:
        # as in training: a weight gradient has its place in the arena
        xp = array_module(gy)
        homes = zip(inputs, wanted, strict=True)
        extras["out"] = tuple(xp.empty_like(a) if w and a is not None else None for a, w in homes)

    def run() -> list[Array]:
        gradients = one.backward(gy, saved, **layer.params, **extras)
        return [g for g, w in zip(gradients, wanted, strict=True) if w and g is not None]

    return run


def _independent(
    layer: Layer, what: str, inputs: tuple[Array | None, ...], gy: Array
) -> list[Result]:
    """Return the pass in float64, a third of the batch at a time: other blocks, other rounding."""
    batch = next(len(a) for a, g in zip(inputs, layer.growth, strict=True) if a is not None and g)
    whole = not any(layer.shape_growth) or "seed" in layer.params
    step = batch if whole else batch // 3 + 1
    pieces: list[list[Result]] = []
    for start in range(0, batch, step):
        cut = slice(start, start + step)
        some = tuple(_cut(a, g, cut) for a, g in zip(inputs, layer.growth, strict=True))
        saved_gy = gy if whole else gy[cut]
        pieces.append(_exact(layer, what, some, saved_gy.astype(np.float64)))
    if what == WEIGHT:
        return [sum(parts[1:], start=parts[0]) for parts in zip(*pieces, strict=True)]
    return [
        array_module(gy).concatenate(parts) if parts[0].ndim else parts[0]
        for parts in zip(*pieces, strict=True)
    ]


def _cut(a: Array | None, growth: tuple[int, ...] | None, cut: slice) -> Array | None:
    if a is None:
        return None
    part = a[cut] if growth is not None and any(growth) else a
    return part.astype(np.float64) if part.dtype.kind == "f" else part


def _exact(layer: Layer, what: str, inputs: tuple[Array | None, ...], gy: Array) -> list[Result]:
    one = layer.op.implementations[PLAIN]
    y, saved = one.forward(*inputs, **layer.params)
    return [y] if what == FORWARD else _runner(layer, what, one, inputs, gy, saved)()


def prove(layer: Layer) -> None:
    """Hold the array implementation against the definition, and its gradients against differences.

    Raises
    ------
    WrongResultError
        If they differ.
    """
    rng = np.random.default_rng(1)
    inputs = _small(layer, draw(layer, 1, rng, np.float64))
    y, saved = layer.op.implementations[PLAIN].forward(*inputs, **layer.params)
    truth = getattr(reference, layer.op.name)(*inputs, **layer.params)
    try:
        check([y], [np.asarray(truth)], FLOAT64)
    except WrongResultError as why:
        raise WrongResultError(f"the array implementation is not the definition: {why}") from why
    gy = np.asarray(rng.standard_normal(y.shape))
    for what in layer.passes[1:]:
        one = layer.op.implementations[PLAIN]
        wanted = [i for i, w in enumerate(needs(layer, what)) if w and inputs[i] is not None]
        gradients = _runner(layer, what, one, inputs, gy, saved)()
        for i, g in zip(wanted, gradients, strict=True):
            _check_slope(layer, inputs, i, gy, g, rng)


def _small(layer: Layer, inputs: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """Return a part of the inputs: a corner of the image, and the first filters of each group."""
    groups = layer.params.get("groups", 1)
    small: list[Array | None] = []
    for i, a in enumerate(inputs):
        if a is not None and i in layer.parameters:
            a = a.reshape(groups, -1, *a.shape[1:])[:, :2].reshape(-1, *a.shape[1:])
        elif a is not None and a.ndim == 4:
            a = a[:, :, :SMALL, :SMALL]
        small.append(a)
    return tuple(small)


def _check_slope(
    layer: Layer,
    inputs: tuple[Array | None, ...],
    i: int,
    gy: Array,
    g: Array,
    rng: np.random.Generator,
) -> None:
    """Hold the gradient `g` of input `i` against the slope of forward along a random direction."""
    x = inputs[i]
    assert x is not None
    forward, v = layer.op.implementations[PLAIN].forward, rng.standard_normal(x.shape)
    up, down = (
        forward(*inputs[:i], x + h * v, *inputs[i + 1 :], **layer.params)[0] for h in (STEP, -STEP)
    )
    slope = float(np.sum((up - down) * gy)) / (2 * STEP)
    off, size = abs(slope - float(np.sum(g * v))), float(np.linalg.norm(g))
    # written so that NaN is refused
    if not off <= SLOPE * size:
        raise WrongResultError(
            f"the array implementation's gradient of input {i} of {layer.label} is off by "
            f"{off / (size or 1):.2g} of its size along a random direction"
        )
