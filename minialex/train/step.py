"""One step of training as one object: forward, loss, backward and update.

    step = TrainStep(model, optimizer)
    for batch in loader.epoch(0):
        step(batch)

On a GPU the launches of a step are captured as a CUDA graph once they have run a few times, and
from then on replayed: Python starts one thing per step in place of some sixty. The graph reads
images and targets from buffers that stay where they are; what is different in each step it finds
and counts in the GPU's memory (`StepState`). Batches are copied there on a stream of their own,
while the step before is computed. Where the loss is not finite, weights, state and counts stay as
they are until the host looks (`failed`).
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import arrays, philox
from minialex.arrays import Array, Device
from minialex.autograd import ROUTINES, Tensor, implementation_for, implementation_name
from minialex.data import Batch
from minialex.data.batch_buffer import Uploader
from minialex.data.loader import StagedBatch
from minialex.data.prepare import PREPARE, prepare_buffer
from minialex.nn import Module
from minialex.ops import cross_entropy
from minialex.optim import Optimizer, Schedule, Update
from minialex.train.step_state import StepState

WARM_UP = 3
"""Steps before a capture: until then kernels are compiled and memory is asked for."""


class TrainStep:
    """Trains a network on one batch at a time.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Over the model's parameters, on their device.
    schedule : Schedule, optional
        The learning rate of each step, a function of its number alone: it is asked for up to 1024
        steps in advance. Without one it is that of the optimizer, as it is assigned.
    weight : array (C,), optional
        How much each class counts; see `minialex.ops.cross_entropy`.
    label_smoothing : float
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
        tell: Callable[[str], object] | None = None,
    ) -> None:
        own = {id(p) for p in model.parameters()}
        if not own.issuperset(map(id, optimizer.params)):
            raise ValueError(
                "TrainStep: the optimizer has parameters that are none of the model's: make it "
                "over model.parameters()"
            )
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.weight, self.label_smoothing = weight, label_smoothing
        self.tell = tell or (lambda sentence: None)
        self.device: Device = arrays.device_of(optimizer.arena.data)
        self.state = StepState(self.device)
        self._generator = _generator(model)
        self._streams = 0
        self._followed: tuple[int, int] | None = None
        self._lr = optimizer.lr
        self._replay = _Replay(self) if self.device.kind == "cuda" else None

    @property
    def uncaptured(self) -> str:
        """Why steps are not captured as a CUDA graph; empty where they are, or will be."""
        return "there is no GPU" if self._replay is None else self._replay.why_not

    def __call__(self, batch: Batch) -> None:
        """Take one step.

        Parameters
        ----------
        batch : Batch
            On the device of the model, or a `StagedBatch` for it.
        """
        self._follow_host()
        self.state.lay_up(self.optimizer.steps, self._rates)
        # numbers that are not finite are looked for here
        with np.errstate(all="ignore"):
            if self._replay is None:
                self.run(batch.images, batch.targets)
            else:
                self._replay(batch)
        self._followed = self._counts()

    def failed(self) -> bool:
        """Return whether a loss was not finite: on a GPU this waits for it.

        Then `optimizer.steps` and the random generator say where that was, and nothing was changed
        since, nor will be: ``step.state.failed[...] = 0`` goes on, from those weights.
        """
        failed, steps, streams = self.state.on_host()
        if failed:
            self.optimizer.steps, self._generator.offset = steps, streams
            # that of the last step which was taken
            self.optimizer.lr = self._rate(max(0, steps - 1))
            self._followed = self._counts()
        return failed

    def run(self, images: Array, targets: Array) -> None:
        """Take one step without a graph, in the launches that a graph is captured of.

        Parameters
        ----------
        images : (N, 3, S, S) float32
        targets : (N,) int64
        """
        state, optimizer, generator = self.state, self.optimizer, self._generator
        before, targets = generator.offset, targets.astype(np.int64, copy=False)
        optimizer.zero_grad()
        with generator.counted_in(state.drawn):
            logits = self.model(Tensor(images))
            loss = cross_entropy(
                logits, targets, weight=self.weight, label_smoothing=self.label_smoothing
            )
            state.tally(logits.data, targets, loss.data)
            if self.looks() and state.on_host()[0]:
                generator.offset = before
                return
            loss.backward()
        optimizer.lr = self._rate(optimizer.steps)
        optimizer.step(state.replay_inputs)
        self._streams = generator.offset - before
        state.advance(self._streams)

    def looks(self) -> bool:
        """Whether the host has to hold back the update: a kernel does that by itself."""
        update: Update = implementation_for(self.optimizer.update, self.device)
        return self.device == arrays.CPU or not update.replayable

    def _rate(self, step: int) -> float:
        return self.optimizer.lr if self.schedule is None else self.schedule(step)

    def _rates(self, step: int) -> tuple[float, float]:
        return self.optimizer.rates(step, self._rate(step))

    def _counts(self) -> tuple[int, int]:
        """Return what the host and the state count in common."""
        return self.optimizer.steps, self._generator.offset

    def _follow_host(self) -> None:
        """Begin anew where a checkpoint was loaded; take over a rate that somebody assigned."""
        if self._counts() != self._followed:
            self.state.start(*self._counts(), self._rates)
            self._followed = self._counts()
        elif self.schedule is None and self.optimizer.lr != self._lr:
            self.state.set_rates(self.optimizer.steps, self._rates)
        self._lr = self.optimizer.lr

    def repeated(self) -> None:
        """Count on the host a step that a graph has taken."""
        self.optimizer.lr = self._rate(self.optimizer.steps)
        self.optimizer.replayed()
        self._generator.offset += self._streams


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


@dataclass
class _Inputs:
    """Where a captured step reads its batch, always at the same addresses."""

    images: Array
    targets: Array


class _Replay:
    """The steps of a GPU: a few as they are, then the same as one graph."""

    def __init__(self, step: TrainStep) -> None:
        self._step, self._device = step, step.device
        self._cupy: Any = arrays.module_of(step.device)
        with arrays.on_device(self._device):
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
            # what the graph reads and writes is never given to anybody else
            self._pool = self._cupy.cuda.MemoryPool()
            self._uploader = Uploader(self._device)
        self._inputs: _Inputs | None = None
        self._graph: Any = None
        self._gradients: list[tuple[Tensor, Array | None]] = []
        self._captured_for: tuple[Any, ...] = ()
        self._taken = 0
        self.why_not = ""

    def __call__(self, batch: Batch) -> None:
        """Take one step on the stream of this object, in order with the current one."""
        with arrays.on_device(self._device), self._in_order():
            if self.why_not or not self._fits(batch):
                self._step.run(batch.images, batch.targets)
                return
            inputs = self._fill(batch)
            self._step.optimizer.arena.adopt()
            if self._graph is None or self._captured_for != self._settings():
                self._capture(inputs)
            if self._graph is None:
                with self._cupy.cuda.using_allocator(self._pool.malloc):
                    self._step.run(inputs.images, inputs.targets)
                self._taken += 1
                return
            self._graph.launch(self._stream)
            for p, g in self._gradients:
                p.grad = g
            self._step.repeated()

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """Work on the own stream, after all that the current one was given, and before the rest."""
        current = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(current.record())
        try:
            with self._stream:
                yield
        finally:
            current.wait_event(self._stream.record())

    def _fits(self, batch: Batch) -> bool:
        """Return whether a batch is as large as the first one."""
        if isinstance(batch, StagedBatch):
            N, S = batch.buffer.shape
            shape, dtype = (N, 3, S, S), np.dtype(np.float32)
        else:
            shape, dtype = batch.images.shape, batch.images.dtype
        if self._inputs is None:
            xp = self._cupy
            self._inputs = _Inputs(xp.empty(shape, dtype), xp.empty(shape[0], np.int64))
        inputs = self._inputs.images
        return bool(inputs.shape == shape and inputs.dtype == dtype)

    def _fill(self, batch: Batch) -> _Inputs:
        """Bring a batch to where the graph reads it."""
        inputs = self._inputs
        assert inputs is not None
        if (
            isinstance(batch, StagedBatch)
            and implementation_name(PREPARE, self._device) == "kernel"
        ):
            buffer = self._uploader.upload(batch.buffer)
            prepare_buffer(buffer, inputs.images)
            inputs.targets[...] = buffer.targets
            self._uploader.record_read()
        else:
            inputs.images[...] = batch.images
            inputs.targets[...] = batch.targets
        return inputs

    def _settings(self) -> tuple[Any, ...]:
        """Return what a captured step has for good, as far as it is looked at."""
        optimizer = self._step.optimizer
        modes = tuple(module.training for _, module in self._step.model.named_modules())
        wanted = tuple(p.requires_grad for p in optimizer.params)
        return optimizer.constants(), modes, wanted, self._step._generator.seed

    def _capture(self, inputs: _Inputs) -> None:
        """Capture a step, or find out why not; before that, run a few."""
        self._graph, step = None, self._step
        if self._taken < WARM_UP:
            return
        if step.looks():
            update = step.optimizer.update.name
            self._give_up(
                f"{update} runs as array operations, which nothing but the host can hold back "
                "where a loss is not finite"
            )
            return
        steps, offset = step.optimizer.steps, step._generator.offset
        error: Exception | None = None
        with self._cupy.cuda.using_allocator(self._pool.malloc):
            self._stream.begin_capture()
            try:
                step.run(inputs.images, inputs.targets)
            except Exception as raised:  # whatever CuPy, CUDA and its libraries have for it
                error = raised
            try:
                self._graph = self._stream.end_capture()
            except Exception as raised:  # where something was refused, the capture is void
                error = error or raised
        # nothing has run yet
        step.optimizer.steps, step._generator.offset = steps, offset
        if error is not None:
            self._graph = None
            self._give_up(f"{_where(error)} cannot be captured ({_first_line(error)})")
            return
        self._captured_for = self._settings()
        self._gradients = [(p, p.grad) for p in step.optimizer.params]

    def _give_up(self, why_not: str) -> None:
        self.why_not = why_not
        self._step.tell(
            f"steps are not captured as a CUDA graph: {why_not}; their launches run one by one, "
            "which is slower for small batches"
        )


def _where(error: Exception) -> str:
    """Return the op or optimizer in which `error` was raised: in whose module it stands."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package, _, module = frame.f_globals["__name__"].rpartition(".")
        if package in ("minialex.ops", "minialex.optim"):
            # conv2d_cuda is a part of conv2d
            return max((n for n in ROUTINES if module.startswith(n)), key=len, default=module)
    return "the network"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
