"""The last network of a run, put on three batches of its training images, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minialex import arrays
from minialex.arrays import Array, Device, array_module, to_numpy
from minialex.autograd import Gradients, Tensor
from minialex.data import Batch, DataLoader
from minialex.errors import MinialexError
from minialex.models import AlexNet
from minialex.nn import Conv2d, Linear, Module, ReLU
from minialex.nn.init import blank_weights
from minialex.nn.utils import clip_grad_norm_
from minialex.ops import cross_entropy
from minialex.optim import Optimizer
from minialex.study.layers import named_layers
from minialex.train import factory
from minialex.train.run_state import RunData
from minialex.train.settings import Settings
from minialex.weights.checkpoint import Checkpoint

BATCHES = 3

Weights: TypeAlias = npt.NDArray[Any]
Labels: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batches:
    """Training images as they are evaluated: whole, without augmentation.

    Attributes
    ----------
    each : list of Batch
    indices, targets : (N,) int64
        Of all of them: which images of the training set, and their classes.
    images : (N, 3, S, S) float32
        All of them, on the host, from -1 to 1.
    """

    each: list[Batch]

    @property
    def indices(self) -> Labels:
        """Which images of the training set these are."""
        return np.concatenate([batch.indices for batch in self.each])

    @property
    def targets(self) -> Labels:
        """Their classes."""
        return np.concatenate([to_numpy(batch.targets) for batch in self.each]).astype(np.int64)

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """All of them on the host, from -1 to 1."""
        return np.concatenate([to_numpy(batch.images) for batch in self.each])


def take_batches(settings: Settings, data: RunData, device: Device) -> Batches:
    """Return the images of the first three batches of the run.

    Raises
    ------
    MinialexError
        If one cannot be read.
    """
    loader = DataLoader(
        data.train,
        settings.batch_size,
        settings.eval_transform(),
        shuffle=True,
        seed=settings.seed,
        workers=settings.workers,
        device=device,
    )
    with contextlib.closing(loader.epoch(0)) as epoch:
        return Batches(list(islice(epoch, BATCHES)))


@dataclass(frozen=True)
class DeadUnits:
    """Of a ReLU: how many channels, or elements of a vector, are 0 on all images and pixels."""

    layer: str
    dead: int
    units: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.dead / self.units


@dataclass(frozen=True, eq=False)
class NetworkSigns:
    """What three batches showed.

    Attributes
    ----------
    predicted : (N,) int64
        Of each image the likeliest class.
    dead : tuple of DeadUnits
        One for each ReLU, in their order.
    gradients : dict of str to float
        For each convolution and linear layer the L2 norm of the gradient of an image's loss at its
        output: the root of the mean square over images. Layers that get no gradient have none.
    updates : dict of str to float
        For each weight that is trained, ||step|| / ||weight|| of the step that the optimizer would
        take on these images at the full rate; infinite where a weight of zeros moves.
    growth : dict of str to float
        For each of them, how many times its first norm its norm has become; 1 where the first
        weights are not known, or were zeros.
    """

    predicted: Labels
    dead: tuple[DeadUnits, ...]
    gradients: dict[str, float]
    updates: dict[str, float]
    growth: dict[str, float]


def look(settings: Settings, saved: Checkpoint, data: RunData, batches: Batches) -> NetworkSigns:
    """Run the last network of a run forward and backward, and take one step on a copy in memory.

    Raises
    ------
    MinialexError
        If the checkpoint does not fit its settings.
    """
    device = arrays.device_of(batches.each[0].images)
    with arrays.on_device(device), np.errstate(all="ignore"):
        model, optimizer = _restored(settings, saved, device)
        watch = _Watch()
        weight = factory.loss_weights(settings, data.train, device)
        predicted = []
        with watch.on(model):
            for batch in batches.each:
                logits = model(Tensor(batch.images))
                loss = cross_entropy(
                    logits, batch.targets, weight=weight, label_smoothing=settings.label_smoothing
                )
                loss.backward()
                predicted.append(to_numpy(logits.data.argmax(axis=1)))
        return NetworkSigns(
            np.concatenate(predicted).astype(np.int64),
            watch.dead_units(),
            watch.gradient_norms(model),
            *_update_ratios(settings, model, optimizer, len(batches.each)),
        )


def _restored(settings: Settings, saved: Checkpoint, device: Device) -> tuple[AlexNet, Optimizer]:
    with blank_weights():
        fresh = replace(settings, pretrained=None)
        model = factory.make_model(fresh, saved.manifest["num_classes"], device)
    saved.load_into(model)
    model.eval()
    optimizer = factory.make_optimizer(settings, model)
    table, slots = saved.manifest["optimizer"], saved.optimizer_state
    try:
        names = zip(optimizer.arena.names, table["param_steps"], strict=True)
        state = {
            i: {"step": steps, **{slot: slots[slot][name] for slot in slots}}
            for i, (name, steps) in enumerate(names)
        }
        optimizer.load_state_dict(
            {
                "state": state,
                "param_groups": table["param_groups"],
                "steps": saved.manifest["position"]["step"],
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MinialexError(
            f"{saved.path} is damaged (its optimizer's state): use another copy"
        ) from error
    return model, optimizer


class _Watch:
    """Hooks on the layers of a network, and what they have seen."""

    def __init__(self) -> None:
        self._alive: dict[str, Array] = {}
        self._squares: dict[str, float] = {}
        self._images: dict[str, int] = {}

    @contextlib.contextmanager
    def on(self, model: Module) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, module in named_layers(model):
                if isinstance(module, ReLU):
                    hooks.enter_context(module.register_forward_hook(partial(self._fired, name)))
                elif isinstance(module, Conv2d | Linear):
                    hook = partial(self._arrived, name)
                    hooks.enter_context(module.register_full_backward_hook(hook))
            yield

    def _fired(self, name: str, module: Module, args: tuple[Any, ...], y: Tensor) -> None:
        fires: Array = np.asarray(to_numpy(y.data > 0).any(axis=(0, *range(2, y.ndim))))
        self._alive[name] = self._alive[name] | fires if name in self._alive else fires

    def _arrived(self, name: str, module: Module, gx: Gradients, gy: Gradients) -> None:
        (g,) = gy
        if g is None:
            return
        # the loss is a mean over the batch
        square = float(array_module(g).square(g, dtype=np.float64).sum()) * len(g) ** 2
        self._squares[name] = self._squares.get(name, 0.0) + square
        self._images[name] = self._images.get(name, 0) + len(g)

    def dead_units(self) -> tuple[DeadUnits, ...]:
        return tuple(
            DeadUnits(name, int((~fires).sum()), fires.size) for name, fires in self._alive.items()
        )

    def gradient_norms(self, model: Module) -> dict[str, float]:
        """Return the norms in the order of the layers; gradients come in the opposite one."""
        return {
            name: (self._squares[name] / self._images[name]) ** 0.5
            for name, _ in named_layers(model)
            if name in self._squares
        }


def _update_ratios(
    settings: Settings, model: AlexNet, optimizer: Optimizer, batches: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Take one step at the full rate with the mean gradient of the batches.

    Returns what `NetworkSigns` has as `updates` and `growth`.
    """
    for p in optimizer.params:
        if p.grad is not None:
            p.grad = p.grad / batches
    if settings.clip:
        clip_grad_norm_(optimizer.params, settings.clip)
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
    before = {name: to_numpy(p.data).copy() for name, p in weights.items()}
    optimizer.scale_lr(1.0)
    optimizer.step()
    updates = {
        n: _ratio(_norm(to_numpy(p.data) - before[n]), before[n]) for n, p in weights.items()
    }
    first = _first_weights(settings, model.num_classes)
    growth = {n: _ratio(_norm(w), first[n]) if first[n].any() else 1.0 for n, w in before.items()}
    return updates, growth


def _first_weights(settings: Settings, num_classes: int) -> dict[str, Weights]:
    """Return the weights that the run began with; zeros where their file is gone."""
    try:
        model = factory.make_model(settings, num_classes, arrays.CPU)
    except MinialexError:
        with blank_weights():
            model = factory.make_model(replace(settings, pretrained=None), num_classes, arrays.CPU)
    return {name: p.numpy() for name, p in model.named_parameters()}


def _norm(x: Weights) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).sum()))


def _ratio(norm: float, of: Weights) -> float:
    """Return norm / ||of||; of zeros that is infinite, but 0 where nothing moves."""
    size = _norm(of)
    if size == 0:
        return 0.0 if norm == 0 else float("inf")
    return norm / size
