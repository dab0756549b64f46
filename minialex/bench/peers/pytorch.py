"""PyTorch, used in three ways, on the CPU or a GPU.

P1  eager, everything as PyTorch has it by default
P2  channels last, optimizer over lists of tensors ("foreach"); on a GPU one CUDA graph per step
P3  channels last, model and optimizer compiled; on a GPU with CUDA graphs

P1 runs single ops too. P2 and P3 run whole networks only, and compute matrix products in TF32
on a GPU; which precision P1 uses is in its description.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from minialex.arrays import CPU, Array, Device, module_of
from minialex.bench import cached_networks
from minialex.bench.correctness import TF32, TF32_UPDATE, Result, Tolerance, sample
from minialex.bench.peers.peer import Inputs, Peer
from minialex.bench.workload import STEPS, NetworkTask, UnavailableError, Workload

FORWARD, DATA = "forward", "data gradient"


FUNCTIONS: dict[str, Callable[[Any, dict[str, Any]], Callable[..., Any]]] = {
    "conv2d": lambda f, p: partial(f.conv2d, **p),
    "linear": lambda f, p: f.linear,
    "relu": lambda f, p: f.relu,
    "max_pool2d": lambda f, p: partial(f.max_pool2d, **p),
    "avg_pool2d": lambda f, p: partial(f.avg_pool2d, **p),
    "adaptive_avg_pool2d": lambda f, p: partial(f.adaptive_avg_pool2d, **p),
    # PyTorch divides alpha by the size of the window
    "local_response_norm": lambda f, p: partial(
        f.local_response_norm, **(p | {"alpha": p["alpha"] * p["size"]})
    ),
    "softmax": lambda f, p: partial(f.softmax, **p),
    "log_softmax": lambda f, p: partial(f.log_softmax, **p),
    "cross_entropy": lambda f, p: partial(f.cross_entropy, **p),
}
"""From an op to PyTorch's function, given its functional module and the op's parameters."""

LAYERS: dict[str, Callable[[Any, Any], Any]] = {
    "Conv2d": lambda nn, m: nn.Conv2d(
        m.weight.shape[1] * m.groups,
        m.weight.shape[0],
        m.weight.shape[2:],
        m.stride,
        m.padding,
        m.dilation,
        m.groups,
        m.bias is not None,
    ),
    "ReLU": lambda nn, m: nn.ReLU(inplace=True),
    "MaxPool2d": lambda nn, m: nn.MaxPool2d(
        m.kernel_size, m.stride, m.padding, ceil_mode=m.ceil_mode
    ),
    "AdaptiveAvgPool2d": lambda nn, m: nn.AdaptiveAvgPool2d(m.output_size),
    "LocalResponseNorm": lambda nn, m: nn.LocalResponseNorm(m.size, m.alpha * m.size, m.beta, m.k),
    "Flatten": lambda nn, m: nn.Flatten(),
    "Dropout": lambda nn, m: nn.Dropout(m.p),
    "Linear": lambda nn, m: nn.Linear(m.weight.shape[1], m.weight.shape[0], m.bias is not None),
}
"""From a layer of ours to PyTorch's; ReLU in place, as torchvision's AlexNet has it."""


class TorchTraining:
    """PyTorch's network, its optimizer, and one step of both."""

    def __init__(self, peer: TorchEager, task: NetworkTask, settings: dict[str, Any]) -> None:
        self.torch, self.net = peer.torch, peer.build(task).train()
        self.x, self.t = peer.images(task), peer.tensor(task.targets)
        optimizer = self.torch.optim.RMSprop
        self.optimizer = optimizer(self.net.parameters(), **task.rmsprop, **settings)

    def gradients(self) -> Any:
        """Run forward and backward."""
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.net(self.x), self.t)
        loss.backward()
        return loss

    def step(self) -> Any:
        """Take one step."""
        loss = self.gradients()
        self.optimizer.step()
        return loss

    def parameters(self) -> list[Any]:
        """Return the parameters as they are now, without a graph."""
        return [p.detach() for p in self.net.parameters()]

    def restore(self, before: list[Any]) -> None:
        """Reset in place: parameters as they were, optimizer state zero."""
        for p, b in zip(self.parameters(), before, strict=True):
            p.copy_(b)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()


class TorchEager(Peer):
    """P1."""

    name = "PyTorch"

    def __init__(self, device: Device, threads: int) -> None:
        self.torch = importlib.import_module("torch")
        self.device, self.torch_device = device, str(device)
        if device == CPU:
            self.torch.set_num_threads(threads)
        elif not self.torch.cuda.is_available():
            raise UnavailableError("this PyTorch sees no GPU")
        self.tolerance = None if device == CPU else TF32
        self.description = f"{self.torch.__version__}, eager, defaults{self._precision(device)}"

    def _precision(self, device: Device) -> str:
        if device == CPU:
            return ""
        settings = {
            "convolutions": self.torch.backends.cudnn.allow_tf32,
            "matrix products": self.torch.backends.cuda.matmul.allow_tf32,
        }
        return "".join(f", TF32 {'on' if on else 'off'} in {name}" for name, on in settings.items())

    def tensor(self, a: Array | None) -> Any:
        """Return an array as a tensor that shares its memory."""
        return None if a is None else self.torch.from_dlpack(a)

    def layer(
        self, op: str, what: str, inputs: Inputs, gy: Array, params: dict[str, Any]
    ) -> Workload | None:
        """Return one pass as autograd runs it in training."""
        if op == "dropout":
            raise UnavailableError("it draws its own masks: its result cannot be checked")
        if op not in FUNCTIONS:
            return None
        x, *rest = (self.tensor(a) for a in inputs)
        function = FUNCTIONS[op](self.torch.nn.functional, params)
        tensors = [t for t in (x, *rest) if t is not None and t.is_floating_point()]
        for t in tensors:
            t.requires_grad_(True)
        if what == FORWARD:
            return self._workload(lambda: [function(x, *rest)], self.tolerance)
        y, cotangent = function(x, *rest), self.tensor(gy)
        needed = tensors[:1] if what == DATA else tensors[1:]
        grad = self.torch.autograd.grad
        return self._workload(lambda: grad(y, needed, cotangent, retain_graph=True), self.tolerance)

    def _workload(self, run: Callable[[], Any], tolerance: Tolerance | None = None) -> Workload:
        return Workload(run, lambda: [self.array(t) for t in run()], tolerance)

    def array(self, t: Any) -> Result:
        """Return a copy of a tensor as an array where it is."""
        return module_of(self.device).from_dlpack(t.detach()).copy()  # type: ignore[no-any-return]

    def optimizer(
        self, name: str, params: list[Array], gradients: list[Array], settings: dict[str, Any]
    ) -> Workload | None:
        """Return a step of the optimizer of that name."""
        tensors = [self.tensor(p).clone() for p in params]
        for t, g in zip(tensors, gradients, strict=True):
            t.grad = self.tensor(g)
        step = getattr(self.torch.optim, name)(tensors, **settings).step

        def result() -> list[Result]:
            before = [sample(self.array(t)) for t in tensors]
            for _ in range(STEPS):
                step()
            return [sample(self.array(t)) - b for t, b in zip(tensors, before, strict=True)]

        return Workload(step, result)

    def flip(self, images: Array, mirrored: Array) -> Workload | None:
        """Return the same arithmetic in tensor operations."""
        pixels, flipped = self.tensor(images), self.tensor(mirrored)

        def run() -> Any:
            planes = pixels.permute(0, 3, 1, 2)
            y = planes.to(self.torch.float32, memory_format=self.torch.contiguous_format)
            y.mul_(2 / 255).sub_(1)
            y[flipped] = y[flipped].flip(3)
            return [y]

        return self._workload(run)

    def build(self, task: NetworkTask) -> Any:
        """Return the network in PyTorch's layers, with our weights."""
        # its weights are copied below, so that the cached arrays will do
        ours = cached_networks.network(task.network, task.dropout, lambda a: a)
        layers = [m for _, m in ours.named_modules() if type(m).__name__ in LAYERS]
        net = self.torch.nn.Sequential(
            *(LAYERS[type(m).__name__](self.torch.nn, m) for m in layers)
        )
        for theirs, p in zip(net.parameters(), ours.parameters(), strict=True):
            theirs.data.copy_(self.torch.from_numpy(p.data))
        return net.to(self.torch_device)

    def step(self, task: NetworkTask) -> Workload | None:
        """Return a step: gradients to None, loss, backward, RMSprop."""
        training = TorchTraining(self, task, {})
        return self._step_workload(training, training.step)

    def _step_workload(self, training: TorchTraining, step: Callable[[], Any]) -> Workload:
        def parameters() -> list[Result]:
            return [sample(self.array(p)) for p in training.parameters()]

        def result() -> list[Result]:
            before = parameters()
            for _ in range(STEPS):
                step()
            return [a - b for a, b in zip(parameters(), before, strict=True)]

        return Workload(step, result, TF32_UPDATE if self.tolerance else None)

    def images(self, task: NetworkTask) -> Any:
        """Return the images in the memory layout of this mode."""
        return self.tensor(task.images)

    def inference(self, task: NetworkTask) -> Workload | None:
        """Return a forward pass in inference mode."""
        return self._inference(self.build(task).eval(), task)

    def _inference(self, net: Any, task: NetworkTask) -> Workload:
        x = self.images(task)

        def run() -> Any:
            with self.torch.inference_mode():
                return [net(x)]

        return self._workload(run, self.tolerance)
