"""A training step as a CUDA graph: its launches captured once, then replayed.

    step 1, 2, 3    run as they are: kernels are compiled and memory is asked for
    step 4          captured, and replayed
    step 5, ...     replayed: Python starts one thing per step in place of some sixty

The graph reads images and targets from buffers that stay where they are. Batches are copied there
on a stream of their own, while the step before is computed. What differs from step to step, the
graph finds in the GPU's memory (`StepState`).
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minialex import arrays, philox
from minialex.arrays import Array, Device
from minialex.autograd import Tensor
from minialex.data import Batch
from minialex.data.batch import StagedBatch
from minialex.data.batch_buffer import Uploader
from minialex.data.prepare import prepare_buffer, takes_buffers
from minialex.nn import Module
from minialex.optim import Optimizer

WARM_UP_STEPS = 3
"""Steps before a capture: until then kernels are compiled and memory is asked for."""


class CapturableStep(Protocol):
    """A training step as its graph sees it."""

    model: Module
    optimizer: Optimizer
    generator: philox.Generator
    device: Device

    def run(self, images: Array, targets: Array) -> None:
        """Take one step: the launches that are captured."""

    def count_replayed(self) -> None:
        """Count on the host a step that the graph has taken."""

    def why_uncapturable(self) -> str:
        """Return why a graph of the step would be wrong; empty where it would not."""

    def tell(self, sentence: str) -> object:
        """Tell the user that steps are not captured."""


@dataclass
class GraphInputs:
    """Where a captured step reads its batch, always at the same addresses."""

    images: Array
    targets: Array


class StepGraph:
    """Takes the steps of a GPU: a few as they are, then the same as one graph.

    Attributes
    ----------
    refusal : str
        Why steps are not captured; empty where they are, or will be.
    """

    def __init__(self, step: CapturableStep) -> None:
        self._step, self._device = step, step.device
        self._cupy: Any = arrays.module_of(step.device)
        with arrays.on_device(self._device):
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
            # what the graph reads and writes is never given to another array
            self._pool = self._cupy.cuda.MemoryPool()
            self._uploader = Uploader(self._device)
        self._inputs: GraphInputs | None = None
        self._graph: Any = None
        self._gradients: list[tuple[Tensor, Array | None]] = []
        self._captured_constants: tuple[Any, ...] = ()
        self._steps_run = 0
        self.refusal = ""

    def __call__(self, batch: Batch) -> None:
        """Take one step on the stream of this object, in order with the current one."""
        step = self._step
        with arrays.on_device(self._device), self._in_order():
            # a graph would not call hooks
            if self.refusal or not self._has_first_size(batch) or step.model.has_hooks():
                step.run(batch.images, batch.targets)
                return
            inputs = self._fill_inputs(batch)
            step.optimizer.arena.rebind()
            if self._graph is None or self._captured_constants != self._constants():
                self._graph = self._capture(inputs)
            if self._graph is None:
                with self._own_memory():
                    step.run(inputs.images, inputs.targets)
                self._steps_run += 1
                return
            self._graph.launch(self._stream)
            for p, g in self._gradients:
                p.grad = g
            step.count_replayed()

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

    def _own_memory(self) -> contextlib.AbstractContextManager[None]:
        return self._cupy.cuda.using_allocator(self._pool.malloc)  # type: ignore[no-any-return]

    # Inputs -------------------------------------------------------------------------------------

    def _has_first_size(self, batch: Batch) -> bool:
        """Return whether a batch is as large as the first one, which the buffers are made for."""
        if isinstance(batch, StagedBatch):
            N, S = batch.buffer.shape[:2]
            shape, dtype = (N, 3, S, S), np.dtype(np.float32)
        else:
            shape, dtype = batch.images.shape, batch.images.dtype
        if self._inputs is None:
            xp = self._cupy
            self._inputs = GraphInputs(xp.empty(shape, dtype), xp.empty(shape[0], np.int64))
        images = self._inputs.images
        return bool(images.shape == shape and images.dtype == dtype)

    def _fill_inputs(self, batch: Batch) -> GraphInputs:
        """Bring a batch to where the graph reads it."""
        inputs = self._inputs
        assert inputs is not None
        if isinstance(batch, StagedBatch) and takes_buffers(self._device):
            buffer = self._uploader.upload(batch.buffer)
            prepare_buffer(buffer, inputs.images)
            inputs.targets[...] = buffer.targets
            self._uploader.record_read()
        else:
            inputs.images[...] = batch.images
            inputs.targets[...] = batch.targets
        return inputs

    # Capturing ----------------------------------------------------------------------------------

    def _constants(self) -> tuple[Any, ...]:
        """Return what a captured step has for good, as far as it is looked at."""
        step = self._step
        modes = tuple(module.training for _, module in step.model.named_modules())
        params = step.optimizer.params
        read = tuple((p.requires_grad, p.shadow is None) for p in params)
        return step.optimizer.constants(), modes, read, step.generator.seed

    def _capture(self, inputs: GraphInputs) -> Any:
        """Return a graph of the step, which has not run yet; None before it can be, or if never."""
        step = self._step
        if self._steps_run < WARM_UP_STEPS:
            return None
        if why := step.why_uncapturable():
            return self._refuse(why)
        steps, offset = step.optimizer.steps, step.generator.offset
        with self._own_memory():
            graph, error = self._captured(inputs)
        # the launches were counted on the host, but nothing has run
        step.optimizer.rewind(steps)
        step.generator.offset = offset
        if error is not None:
            return self._refuse(f"{_where(error)} cannot be captured ({_first_line(error)})")
        self._captured_constants = self._constants()
        self._gradients = [(p, p.grad) for p in step.optimizer.params]
        return graph

    def _captured(self, inputs: GraphInputs) -> tuple[Any, Exception | None]:
        """Capture the launches of a step; returns the graph, and what was raised meanwhile."""
        graph, error = None, None
        self._stream.begin_capture()
        try:
            self._step.run(inputs.images, inputs.targets)
        except Exception as raised:  # whatever CuPy, CUDA and its libraries have for it
            error = raised
        try:
            graph = self._stream.end_capture()
        except Exception as raised:  # where something was refused, the capture is void
            error = error or raised
        return graph, error

    def _refuse(self, why: str) -> None:
        """Run all steps as they are from now on, and tell why."""
        self.refusal = why
        self._step.tell(
            f"steps are not captured as a CUDA graph: {why}; their launches run one by one, "
            "which is slower for small batches"
        )


def _where(error: Exception) -> str:
    """Return the op or optimizer in whose module or package `error` was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = frame.f_globals["__name__"].split(".")
        if package[:2] in (["minialex", "ops"], ["minialex", "optim"]) and len(package) > 2:
            return package[2]  # type: ignore[no-any-return]
    return "the network"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
