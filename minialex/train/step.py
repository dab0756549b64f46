"""One step of training as one object: forward, loss, backward and update.

    step = TrainStep(model, optimizer)
    for batch in loader.epoch(0):
        step(batch)

What a step counts stands where it is computed (`StepState`), so that on a GPU nothing waits for
the host and the step can be replayed as a CUDA graph (`StepGraph`). Where the loss is not finite,
weights, state and counts stay as they are until the host looks (`failed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minialex import arrays, philox
from minialex.arrays import BFLOAT16, Array, Device
from minialex.autograd import Tensor, activation_dtype, implementation_for
from minialex.data import Batch
from minialex.nn import Module
from minialex.nn.utils import clip_grad_norm_
from minialex.ops import cross_entropy
from minialex.optim import Optimizer, Schedule, Update
from minialex.train.replay import StepGraph
from minialex.train.step_state import StepState


class TrainStep:
    """Trains a network on one batch at a time.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Over the model's parameters, on their device.
    schedule : Schedule, optional
        By what the learning rate of each group is scaled at each step, a function of its number
        alone: it is asked for up to 1024 steps in advance. Without one it is that of the group, as
        it is assigned.
    weight : array (C,), optional
        How much each class counts; see `minialex.ops.cross_entropy`.
    label_smoothing : float
    clip : float
        The largest norm of all gradients together: above it they are scaled down to it, see
        `minialex.nn.utils.clip_grad_norm_`. 0 for none.
    tell : callable, optional
        Called with a sentence where steps run on a GPU and cannot be captured.

    Attributes
    ----------
    state : StepState
        Its counts are those of the optimizer's `steps` and the random generator's `offset`.
    uncaptured : str
        Why steps are not captured as a CUDA graph; empty where they are, or will be.

    A captured step repeats what the network, the optimizer's settings and `minialex.using` were
    when it was captured. It is captured anew when a setting of the optimizer, the mode of a layer
    (``train``, ``eval``) or what requires a gradient changes; after other changes make another.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        *,
        schedule: Schedule | None = None,
        weight: Array | None = None,
        label_smoothing: float = 0.0,
        clip: float = 0.0,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        own = {id(p) for p in model.parameters()}
        if not own.issuperset(map(id, optimizer.params)):
            raise ValueError(
                "TrainStep: the optimizer has parameters that are none of the model's: make it "
                "over model.parameters()"
            )
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.weight, self.label_smoothing, self.clip = weight, label_smoothing, clip
        self.tell = tell or (lambda sentence: None)
        self.device: Device = arrays.device_of(optimizer.arena.data)
        self.generator = _generator(model)
        self.state = StepState(self.device, len(optimizer.param_groups))
        # random streams that a step draws, the same in each
        self._streams = 0
        self._counts_after: tuple[int, int] | None = None
        self._lrs = self._assigned_lrs()
        self._graph = StepGraph(self) if self.device.kind == "cuda" else None

    @property
    def uncaptured(self) -> str:
        """Why steps are not captured as a CUDA graph; empty where they are, or will be."""
        return "there is no GPU" if self._graph is None else self._graph.refusal

    def __call__(self, batch: Batch) -> None:
        """Take one step.

        Parameters
        ----------
        batch : Batch
            On the device of the model, or a `StagedBatch` for it.
        """
        self._follow_host()
        self.state.fill_table(self.optimizer.steps, self._rates)
        if activation_dtype(self.device) == BFLOAT16:
            self.optimizer.refresh_shadow()
        # numbers that are not finite are looked for in the loss
        with np.errstate(all="ignore"):
            if self._graph is None:
                self.run(batch.images, batch.targets)
            else:
                self._graph(batch)
        self._counts_after = self._counts()

    def run(self, images: Array, targets: Array) -> None:
        """Take one step without a graph, in the launches that a graph is captured of.

        Parameters
        ----------
        images : (N, 3, S, S) float32
        targets : (N,) int64
        """
        state, optimizer, generator = self.state, self.optimizer, self.generator
        offset, targets = generator.offset, targets.astype(np.int64, copy=False)

        optimizer.zero_grad()
        with generator.offsets_on_device(state.drawn):
            logits = self.model(Tensor(images))
            loss = cross_entropy(
                logits, targets, weight=self.weight, label_smoothing=self.label_smoothing
            )
            state.tally(logits.data, targets, loss.data)
            loss.backward()
        # a kernel that is given where to look holds back by itself
        if (self.device == arrays.CPU or self.why_uncapturable()) and state.on_host()[0]:
            generator.offset = offset
            return

        if self.clip:
            clip_grad_norm_(optimizer.params, self.clip)
        self._set_rates(optimizer.steps)
        optimizer.step(None if optimizer.why_unreplayable() else state.replay_inputs)
        self._streams = generator.offset - offset
        state.advance(self._streams)

    def failed(self) -> bool:
        """Return whether a loss was not finite: on a GPU this waits for it.

        Then `optimizer.steps` and the random generator say where that was, and nothing was changed
        since, nor will be: ``step.state.failed[...] = 0`` goes on, from those weights.
        """
        failed, steps, streams = self.state.on_host()
        if failed:
            self.optimizer.rewind(steps)
            self.generator.offset = streams
            # those of the last step which was taken
            self._set_rates(max(0, steps - 1))
            self._counts_after = self._counts()
        return failed

    # What is counted on the host ----------------------------------------------------------------

    def _set_rates(self, step: int) -> None:
        if self.schedule is not None:
            self.optimizer.scale_lr(self.schedule(step))

    def _rates(self, step: int) -> Sequence[tuple[float, float]]:
        return self.optimizer.rates(step, None if self.schedule is None else self.schedule(step))

    def _assigned_lrs(self) -> list[float]:
        """Return the learning rates that are the caller's: with a schedule those that it scales."""
        key = "lr" if self.schedule is None else "initial_lr"
        return [group[key] for group in self.optimizer.param_groups]

    def _counts(self) -> tuple[int, int]:
        """Return what the host and the state both count."""
        return self.optimizer.steps, self.generator.offset

    def _follow_host(self) -> None:
        """Begin anew where a checkpoint was loaded; take over a rate that was assigned."""
        if self._counts() != self._counts_after:
            self.state.start(*self._counts(), self._rates)
            self._counts_after = self._counts()
        elif self._assigned_lrs() != self._lrs:
            self.state.set_rates(self.optimizer.steps, self._rates)
        self._lrs = self._assigned_lrs()

    # What a graph asks of a step ----------------------------------------------------------------

    def count_replayed(self) -> None:
        """Count on the host a step that a graph has taken."""
        self._set_rates(self.optimizer.steps)
        self.optimizer.count_step()
        self.generator.offset += self._streams

    def why_uncapturable(self) -> str:
        """Return why a graph of the step would be wrong; empty where it would not."""
        optimizer = self.optimizer
        update: Update = implementation_for(optimizer.update, self.device)
        if not update.replayable:
            return (
                f"{optimizer.update.name} runs as array operations, which nothing but the host can "
                "hold back where a loss is not finite"
            )
        return optimizer.why_unreplayable()


def _generator(model: Module) -> philox.Generator:
    """Return the random generator that the layers of `model` draw from.

    Raises
    ------
    ValueError
        If there are several.
    """
    found = {
        id(g): g
        for _, module in model.named_modules()
        if isinstance(g := getattr(module, "generator", None), philox.Generator)
    }
    if len(found) > 1:
        raise ValueError(
            f"TrainStep: the layers of the model draw from {len(found)} random generators, but one "
            "is counted: give all Dropout layers the same"
        )
    return next(iter(found.values()), philox.default_generator)
