"""The layers of the networks as cases: found by running a network, never by a list kept by hand.

A network is run on one image and on two while every op is recorded. What differs between the
two runs grows with the batch; so the shapes at any other batch are known.
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
from minialex.bench import drawn
from minialex.bench.case import PLAIN
from minialex.bench.drawn import CLASSES
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
        The network, the op, and the how manieth of its kind it is there.
    shapes, growth : tuple
        The shapes of the inputs for one image, and what each further image adds to them.
    shape, shape_growth : tuple
        The same of the output.
    params : dict
    first : bool
        Whether its input is the image itself, for which no training step needs a gradient.
    """

    op: Op
    label: str
    shapes: Shapes
    growth: Shapes
    shape: tuple[int, ...]
    shape_growth: tuple[int, ...]
    params: dict[str, Any]
    first: bool

    def at(self, batch: int) -> Shapes:
        """Return the shapes of the inputs for so many images."""
        pairs = zip(self.shapes, self.growth, strict=True)
        return tuple(None if s is None or g is None else _grown(s, g, batch) for s, g in pairs)

    def out(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the output for so many images."""
        return _grown(self.shape, self.shape_growth, batch)

    @property
    def parameters(self) -> tuple[int, ...]:
        """The numbers of the inputs that are the same for every image: weights and biases."""
        return tuple(i for i, g in enumerate(self.growth) if g is not None and not any(g))

    @property
    def passes(self) -> tuple[str, ...]:
        """Forward and the gradients that it has."""
        return (FORWARD, DATA, WEIGHT) if self.parameters else (FORWARD, DATA)

    @property
    def same(self) -> tuple[Any, ...]:
        """What two layers have in common that do the same work."""
        params = {k: v for k, v in self.params.items() if k not in ("seed", "offset")}
        return self.op.name, self.shapes, self.growth, tuple(sorted(params.items()))


def _grown(shape: tuple[int, ...], growth: tuple[int, ...], batch: int) -> tuple[int, ...]:
    return tuple(n + (batch - 1) * more for n, more in zip(shape, growth, strict=True))


@cache
def layers(network: str, training: bool = True) -> tuple[Layer, ...]:
    """Return the layers of a network in order, without those that compute nothing."""
    # run and not trained: its weights need no copy
    model = drawn.network(network, 0.5, lambda a: a)
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
                shapes=a.shapes,
                growth=tuple(_growth(s, t) for s, t in zip(a.shapes, b.shapes, strict=True)),
                shape=a.y.shape,
                shape_growth=_growth(a.y.shape, b.y.shape) or (),
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


def network_parts(network: str, batch: int, training: bool) -> list[tuple[int, int]]:
    """Return the work of all layers of a network: forward alone, or with every gradient."""
    return [
        work(layer, what, batch)
        for layer in layers(network, training)
        for what in (layer.passes if training else (FORWARD,))
        if not (what == DATA and layer.first)
    ]


def work(layer: Layer, what: str, batch: int) -> tuple[int, int]:
    """Return the operations and the fewest bytes moved.

    A gradient is counted with as many operations as forward. Of an op with weights, the data
    gradient reads the output's gradient and the weights and writes the input's gradient, the
    weight gradient reads the output's gradient and the input and writes the weights'. Of any other
    op, what forward saved is read beside the output's gradient.
    """
    shapes = layer.at(batch)
    cost = layer.op.cost(shapes, **layer.params)
    if what == FORWARD:
        return cost.flops, cost.bytes
    sizes = [0 if s is None else prod(s) for s in shapes]
    gy = prod(layer.out(batch))
    if layer.parameters:
        kept = set(layer.parameters[:1]) if what == DATA else set(layer.parameters)
        data = sum(n for i, n in enumerate(sizes) if i not in layer.parameters)
        return cost.flops, ITEM_BYTES * (gy + data + sum(sizes[i] for i in kept))
    return cost.flops, ITEM_BYTES * (gy + sizes[0]) + batch * _saved_bytes(layer)


def _saved_bytes(layer: Layer) -> int:
    """Return the bytes that forward keeps of one image."""
    if layer.same not in _SAVED:
        inputs = draw(layer, 1, np.random.default_rng(0))
        _, saved = layer.op.implementations[PLAIN].forward(*inputs, **layer.params)
        arrays = {id(a): a.nbytes for a in saved if isinstance(a, np.ndarray)}
        _SAVED[layer.same] = sum(arrays.values())
    return _SAVED[layer.same]


_SAVED: dict[tuple[Any, ...], int] = {}


def draw(
    layer: Layer, batch: int, rng: np.random.Generator, dtype: Any = np.float32
) -> tuple[Array | None, ...]:
    """Return random inputs: activations about 1, weights that keep them so, classes as targets."""
    inputs: list[Array | None] = []
    for i, shape in enumerate(layer.at(batch)):
        if shape is None:
            inputs.append(None)
        elif layer.op.name == "cross_entropy" and i == 1:
            inputs.append(rng.integers(0, CLASSES, shape))
        else:
            scale = 1 / sqrt(prod(shape[1:])) if i in layer.parameters else 1.0
            inputs.append((rng.standard_normal(shape, np.float32) * scale).astype(dtype))
    return tuple(inputs)
