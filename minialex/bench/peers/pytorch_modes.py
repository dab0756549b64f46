"""PyTorch's faster modes for whole networks: P2 and P3. P1 alone runs single ops."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from minialex.arrays import CPU, Array, Device
from minialex.bench.peers.peer import Inputs
from minialex.bench.peers.pytorch import TorchEager, TorchTraining
from minialex.bench.workload import NetworkTask, UnavailableError, Workload


class TorchChannelsLast(TorchEager):
    """P2: channels last and foreach; on a GPU, where a step is one CUDA graph, in TF32."""

    name = "PyTorch P2"
    mode = "channels last, foreach"
    gpu_mode = ", one CUDA graph, TF32 on"

    def __init__(self, device: Device, threads: int) -> None:
        super().__init__(device, threads)
        self.on_gpu = device != CPU
        self.description = f"{self.torch.__version__}, {self.mode}{self.gpu_mode * self.on_gpu}"

    def layer(
        self, op: str, what: str, inputs: Inputs, gy: Array, params: dict[str, Any]
    ) -> Workload | None:
        """Return None: P1 runs single ops."""
        return None

    def optimizer(
        self, name: str, params: list[Array], gradients: list[Array], settings: dict[str, Any]
    ) -> Workload | None:
        """Return None: P1 runs optimizers."""
        return None

    def flip(self, images: Array, mirrored: Array) -> Workload | None:
        """Return None: P1 prepares images."""
        return None

    def build(self, task: NetworkTask) -> Any:
        """Return the network with weights in channels-last layout."""
        return super().build(task).to(memory_format=self.torch.channels_last)

    def images(self, task: NetworkTask) -> Any:
        """Return the images in channels-last layout."""
        return super().images(task).contiguous(memory_format=self.torch.channels_last)

    def step(self, task: NetworkTask) -> Workload | None:
        """Return a step; on a GPU the replay of a graph of it."""
        training = TorchTraining(self, task, {"foreach": True, "capturable": self.on_gpu})
        step = self._captured(training) if self.on_gpu else training.step
        return self._in_tf32(self._step_workload(training, step))

    def inference(self, task: NetworkTask) -> Workload | None:
        """Return a forward pass."""
        return self._in_tf32(self._inference(self.build(task).eval(), task))

    def _captured(self, training: TorchTraining) -> Callable[[], Any]:
        """Return the replay of a CUDA graph of a step, and leave the network as it was before."""
        cuda, before = self.torch.cuda, [p.clone() for p in training.parameters()]
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with self._tf32():
            # libraries set themselves up in the first steps, which a capture does not allow
            with cuda.stream(side):
                for _ in range(3):
                    training.step()
            cuda.current_stream().wait_stream(side)
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                training.step()
        training.restore(before)
        return graph.replay  # type: ignore[no-any-return]

    def _in_tf32(self, workload: Workload) -> Workload:
        """Return the same workload, in TF32 where there is a GPU."""
        if not self.on_gpu:
            return workload

        def run() -> Any:
            with self._tf32():
                return workload.run()

        def result() -> Any:
            with self._tf32():
                return workload.result()

        return Workload(run, result, workload.tolerance)

    @contextlib.contextmanager
    def _tf32(self) -> Iterator[None]:
        backends = self.torch.backends.cuda.matmul, self.torch.backends.cudnn
        before = [backend.allow_tf32 for backend in backends]
        for backend in backends:
            backend.allow_tf32 = True
        try:
            yield
        finally:
            for backend, state in zip(backends, before, strict=True):
                backend.allow_tf32 = state


class TorchCompiled(TorchChannelsLast):
    """P3: as P2, compiled; on a GPU with the compiler's own CUDA graphs."""

    name = "PyTorch P3"
    mode = "channels last, model and optimizer compiled"
    gpu_mode = ", CUDA graphs, TF32 on"

    def __init__(self, device: Device, threads: int) -> None:
        if shutil.which("c++") is None:
            raise UnavailableError("torch.compile needs a C++ compiler, and there is no c++")
        super().__init__(device, threads)
        # its messages on what it does not compile would break the progress bar
        self.torch._logging.set_logs(dynamo=logging.ERROR, inductor=logging.ERROR)

    def _compiled(self, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
        # every case compiles anew: recompiling for another batch would ask for dynamic shapes
        importlib.import_module("torch._dynamo").reset()
        mode = "reduce-overhead" if self.on_gpu else "default"
        return [self.torch.compile(f, mode=mode, dynamic=False) for f in functions]

    def step(self, task: NetworkTask) -> Workload | None:
        """Return a compiled step."""
        training = TorchTraining(self, task, {"foreach": True, "capturable": self.on_gpu})
        training.net, update = self._compiled(training.net, training.optimizer.step)

        def step() -> Any:
            self.torch.compiler.cudagraph_mark_step_begin()
            loss = training.gradients()
            update()
            return loss

        return self._in_tf32(self._step_workload(training, step))

    def inference(self, task: NetworkTask) -> Workload | None:
        """Return a compiled forward pass."""
        (net,) = self._compiled(self.build(task).eval())

        def run(x: Any) -> Any:
            self.torch.compiler.cudagraph_mark_step_begin()
            return net(x)

        return self._in_tf32(self._inference(run, task))
