"""The layers of the networks: found by running a network, never by a list kept by hand.

A network is run on one image and on two while every op is recorded. What differs between the
two runs grows with the batch; so the shapes at any other batch are known:

    one image (1, 64, 27, 27), two (2, 64, 27, 27): growth (1, 0, 0, 0), at batch 7 (7, 64, 27, 27)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import Any

import numpy as np

from minialex import models
from minialex.arrays import Array
from minialex.autograd import Call, Op, Shapes, Tensor, no_grad, record_calls
from minialex.bench import cached_networks
from minialex.bench.cached_networks import CLASSES
from minialex.bench.case import PLAIN
from minialex.ops import cross_entropy

FORWARD, DATA, WEIGHT = "forward", "data gradient", "weight gradient"
ITEM_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """One op as a network uses it.

    Attributes
    ----------
    op : Op
    label : str
        The network, the op, and its number among the layers with that op: "alexnet conv2d 2".
    input_shapes, input_growth : tuple
        The shapes of the inputs for one image, and what each further image adds to them.
    output_shape, output_growth : tuple
        The same of the output.
    params : dict
    first : bool
        Whether its input is the image itself, for which no training step needs a gradient.
    """

    op: Op
    label: str
    input_shapes: Shapes
    input_growth: Shapes
    output_shape: tuple[int, ...]
    output_growth: tuple[int, ...]
    params: dict[str, Any]
    first: bool

    def inputs_at(self, batch: int) -> Shapes:
        """Return the shapes of the inputs at a batch size."""
        pairs = zip(self.input_shapes, self.input_growth, strict=True)
        return tuple(None if s is None or g is None else _grown(s, g, batch) for s, g in pairs)

    def output_at(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the output at a batch size."""
        return _grown(self.output_shape, self.output_growth, batch)

    @property
    def parameters(self) -> tuple[int, ...]:
        """The indices of the inputs that are the same for every image: weights and biases."""
        return tuple(i for i, g in enumerate(self.input_growth) if g is not None and not any(g))

    @property
    def passes(self) -> tuple[str, ...]:
        """Forward, and the gradients that the layer has."""
        return (FORWARD, DATA, WEIGHT) if self.parameters else (FORWARD, DATA)

    @property
    def work_key(self) -> tuple[Any, ...]:
        """Equal for two layers that do the same work."""
        params = {k: v for k, v in self.params.items() if k not in ("seed", "offset")}
        return self.op.name, self.input_shapes, self.input_growth, tuple(sorted(params.items()))


def _grown(shape: tuple[int, ...], growth: tuple[int, ...], batch: int) -> tuple[int, ...]:
    return tuple(n + (batch - 1) * more for n, more in zip(shape, growth, strict=True))


@cache
def layers(network: str, training: bool = True) -> tuple[Layer, ...]:
    """Return the layers of a network in order, without those that compute nothing."""
    # it only runs forward: the weights need no copy
    model = cached_networks.network(network, 0.5, lambda a: a)
    model.train(training)
    one, two = (_calls(model, network, n) for n in (1, 2))
    found: list[Layer] = []
    seen = Counter[str]()
    for a, b in zip(one, two, strict=True):
        if not a.cost().flops:
            continue
        seen[a.op.name] += 1
        found.append(
            Layer(
                op=a.op,
                label=f"{network} {a.op.name} {seen[a.op.name]}",
                input_shapes=a.shapes,
                input_growth=tuple(_growth(s, t) for s, t in zip(a.shapes, b.shapes, strict=True)),
                output_shape=a.y.shape,
                output_growth=_growth(a.y.shape, b.y.shape) or (),
                params=a.params,
                first=not found,
            )
        )
    return tuple(found)


def _calls(model: models.AlexNet, network: str, batch: int) -> list[Call]:
    size = models.VARIANTS[network].image_size
    with no_grad(), record_calls() as calls:
        logits = model(Tensor(np.zeros((batch, 3, size, size), np.float32)))
        if model.training:
            cross_entropy(logits, np.zeros(batch, np.int64))
    return calls


def _growth(one: tuple[int, ...] | None, two: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if one is None or two is None:
        return None
    return tuple(b - a for a, b in zip(one, two, strict=True))


def network_work(network: str, batch: int, training: bool) -> list[tuple[int, int]]:
    """Return the work of all layers of a network: forward alone, or with every gradient."""
    return [
        layer_work(layer, what, batch)
        for layer in layers(network, training)
        for what in (layer.passes if training else (FORWARD,))
        if not (what == DATA and layer.first)
    ]


def layer_work(layer: Layer, what: str, batch: int) -> tuple[int, int]:
    """Return the operations of one pass and the fewest bytes that it moves.

    A gradient is counted with as many operations as forward. Of an op with weights, the data
    gradient reads the output's gradient and the weights and writes the input's gradient, the
    weight gradient reads the output's gradient and the input and writes the weights'. Of any other
    op, what forward saved is read beside the output's gradient.
    """
    shapes = layer.inputs_at(batch)
    cost = layer.op.cost(shapes, **layer.params)
    if what == FORWARD:
        return cost.flops, cost.bytes
    sizes = [0 if s is None else prod(s) for s in shapes]
    gy = prod(layer.output_at(batch))
    if layer.parameters:
        weights = set(layer.parameters[:1]) if what == DATA else set(layer.parameters)
        data = sum(n for i, n in enumerate(sizes) if i not in layer.parameters)
        return cost.flops, ITEM_BYTES * (gy + data + sum(sizes[i] for i in weights))
    return cost.flops, ITEM_BYTES * (gy + sizes[0]) + batch * _saved_bytes(layer)


def _saved_bytes(layer: Layer) -> int:
    """Return the bytes that forward saves per image."""
    if layer.work_key not in _SAVED_BYTES:
        inputs = draw(layer, 1, np.random.default_rng(0))
        _, saved = layer.op.implementations[PLAIN].forward(*inputs, **layer.params)
        arrays = {id(a): a.nbytes for a in saved if isinstance(a, np.ndarray)}
        _SAVED_BYTES[layer.work_key] = sum(arrays.values())
    return _SAVED_BYTES[layer.work_key]


_SAVED_BYTES: dict[tuple[Any, ...], int] = {}


def draw(
    layer: Layer, batch: int, rng: np.random.Generator, dtype: Any = np.float32
) -> tuple[Array | None, ...]:
    """Return random inputs: activations about 1, weights that keep them so, classes as targets."""
    inputs: list[Array | None] = []
    for i, shape in enumerate(layer.inputs_at(batch)):
        if shape is None:
            inputs.append(None)
        elif layer.op.name == "cross_entropy" and i == 1:
            inputs.append(rng.integers(0, CLASSES, shape))
        else:
            scale = 1 / sqrt(prod(shape[1:])) if i in layer.parameters else 1.0
            inputs.append((rng.standard_normal(shape, np.float32) * scale).astype(dtype))
    return tuple(inputs)
