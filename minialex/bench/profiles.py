"""Profiles of layers at their size in a network, and of whole training steps, without a GPU."""

from __future__ import annotations

import numpy as np

from minialex.arrays import CPU, Device, module_of, on_device
from minialex.autograd import using
from minialex.bench.launch_timing import timed_launches
from minialex.bench.layer_cases import layer_pass
from minialex.bench.layers import DATA, FORWARD, Layer, draw, layers
from minialex.bench.networks import default_step, network_task
from minialex.cuda import emulated
from minialex.errors import MinialexError
from minialex.study.profile import Profile, profiled
from minialex.study.profile.measured import Measured, key_of, matched

BLOCKS = 15
"""Blocks of each launch that are counted, unless it is said."""

WARM_UP_STEPS, MEASURED_STEPS = 2, 7
"""Steps on a GPU: those that compile, and those whose median counts."""


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
    # of what a sampled launch writes most is left unwritten, and backward may decide by it
    with emulated():
        whole = () if layer.parameters else one.forward(*inputs, **layer.params)[1]
    with profiled(gpu, kernel=kernel, max_blocks=max_blocks) as profile:
        profile.choices[layer.op.name, implementation] = None
        saved = one.forward(*inputs, **layer.params)[1]
        for what in layer.passes:
            if what != FORWARD and not (what == DATA and layer.first):
                layer_pass(layer, what, one, inputs, gy, whole or saved)()
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

    Ops take the implementations that `gpu` takes, unless `minialex.using` names others.

    Parameters
    ----------
    network : str
        One of ``minialex.models.VARIANTS``.
    batch, gpu, kernel, max_blocks
        As those of `profile_layer`.
    """
    step = default_step(network_task(network, batch, CPU))
    with profiled(gpu, kernel=kernel, max_blocks=max_blocks) as profile:
        step.run()
    return profile


def measure_step(network: str, batch: int, profile: Profile, device: Device) -> Measured:
    """Measure on a GPU the launches of the step that `profile_step` has profiled.

    Its implementations are those of the profile, which may not be the GPU's default ones.

    Raises
    ------
    MinialexError
        If one of them does not run on it.
    """
    names = dict(list(profile.choices))
    with on_device(device), using(**names):
        step = default_step(network_task(network, batch, device))
        for _ in range(WARM_UP_STEPS):
            step.run()
        launches = timed_launches(step.run, device, MEASURED_STEPS, lambda plan, _: key_of(plan))
        about = module_of(device).cuda.runtime.getDeviceProperties(device.index)
    return matched(profile, about["name"].decode(), launches)
