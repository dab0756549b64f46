"""Layers as cases: every implementation and peer of one pass, and how their results are verified.

On a small part of the layer, in float64, the plain implementation's forward is compared with the
definition (`minialex.reference`), and its gradients with finite differences of that forward. At
full size, in float32, it is compared with itself in float64, computed a third of the batch at a
time. All other contenders are compared with it at full size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minialex import reference
from minialex.arrays import Array, array_module, on_device, to_device
from minialex.autograd import Implementation, implementation_name
from minialex.bench.case import PLAIN, BenchCase, BenchContext, PreparedCase, collect_contenders
from minialex.bench.correctness import FLOAT64, ROUNDED, Result, WrongResultError, check
from minialex.bench.layers import DATA, FORWARD, WEIGHT, Layer, draw, layer_work, layers
from minialex.bench.source_lines import source_lines
from minialex.bench.workload import UnavailableError, Workload

REFERENCE_IMAGE_SIDE = 31
"""The side of the images on which the definition, in plain loops, is affordable."""
REFERENCE_FILTERS_PER_GROUP = 2
DIFFERENCE_STEP, DIFFERENCE_TOLERANCE = 1e-8, 1e-5
"""The step of a finite difference, and how far a gradient may be from it, relative to it."""


def layer_cases(networks: list[str], batch: int, ops: set[str] | None = None) -> list[BenchCase]:
    """Return a case for each layer and pass; layers that do the same work are one case."""
    groups: dict[tuple[Any, ...], list[Layer]] = {}
    for network in networks:
        for layer in layers(network):
            if ops is None or layer.op.name in ops:
                groups.setdefault(layer.work_key, []).append(layer)
    return [_case(group, what, batch) for group in groups.values() for what in group[0].passes]


def _case(group: list[Layer], what: str, batch: int) -> BenchCase:
    layer, network = group[0], group[0].label.split()[0]
    own = [one for one in group if one.label.split()[0] == network]
    return BenchCase(
        op=layer.op.name,
        what=what,
        batch=batch,
        labels=tuple(one.label for one in group),
        work=(layer_work(layer, what, batch),),
        prepare=partial(prepare_layer, layer, what, batch),
        per_step=sum(not (what == DATA and one.first) for one in own),
    )


def prepare_layer(layer: Layer, what: str, batch: int, context: BenchContext) -> PreparedCase:
    """Make a layer's pass ready; its plain implementation is verified first, once per run."""
    context.cached(("verified", layer.work_key), partial(verify_plain, layer))
    rng = np.random.default_rng(batch)
    host = draw(layer, batch, rng)
    host_gy = np.asarray(rng.standard_normal(layer.output_at(batch), np.float32))
    with on_device(context.device):
        inputs = tuple(None if a is None else to_device(a, context.device) for a in host)
        gy = to_device(host_gy, context.device)
        default = implementation_name(layer.op, context.device)
        names = context.selected(list(layer.op.implementations), default)
        contenders, unavailable, failed = collect_contenders(
            context,
            {name: partial(_workload, layer, what, name, inputs, gy) for name in names},
            lambda peer: peer.layer(layer.op.name, what, inputs, gy, layer.params),
        )
    return PreparedCase(
        contenders,
        independent=partial(_in_float64, layer, what, inputs, gy),
        unavailable=unavailable,
        failed=failed,
        default=default,
        lines={name: source_lines(layer.op.implementations[name]) for name in names},
    )


def needs(layer: Layer, what: str) -> tuple[bool, ...]:
    """Return which inputs a pass computes the gradients of."""
    of = layer.parameters if what == WEIGHT else (0,)
    return tuple(i in of for i in range(len(layer.input_shapes)))


def _workload(
    layer: Layer, what: str, name: str, inputs: tuple[Array | None, ...], gy: Array
) -> Workload:
    """Make one of our implementations ready."""
    one = layer.op.implementations[name]
    saved = one.forward(*inputs, **layer.params)[1]
    run = layer_pass(layer, what, one, inputs, gy, saved)
    return Workload(run, run, ROUNDED.get(one.operand_roundoff))


def layer_pass(
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
    needed = needs(layer, what)
    extras: dict[str, Any] = {}
    if "needs" in one.takes:
        extras["needs"] = needed
    elif layer.parameters:
        raise UnavailableError("its backward gives all gradients at once")
    if "out" in one.takes and what == WEIGHT:
        # as in training, where weight gradients are written into the arena
        xp = array_module(gy)
        buffers = zip(inputs, needed, strict=True)
        extras["out"] = tuple(xp.empty_like(a) if n and a is not None else None for a, n in buffers)

    def run() -> list[Array]:
        gradients = one.backward(gy, saved, **layer.params, **extras)
        return [g for g, n in zip(gradients, needed, strict=True) if n and g is not None]

    return run


def _in_float64(
    layer: Layer, what: str, inputs: tuple[Array | None, ...], gy: Array
) -> list[Result]:
    """Return the pass in float64, a third of the batch at a time: other blocks, other rounding."""
    growths = layer.input_growth
    batch = next(len(a) for a, g in zip(inputs, growths, strict=True) if a is not None and g)
    # a scalar loss and a drawn mask are those of the whole batch
    whole = not any(layer.output_growth) or "seed" in layer.params
    step = batch if whole else batch // 3 + 1
    parts: list[list[Result]] = []
    for start in range(0, batch, step):
        images = slice(start, start + step)
        part = tuple(_images_of(a, g, images) for a, g in zip(inputs, growths, strict=True))
        part_gy = gy if whole else gy[images]
        parts.append(_plain_pass(layer, what, part, part_gy.astype(np.float64)))
    if what == WEIGHT:
        return [sum(arrays[1:], start=arrays[0]) for arrays in zip(*parts, strict=True)]
    return [
        array_module(gy).concatenate(arrays) if arrays[0].ndim else arrays[0]
        for arrays in zip(*parts, strict=True)
    ]


def _images_of(a: Array | None, growth: tuple[int, ...] | None, images: slice) -> Array | None:
    if a is None:
        return None
    part = a[images] if growth is not None and any(growth) else a
    return part.astype(np.float64) if part.dtype.kind == "f" else part


def _plain_pass(
    layer: Layer, what: str, inputs: tuple[Array | None, ...], gy: Array
) -> list[Result]:
    plain = layer.op.implementations[PLAIN]
    y, saved = plain.forward(*inputs, **layer.params)
    return [y] if what == FORWARD else layer_pass(layer, what, plain, inputs, gy, saved)()


def verify_plain(layer: Layer) -> None:
    """Compare plain's forward with the definition, and its gradients with finite differences.

    Raises
    ------
    WrongResultError
        If they differ.
    """
    rng, plain = np.random.default_rng(1), layer.op.implementations[PLAIN]
    inputs = _reference_inputs(layer, draw(layer, 1, rng, np.float64))
    y, saved = plain.forward(*inputs, **layer.params)
    truth = getattr(reference, layer.op.name)(*inputs, **layer.params)
    try:
        check([y], [np.asarray(truth)], FLOAT64)
    except WrongResultError as why:
        raise WrongResultError(f"the plain implementation is not the definition: {why}") from why
    gy = np.asarray(rng.standard_normal(y.shape))
    for what in layer.passes[1:]:
        indices = [i for i, n in enumerate(needs(layer, what)) if n and inputs[i] is not None]
        gradients = layer_pass(layer, what, plain, inputs, gy, saved)()
        for i, g in zip(indices, gradients, strict=True):
            _check_directional_derivative(layer, inputs, i, gy, g, rng)


def _reference_inputs(layer: Layer, inputs: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """Return a part of the inputs: a corner of the image, and the first filters of each group."""
    groups, filters = layer.params.get("groups", 1), REFERENCE_FILTERS_PER_GROUP
    small: list[Array | None] = []
    for i, a in enumerate(inputs):
        if a is not None and i in layer.parameters:
            a = a.reshape(groups, -1, *a.shape[1:])[:, :filters].reshape(-1, *a.shape[1:])
        elif a is not None and a.ndim == 4:
            a = a[:, :, :REFERENCE_IMAGE_SIDE, :REFERENCE_IMAGE_SIDE]
        small.append(a)
    return tuple(small)


def _check_directional_derivative(
    layer: Layer,
    inputs: tuple[Array | None, ...],
    i: int,
    gy: Array,
    g: Array,
    rng: np.random.Generator,
) -> None:
    """Compare the gradient `g` of input `i` with a central difference in a random direction."""
    x, h = inputs[i], DIFFERENCE_STEP
    assert x is not None
    forward, v = layer.op.implementations[PLAIN].forward, rng.standard_normal(x.shape)
    up, down = (
        forward(*inputs[:i], x + d * v, *inputs[i + 1 :], **layer.params)[0] for d in (h, -h)
    )
    slope = float(np.sum((up - down) * gy)) / (2 * h)
    off, size = abs(slope - float(np.sum(g * v))), float(np.linalg.norm(g))
    # written so that NaN is refused
    if not off <= DIFFERENCE_TOLERANCE * size:
        raise WrongResultError(
            f"the plain implementation's gradient of input {i} of {layer.label} is off by "
            f"{off / (size or 1):.2g} of its size along a random direction"
        )
