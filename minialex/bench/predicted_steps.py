"""Predict every launch of a training step, without a GPU, and keep what is found in a record.

A step is one batch size and one mode: a rung of convolutions and linear layers. Its launches are
counted as `minialex profile alexnet --emulate` counts them, but for one thing: of a large launch
some blocks run, and what the others would have written is filled with random numbers, half of them
zero, in place of what the memory happened to hold. Later kernels decide by it: where a gradient is
needed; and emulated tensor cores multiply what is not finite on a way of its own.

A hash stands beside each step: of the kernels' text, of what launches them, and of the profiler.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from minialex.arrays import BFLOAT16, Array
from minialex.autograd import LATE_ROUTINES, ROUTINES, using
from minialex.autograd.choice import FP32, PRECISIONS
from minialex.bench.layers import layers
from minialex.bench.profiles import profile_step
from minialex.cuda import kernel_files, nvrtc
from minialex.cuda.emulator.named import array_parameters
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.scalars import bfloat16_bits
from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.plain_json import read_json, typed
from minialex.study.digests import step_digest
from minialex.study.kernel_uses import Use
from minialex.study.profile import LaunchProfile
from minialex.study.profile.least_time import in_place

NETWORK, GPU = "alexnet", "H100"
RECORD = "benchmarks/results/predicted-steps.json"
FORMAT = "minialex-predicted-steps 1"

BATCHES = 32, 128, 256, 1024
MODES = {
    "fp32": {"conv2d": "implicit_gemm", "linear": "register_blocked"},
    "tf32x3": {"conv2d": "tf32x3", "linear": "tf32x3"},
    "multistage_tf32x3": {"conv2d": "multistage_tf32x3", "linear": "multistage_tf32x3"},
    "tf32": {"conv2d": "tf32", "linear": "tf32"},
    "multistage_tf32": {"conv2d": "multistage_tf32", "linear": "multistage_tf32"},
    "bf16": {"conv2d": "bf16", "linear": "bf16"},
}
"""By name, the implementations of the products: the top rungs of the ladders, up from the
simplest. Those that are named as a precision run in it, with activations of its type."""

DIGITS = 4
"""Significant digits of a time in the record."""

_FILLING = 1 << 20
"""So many random numbers are repeated to fill an array."""


@dataclass(frozen=True)
class PredictedLaunch:
    """One launch of a step.

    Attributes
    ----------
    kernel : str
        With its template arguments.
    file : str
        That its text is in.
    layer : str
        ``"conv2d 2"``, of a product; of another launch empty.
    grid : str
        ``"126 x 8"`` blocks.
    bound : str
        What takes longest, in the model of docs/profile-model.md.
    us, floor_us : float
        The prediction, with the launch itself, and the roofline's lower bound.
    """

    kernel: str
    file: str
    layer: str
    grid: str
    bound: str
    us: float
    floor_us: float


@dataclass(frozen=True)
class PredictedStep:
    """The launches of a training step.

    Attributes
    ----------
    batch : int
    mode : str
        One of `MODES`.
    implementations : dict of str to str
        Of every routine that ran.
    compiler : str
        The version of NVRTC whose machine code was read.
    code : str
        The hash of the code that it depends on.
    launches : list of PredictedLaunch
        In order.
    """

    batch: int
    mode: str
    implementations: dict[str, str]
    compiler: str
    code: str
    launches: list[PredictedLaunch]

    @property
    def name(self) -> str:
        """As messages call it."""
        return step_name(self.batch, self.mode)

    @property
    def us(self) -> float:
        """The predicted time: launches run one after another."""
        return sum(one.us for one in self.launches)

    @property
    def floor_us(self) -> float:
        """The sum of the floors."""
        return sum(one.floor_us for one in self.launches)


Steps = dict[tuple[int, str], PredictedStep]
"""By batch and mode."""


def using_mode(mode: str) -> contextlib.AbstractContextManager[None]:
    """Choose the implementations of a mode, and its precision; as `minialex.using`."""
    precision = mode if mode in PRECISIONS else FP32
    return using(precision=precision, **MODES[mode])


def step_name(batch: int, mode: str) -> str:
    """Return what messages call a step."""
    return f"{mode} at batch {batch}"


# ---- prediction ----------------------------------------------------------------------------------


def predict_step(batch: int, mode: str) -> PredictedStep:
    """Predict every launch of a training step.

    Raises
    ------
    MinialexError
        If NVRTC, the disassembler or a C++ compiler is missing.
    """
    with using_mode(mode), wrapped_launches(_with_filled_outputs):
        profile = profile_step(NETWORK, batch, gpu=GPU)
    names = _product_layers()
    found = [_predicted(launch, names) for launch in profile.launches]
    step = PredictedStep(batch, mode, dict(list(profile.choices)), nvrtc.version(), "", found)
    return replace(step, code=digest_today(step))


def _with_filled_outputs(launch: LaunchFunction) -> LaunchFunction:
    """Return `launch`, before which the arrays that it only writes are filled."""

    def run(plan: LaunchPlan, values: tuple[Any, ...]) -> Any:
        for parameter, array in array_parameters(plan, values):
            if not (parameter.const or in_place(plan, parameter.name)):
                _fill(array, plan)
        return launch(plan, values)

    return run


def _fill(array: Array, plan: LaunchPlan) -> None:
    """Fill activations and gradients, and the argmax of windows; leave counters as they are."""
    rng = np.random.default_rng(0)
    if array.dtype == np.float32:
        some = np.maximum(rng.standard_normal(min(_FILLING, array.size), np.float32), 0)
    elif array.dtype in (BFLOAT16, np.uint16):
        array = array.view(np.uint16)
        some = rng.standard_normal(min(_FILLING, array.size), np.float32)
        some = bfloat16_bits(np.maximum(some, 0))
    elif array.dtype == np.uint8:
        taps = plan.sizes.get("KH", 16) * plan.sizes.get("KW", 16)
        some = rng.integers(0, taps, min(_FILLING, array.size), np.uint8)
    else:
        return
    flat = array.reshape(-1)
    for first in range(0, flat.size, _FILLING):
        part = flat[first : first + _FILLING]
        part[:] = some[: part.size]


def _product_layers() -> dict[tuple[int, ...], str]:
    """Return the layers with weights by the shape of these: ``"conv2d 2"``."""
    found = {}
    for layer in layers(NETWORK):
        if layer.parameters:
            shape = layer.input_shapes[1]
            assert shape is not None
            found[shape] = layer.label.removeprefix(f"{NETWORK} ")
    return found


def _weight_shape(sizes: dict[str, int]) -> tuple[int, ...]:
    """Return the shape of the weights of a product by its launch's sizes; () if it is none."""
    if {"C", "O", "KH", "KW"} <= sizes.keys():
        return sizes["O"], sizes["C"] // sizes.get("groups", 1), sizes["KH"], sizes["KW"]
    if {"O", "I"} <= sizes.keys():
        return sizes["O"], sizes["I"]
    return ()


def _predicted(launch: LaunchProfile, names: dict[tuple[int, ...], str]) -> PredictedLaunch:
    counts = launch.counts
    if launch.resources.missing:
        raise MinialexError(f"no prediction for {counts.kernel}: {launch.resources.missing}")
    return PredictedLaunch(
        counts.kernel,
        counts.plan.source.file,
        names.get(_weight_shape(counts.plan.sizes), ""),
        " x ".join(f"{n:,}" for n in counts.grid if n > 1) or "1",
        launch.predicted.binding,
        _rounded(1e6 * launch.predicted.seconds),
        _rounded(1e6 * launch.least.seconds),
    )


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


# ---- whether it is out of date -------------------------------------------------------------------


def _digest(files: Iterable[str], implementations: dict[str, str]) -> str:
    for module in LATE_ROUTINES.values():
        importlib.import_module(module)
    used = [Use(routine, name, False) for routine, name in sorted(implementations.items())]
    return step_digest(files, used)


def digest_today(step: PredictedStep) -> str:
    """Return the hash of the code that a step's prediction depends on, as the code is now."""
    return _digest_of(*_depends_on(step))


def _depends_on(step: PredictedStep) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Return the kernel files of a step, and its implementations."""
    implementations = step.implementations | MODES.get(step.mode, {})
    return frozenset(one.file for one in step.launches), frozenset(implementations.items())


def _digest_of(files: frozenset[str], implementations: frozenset[tuple[str, str]]) -> str:
    there = {(one.name, name) for one in ROUTINES.values() for name in one.implementations}
    if files <= set(kernel_files()) and implementations <= there:
        return _digest(files, dict(implementations))
    return "none: a kernel file or an implementation is gone"


def steps_due(steps: Steps, wanted: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return those steps, of the wanted ones, of which the record does not have today's."""
    # steps of a mode mostly depend on the same, whatever their batch
    digest_of = functools.cache(_digest_of)
    return [
        key
        for key in wanted
        if key not in steps or steps[key].code != digest_of(*_depends_on(steps[key]))
    ]


# ---- the record ----------------------------------------------------------------------------------

_COLUMNS = [one.name for one in fields(PredictedLaunch)]


def read_steps(path: Path) -> Steps:
    """Return the steps of a record; none where there is no file.

    Raises
    ------
    MinialexError
        If it is not such a record.
    """
    if not path.exists():
        return {}
    try:
        data = read_json(path)
        if data["format"] != FORMAT or data["columns"] != _COLUMNS:
            raise ValueError(f"format {data['format']!r}")
        found = starmap(_read_step, data["steps"].items())
        return {(one.batch, one.mode): one for one in found}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MinialexError(
            f"{path.name} is no record of python -m minialex.bench.performance ({error!r}): "
            "remove it, and predict again"
        ) from error


def _read_step(name: str, data: dict[str, Any]) -> PredictedStep:
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in data["launches"]]
    step: PredictedStep = typed(PredictedStep, data | {"launches": rows}, name)
    if not step.launches or not math.isfinite(step.us):
        raise ValueError(f"{name} has no launches")
    return step


def write_steps(path: Path, steps: Steps) -> None:
    """Write a record: steps by batch and mode, one line per launch."""
    order = [(batch, mode) for batch in BATCHES for mode in MODES]
    there = [steps[key] for key in order if key in steps]
    head = {"format": FORMAT, "network": NETWORK, "gpu": GPU, "columns": _COLUMNS}
    parts = [json.dumps(head)[:-1] + ', "steps": {', ",\n".join(map(_step_text, there)), "}}\n"]
    atomic_write(path, "\n".join(parts).encode())


def _step_text(step: PredictedStep) -> str:
    about = {name: getattr(step, name) for name in _STEP_FIELDS}
    rows = ([getattr(one, name) for name in _COLUMNS] for one in step.launches)
    text = ",\n  ".join(json.dumps(row) for row in rows)
    return f'{json.dumps(step.name)}: {json.dumps(about)[:-1]}, "launches": [\n  {text}]}}'


_STEP_FIELDS = [one.name for one in fields(PredictedStep) if one.name != "launches"]
