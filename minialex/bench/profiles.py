"""Profiles of layers at their size in a network, and of whole training steps, without a GPU."""

from __future__ import annotations

import numpy as np

from minialex import optim
from minialex.arrays import CPU
from minialex.autograd import Tensor
from minialex.bench import cached_networks
from minialex.bench.layer_cases import layer_pass
from minialex.bench.layers import DATA, FORWARD, Layer, draw, layers
from minialex.bench.networks import network_task
from minialex.errors import MinialexError
from minialex.ops import cross_entropy
from minialex.study.profile import Profile, profiled

BLOCKS = 15
"""Blocks of each launch that are counted, unless it is said."""


def layer_labels(op: str, network: str = "alexnet") -> list[str]:
    """Return the labels of the layers of a network that are of this op: ``"alexnet conv2d 2"``."""
    return [layer.label for layer in layers(network) if layer.op.name == op]


def find_layer(label: str) -> Layer:
    """Return the layer with this label.

    Raises
    ------
    MinialexError
        If there is none.
    """
    network = label.partition(" ")[0]
    found = [layer for layer in layers(network) if layer.label == label]
    if not found:
        raise MinialexError(f"there is no layer {label!r} in {network}")
    return found[0]


def profile_layer(
    layer: Layer,
    implementation: str,
    batch: int,
    *,
    gpu: str,
    kernel: str | None = None,
    max_blocks: int | None = BLOCKS,
) -> Profile:
    """Profile every pass of a layer, as a training step has them, in float32.

    Parameters
    ----------
    implementation : str
        One that launches kernels.
    batch : int
        Images.
    gpu, kernel, max_blocks
        As `minialex.study.profile.profiled` takes them.
    """
    rng, one = np.random.default_rng(batch), layer.op.implementations[implementation]
    inputs = draw(layer, batch, rng)
    gy = rng.standard_normal(layer.output_at(batch), np.float32)
    with profiled(gpu, kernel=kernel, max_blocks=max_blocks) as profile:
        saved = one.forward(*inputs, **layer.params)[1]
        for what in layer.passes:
            if what != FORWARD and not (what == DATA and layer.first):
                layer_pass(layer, what, one, inputs, gy, saved)()
    return profile


def profile_step(
    network: str,
    batch: int,
    *,
    gpu: str,
    kernel: str | None = None,
    max_blocks: int | None = BLOCKS,
) -> Profile:
    """Profile every launch of a training step: forward, loss, backward, RMSprop.

    Parameters
    ----------
    network : str
        One of ``minialex.models.VARIANTS``.
    batch, gpu, kernel, max_blocks
        As those of `profile_layer`.
    """
    task = network_task(network, batch, CPU)
    model = cached_networks.network(network, 0.5, np.copy)
    model.train()
    optimizer = optim.RMSprop(model.parameters(), lr=1e-4, momentum=0.9)
    with profiled(gpu, kernel=kernel, max_blocks=max_blocks) as profile:
        cross_entropy(model(Tensor(task.images)), task.targets).backward()
        optimizer.step()
    return profile
