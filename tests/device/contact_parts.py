"""The parts of tests/device/first_contact.py, each a function, run in a process of its own.

A part writes what it finds line by line, as JSON, so that nothing is lost when its time is over.
"""

from __future__ import annotations

import importlib
import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

import minialex
from minialex import arrays, ops, optim
from minialex.arrays import BFLOAT16, CPU, Array, Device
from minialex.autograd import OPS, Tensor, activation_dtype
from minialex.bench import cached_networks, ceilings, machine
from minialex.bench.clock import Clock, clock_for
from minialex.bench.layers import Layer, draw, layers
from minialex.bench.networks import network_task
from minialex.bench.peers import find_peers
from minialex.bench.predicted_steps import MODES, using_mode
from minialex.check.kinds import CHECKS, Kind, cases_of
from minialex.check.suite import Pair
from minialex.check.verdict import Verdict
from minialex.cuda.fault import lost_context
from minialex.data import Batch
from minialex.study.launch_times import BATCH
from minialex.train.replay import WARM_UP_STEPS
from minialex.train.step import TrainStep
from tests.device import launches as steps

LOST = 3
"""The exit status of a process whose CUDA context a kernel corrupted."""
SMOKE_FIRST = (
    "conv2d",
    "linear",
    "max_pool2d",
    "relu",
    "cross_entropy",
    "dropout",
    "local_response_norm",
)
PRODUCTS = "conv2d", "linear"
LAST_LAYER = "classifier.6"
# gradients of a whole network in float32, summed in another order, differ by less: relative, in
# the Euclidean norm of a parameter
MAX_RELATIVE_ERROR = 1e-3
# with factors rounded to TF32 (2^-11): the loss and the gradients of the last layer, before any
# kink of the way back, and all others. Rounding changes the sign of a share of some 1e-4 of what
# goes into a ReLU, and the maxima of as many windows, and a gradient by the root of that at each.
# Computed for alexnet by `perturbed_products` of tests/models/modes.py: up to 1.0e-3, and 0.11.
# Rounded to bfloat16 (2^-8), the first grow eightfold, the others by the root of that
TF32_ROUNDOFF = 2.0**-11
MAX_SMOOTH_TF32_ERROR, MAX_TF32_ERROR = 3e-3, 0.3
STEPS_IN_A_ROW = 20


def roundoff(mode: str) -> float:
    """Return the largest share that a mode rounds a factor by, beyond what float32 does."""
    return max(OPS[op].implementations[one].operand_roundoff for op, one in MODES[mode].items())


class LostError(Exception):
    """A kernel corrupted this process's CUDA context: the message says which."""


@dataclass(frozen=True)
class Setting:
    """Where and how a part runs.

    Attributes
    ----------
    out : Path
        The file of JSON lines.
    emulated : bool
        On the CPU under the emulator, and small.
    share, shares : int
        The index of this process among those that do this part, and their number.
    start : int
        How many of its checks smoke skips, as a process before it did those.
    """

    out: Path
    emulated: bool
    share: int = 0
    shares: int = 1
    start: int = 0

    @cached_property
    def device(self) -> Device:
        """The device under test."""
        return CPU if self.emulated else arrays.device("cuda")

    @property
    def network(self) -> str:
        """The network whose steps are taken."""
        return "alexnet-mini" if self.emulated else "alexnet"

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes."""
        return (2,) if self.emulated else (32, 128, 256)

    @property
    def modes(self) -> tuple[str, ...]:
        """The names of the ways through the kernels: of `MODES`."""
        return ("fp32", "tf32") if self.emulated else tuple(MODES)

    def trainings(self) -> Iterator[tuple[int, str]]:
        """Yield batch and mode of what is timed: TF32 at one batch size, to save time."""
        for batch in self.batches:
            for mode in self.modes:
                if batch == BATCH or not roundoff(mode):
                    yield batch, mode

    @cached_property
    def clock(self) -> Clock:
        """The timer."""
        return clock_for(self.device)

    def say(self, part: str, **facts: Any) -> None:
        """Append a line to the file of what was found, at once."""
        line = json.dumps({"part": part, **facts}, default=str)
        with self.out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def wait(self) -> None:
        """Wait until the device has done its work."""
        if not self.emulated:
            arrays.module_of(self.device).cuda.get_current_stream().synchronize()


# ---- what is run ---------------------------------------------------------------------------------


class Training:
    """A network on random images, and one step of training it."""

    def __init__(self, network: str, batch: int, device: Device, dropout: float = 0.5) -> None:
        task = network_task(network, batch, device)
        self.model = cached_networks.network(
            network, dropout, lambda a: arrays.to_device(a, device).copy()
        )
        self.x, self.targets = Tensor(task.images), task.targets
        self.optimizer = optim.RMSprop(self.model.parameters(), **task.rmsprop)

    def gradients(self) -> Tensor:
        """Run forward and backward and return the loss."""
        if activation_dtype(self.x.device) == BFLOAT16:
            self.optimizer.refresh_shadow()
        self.optimizer.zero_grad()
        loss = ops.cross_entropy(self.model(self.x), self.targets)
        loss.backward()
        return loss

    def step(self) -> Tensor:
        """Take one step and return the loss before it."""
        loss = self.gradients()
        self.optimizer.step()
        return loss


def trainings(at: Setting) -> Iterator[tuple[str, int, Training]]:
    """Yield the network in each mode at each batch, after two steps that compile and warm up."""
    for batch, mode in at.trainings():
        with using_mode(mode):
            training = Training(at.network, batch, at.device)
            for _ in range(1 if at.emulated else 2):
                training.step()
            at.wait()
            yield mode, batch, training


# ---- the parts -----------------------------------------------------------------------------------


def facts(at: Setting) -> None:
    """Say what machine this is, and measure its two ceilings."""
    there = machine.machine(at.device)
    at.say("facts", machine=there, versions=machine.versions(), commit=machine.commit())
    at.say("facts", date=machine.now())
    if not at.emulated:
        at.say("facts", copy=ceilings.copy(at.device, at.clock))
        at.say("facts", gemm=ceilings.gemm(at.device, at.clock))


def smoke(at: Setting) -> None:
    """Check three cases of each implementation, in each type; all failures are reported."""
    done = bad = 0
    for number, (pair, case, kind) in enumerate(_smoke_checks(at)):
        if number < at.start:
            continue
        name = f"{pair.op.name} {pair.name} {pair.dtype}, {kind}, case {case.name!r}"
        # the log then names a check that hangs or ends the process
        print(name, flush=True)
        done += 1
        try:
            row = CHECKS[kind](pair, case)
            wrong = str(row) if row.verdict is Verdict.FAIL else ""
        except Exception:
            wrong = traceback.format_exc()[-1500:]
        if wrong:
            bad += 1
            at.say("smoke", check=name, wrong=wrong[:3000])
        if lost := lost_context():
            at.say("smoke", checked=done, bad=bad, share=at.share, next=number + 1)
            raise LostError(f"{name}: {lost}")
    at.say("smoke", checked=done, bad=bad, share=at.share)


def _smoke_checks(at: Setting) -> Iterator[tuple[Pair, Any, Kind]]:
    """Yield this process's checks; an implementation is one process's, which compiles it once.

    Those that take bfloat16 arrays must make of them what they make in float32, rounded once.
    """
    names = (
        ["linear", "relu"]
        if at.emulated
        else [*SMOKE_FIRST, *sorted(OPS.keys() - set(SMOKE_FIRST))]
    )
    cases, types = (1, (np.float32,)) if at.emulated else (3, (np.float32, np.float64))
    every = [(OPS[name], one) for name in names for one in OPS[name].implementations]
    for op, one in every[at.share :: at.shares]:
        for dtype in types:
            pair = Pair(op, one, one, np.dtype(dtype), at.device)
            for kind in () if pair.why_not() else (Kind.VALUES, Kind.BFLOAT16):
                for case in cases_of(kind, pair)[:cases]:
                    yield pair, case, kind


def step(at: Setting) -> None:
    """Compare loss and all gradients of the whole network with array operations on the CPU."""

    def once(device: Device) -> tuple[float, dict[str, Array]]:
        training = Training(at.network, 2, device, dropout=0.0)
        loss = float(training.gradients().item())
        named = training.model.named_parameters()
        return loss, {name: arrays.to_numpy(p.grad).astype(np.float64) for name, p in named}

    with minialex.using("plain"):
        right_loss, right = once(CPU)
    for mode in at.modes:
        with using_mode(mode):
            loss, got = once(at.device)
        off = {
            name: float(np.linalg.norm(got[name] - g) / (np.linalg.norm(g) or 1.0))
            for name, g in right.items()
        }
        off["loss"] = abs(loss / right_loss - 1)
        # a NaN is not below it either
        unlike = [name for name, error in off.items() if not error < max_error(mode, name)]
        at.say("step", mode=mode, loss=loss, cpu=right_loss, unlike=unlike, relative_error=off)


def max_error(mode: str, name: str) -> float:
    """Return by how much of itself the loss, or a parameter's gradient, may be off in a mode."""
    if not roundoff(mode):
        return MAX_RELATIVE_ERROR
    coarser = roundoff(mode) / TF32_ROUNDOFF
    is_smooth = name == "loss" or name.startswith(LAST_LAYER)
    return MAX_SMOOTH_TF32_ERROR * coarser if is_smooth else MAX_TF32_ERROR * sqrt(coarser)


def launches(at: Setting) -> None:
    """Time each launch of a training step on the device."""
    for mode, batch, training in trainings(at):
        rows = steps.timed(training.step, at.device, 1 if at.emulated else 7)
        for nth, row in enumerate(rows):
            before = [r for r in rows[:nth] if r["kernel"] == row["kernel"]]
            row["nth"] = len(before)
        at.say("launches", mode=mode, batch=batch, rows=rows)


def array_operations(at: Setting) -> None:
    """Time convolution and linear layers in array operations on CuPy, beside the kernels."""
    batch = at.batches[0]
    for layer in layers(at.network):
        if layer.op.name not in PRODUCTS or (at.emulated and layer.op.name == "conv2d"):
            continue
        host = draw(layer, batch, np.random.default_rng(1))
        inputs = tuple(None if a is None else arrays.to_device(a, at.device) for a in host)
        for one in dict.fromkeys(["plain", *(MODES[mode][layer.op.name] for mode in at.modes)]):
            forward, backward = _passes(layer, one, inputs)
            times = [_seconds(at.clock, run) for run in (forward, backward)]
            at.say(
                "arrays",
                layer=layer.label,
                batch=batch,
                implementation=one,
                forward_us=1e6 * times[0],
                backward_us=1e6 * times[1],
            )


def _passes(
    layer: Layer, name: str, inputs: tuple[Array | None, ...]
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the forward pass, and the backward pass with every gradient that training wants."""
    one = layer.op.implementations[name]
    y, saved = one.forward(*inputs, **layer.params)
    gy = arrays.array_module(y).ones_like(y)
    wanted = {"needs": (not layer.first, True, True)} if "needs" in one.takes else {}
    return (
        lambda: one.forward(*inputs, **layer.params),
        lambda: one.backward(gy, saved, **layer.params, **wanted),
    )


def _seconds(clock: Clock, run: Callable[[], Any]) -> float:
    """Return the time of a call; of a long one, that of the second."""
    clock.time_call(run)
    first = clock.time_call(run)
    return first if first >= clock.slow_call_seconds else clock.time_round(run)


def host(at: Setting) -> None:
    """Time whole steps: until Python returns, and until the device is done."""
    count = 1 if at.emulated else STEPS_IN_A_ROW
    for mode, batch, training in trainings(at):
        began = time.perf_counter()
        training.step()
        alone = time.perf_counter() - began
        at.wait()
        began = time.perf_counter()
        for _ in range(count):
            training.step()
        returned = time.perf_counter() - began
        at.wait()
        done = time.perf_counter() - began
        at.say(
            "host",
            mode=mode,
            batch=batch,
            # the first with nothing queued before it: Python's own time
            python_ms=1e3 * alone,
            python_ms_in_a_row=1e3 * returned / count,
            step_ms=1e3 * done / count,
            images_per_second=batch * count / done,
        )


def graph(at: Setting) -> None:
    """Capture a step as a CUDA graph and time its replay; or report why that is refused."""
    for mode, batch, training in trainings(at):
        step = TrainStep(training.model, training.optimizer)
        given = Batch(training.x.data, training.targets, np.arange(batch))
        for _ in range(WARM_UP_STEPS + 1):
            step(given)
        at.wait()
        if step.uncaptured:
            at.say("graph", mode=mode, batch=batch, refused=step.uncaptured)
            if lost := lost_context():
                raise LostError(f"a graph of a step, {mode}, batch {batch}: {lost}")
            continue
        seconds = at.clock.time_round(partial(step, given))
        failed, steps, _ = step.state.on_host()
        facts = {"failed": failed, "steps": steps, "replay_ms": 1e3 * seconds}
        at.say("graph", mode=mode, batch=batch, **facts)


def blame(error: BaseException) -> str:
    """Return an error with the line of ours that it came from."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "minialex/" in f.filename]
    where = "".join(f" at {Path(f.filename).name}:{f.lineno}: {f.line}" for f in ours[-1:])
    return f"{type(error).__name__}: {error}{where}"


def torch(at: Setting) -> None:
    """Time PyTorch's step: eager in TF32, strict float32 and autocast, and as a CUDA graph."""
    T = importlib.import_module("torch")
    for name, tf32, bf16 in (
        ("PyTorch", True, False),
        ("PyTorch", False, False),
        ("PyTorch", True, True),
        ("PyTorch P2", True, False),
    ):
        T.backends.cudnn.allow_tf32 = T.backends.cuda.matmul.allow_tf32 = tf32
        peers, unavailable = find_peers([name], at.device, 1)
        if not peers:
            at.say("torch", who=name, excluded=unavailable[name])
            continue
        for batch in at.batches:
            calls = peers[0].step(network_task(at.network, batch, at.device))
            assert calls is not None
            with T.autocast("cuda", T.bfloat16, enabled=bf16):
                seconds = _steps_in_a_row(calls.run, T.cuda.synchronize)
            facts = {"tf32": tf32, "bf16": bf16, "batch": batch}
            at.say("torch", who=name, **facts, step_ms=1e3 * seconds)
            del calls
            T.cuda.empty_cache()


def _steps_in_a_row(run: Callable[[], Any], wait: Callable[[], Any]) -> float:
    for _ in range(3):
        run()
    wait()
    began = time.perf_counter()
    for _ in range(STEPS_IN_A_ROW):
        run()
    wait()
    return (time.perf_counter() - began) / STEPS_IN_A_ROW


def profiled(at: Setting, mode: str, batch: int) -> None:
    """Take one step, under a profiler."""
    with using_mode(mode):
        Training(at.network, batch, at.device).step()
    at.wait()


PARTS: dict[str, Callable[[Setting], None]] = {
    "facts": facts,
    "smoke": smoke,
    "step": step,
    "launches": launches,
    "arrays": array_operations,
    "host": host,
    "graph": graph,
    "torch": torch,
}
"""The parts that run in a process of ours, in order."""
