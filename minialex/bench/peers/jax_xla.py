"""JAX: each op compiled by XLA, in full float32. Single ops only."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from minialex.arrays import CPU, Array, Device, module_of
from minialex.bench.correctness import Result
from minialex.bench.peers.peer import Inputs, Peer
from minialex.bench.workload import UnavailableError, Workload

Function = Callable[..., Any]


class JaxPeer(Peer):
    """Forward, and the gradient that `jax.vjp` gives."""

    name = "JAX"

    def __init__(self, device: Device, threads: int) -> None:
        # it would take most of a GPU's memory for itself
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self.jax = importlib.import_module("jax")
        platform = "cpu" if device == CPU else "gpu"
        try:
            self.place = self.jax.devices(platform)[device.index]
        except (RuntimeError, IndexError) as error:
            raise UnavailableError(f"JAX sees no {device}") from error
        self.device, self.on_gpu = device, device != CPU
        self.description = f"{self.jax.__version__}, compiled, highest precision"

    def array(self, a: Array | None) -> Any:
        """Return an array as JAX's; None stays None."""
        if a is None:
            return None
        return self.jax.dlpack.from_dlpack(a) if self.on_gpu else self.jax.device_put(a, self.place)

    def to_ours(self, a: Any) -> Result:
        """Return a copy of an array of JAX's as ours."""
        return module_of(self.device).from_dlpack(a).copy()  # type: ignore[no-any-return]

    def layer(
        self, op: str, what: str, inputs: Inputs, gy: Array, params: dict[str, Any]
    ) -> Workload | None:
        """Return one pass, compiled."""
        if op not in FUNCTIONS:
            return None
        function, cotangent = FUNCTIONS[op](self.jax, params), self.array(gy)
        x, *rest = (self.array(a) for a in inputs)
        compiled, arguments = self._pass(function, what, x, rest, cotangent)

        def run() -> Any:
            # compiled at the first call, which is never timed
            with self.jax.default_matmul_precision("highest"):
                return compiled(*arguments)

        def run_and_wait() -> Any:
            if self.on_gpu:
                # our stream, which XLA's does not wait for, may still be overwriting the cache
                module_of(self.device).cuda.get_current_stream().synchronize()
            return self.jax.block_until_ready(run())

        # on a GPU too: XLA has a stream of its own, which no event on ours would time
        return Workload(run_and_wait, lambda: [self.to_ours(a) for a in run_and_wait()])

    def _pass(
        self, function: Function, what: str, x: Any, rest: list[Any], gy: Any
    ) -> tuple[Function, tuple[Any, ...]]:
        jit, vjp = self.jax.jit, self.jax.vjp
        if what == "forward":
            return jit(lambda x, *rest: [function(x, *rest)]), (x, *rest)
        if what == "data gradient":
            gradient = jit(lambda gy, x, *rest: vjp(lambda x: function(x, *rest), x)[1](gy))
        else:
            gradient = jit(lambda gy, x, *rest: vjp(lambda *rest: function(x, *rest), *rest)[1](gy))
        return gradient, (gy, x, *rest)


def _conv2d(jax: Any, p: dict[str, Any]) -> Function:
    def conv2d(x: Any, w: Any, b: Any = None) -> Any:
        y = jax.lax.conv_general_dilated(
            x,
            w,
            window_strides=p["stride"],
            padding=[(n, n) for n in p["padding"]],
            rhs_dilation=p["dilation"],
            feature_group_count=p["groups"],
        )
        return y if b is None else y + b[:, None, None]

    return conv2d


def _linear(jax: Any, p: dict[str, Any]) -> Function:
    return lambda x, w, b=None: x @ w.T if b is None else x @ w.T + b


def _max_pool2d(jax: Any, p: dict[str, Any]) -> Function:
    # rounded down: no case of the benchmarks has ceil_mode
    padding = [(0, 0), (0, 0), *((n, n) for n in p["padding"])]
    window, stride = (1, 1, *p["kernel_size"]), (1, 1, *p["stride"])
    return lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, stride, padding)


def _local_response_norm(jax: Any, p: dict[str, Any]) -> Function:
    half = p["size"] // 2

    def local_response_norm(x: Any) -> Any:
        padding = [(0, 0), (half, half), (0, 0), (0, 0)]
        squares = jax.lax.reduce_window(
            x * x, 0.0, jax.lax.add, (1, p["size"], 1, 1), (1, 1, 1, 1), padding
        )
        return x * (p["k"] + p["alpha"] * squares) ** -p["beta"]

    return local_response_norm


FUNCTIONS: dict[str, Callable[[Any, dict[str, Any]], Function]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "relu": lambda jax, p: lambda x: jax.nn.relu(x),
    "max_pool2d": _max_pool2d,
    "local_response_norm": _local_response_norm,
}
"""From an op to its formula in JAX, given the op's parameters."""
