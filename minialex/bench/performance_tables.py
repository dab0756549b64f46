"""Predicted steps as tables of ``docs/performance.md``, beside estimates of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from minialex.bench.predicted_steps import (
    BATCHES,
    GPU,
    MODES,
    NETWORK,
    PredictedLaunch,
    PredictedStep,
    Steps,
    step_name,
)
from minialex.bench.tables import Table, three_digits
from minialex.wording import counted, enumerated

SHOWN_BATCH = 128
"""The batch size that is looked at more closely."""
GAINS = 12
"""How many groups of launches are named by how far they are above their floor."""
NONE = "none"
"""What is said where there is no prediction."""

FP32, TF32, BF16 = "FP32", "TF32", "BF16"
_ROUNDED = {"multistage_tf32": TF32, "tf32": TF32, "bf16": BF16}
PRECISION = {mode: _ROUNDED.get(mode, FP32) for mode in MODES}
"""What is multiplied, by mode, and so for PyTorch; FP32: as accurate as multiplying floats."""

Range = tuple[float, float]
"""The least and the most milliseconds."""


@dataclass(frozen=True)
class PyTorchEstimate:
    """PyTorch's step by arithmetic on its kernels' work and launches: an estimate, not measured.

    Attributes
    ----------
    eager, compiled : dict from batch to Range
        Everything by default, and model and optimizer compiled, with CUDA graphs, channels last.
    """

    eager: dict[int, Range]
    compiled: dict[int, Range]


PYTORCH = {
    FP32: PyTorchEstimate(
        {32: (3.8, 5), 128: (11, 15), 256: (20, 29), 1024: (74, 113)},
        {32: (2.6, 3.7), 128: (8.6, 12.7), 256: (16, 25), 1024: (60, 99)},
    ),
    TF32: PyTorchEstimate(
        {32: (2.4, 2.4), 128: (5.2, 5.2), 256: (9, 9), 1024: (32, 32)},
        {32: (1.4, 1.4), 128: (3.0, 3.0), 256: (5.3, 5.3), 1024: (19, 19)},
    ),
    BF16: PyTorchEstimate(
        {32: (2.1, 2.3), 128: (3.6, 4.1), 256: (5.5, 6.6), 1024: (17, 21)},
        {32: (1.2, 1.3), 128: (2.1, 2.4), 256: (3.3, 3.9), 1024: (10, 13)},
    ),
}

CONVOLUTION, COPIES, OTHER = "convolution products", "operands rewritten", "other"
KINDS = {
    "conv2d_channels_last.cu": COPIES,
    "linear_bf16_rows.cu": COPIES,
    "conv2d": CONVOLUTION,
    "linear": "linear products",
    "max_pool2d": "pooling",
    "avg_pool2d": "pooling",
    "adaptive_avg_pool2d": "pooling",
    "relu": "ReLU",
    "rmsprop": "optimizer",
}
"""What a launch is for, by how the name of its kernel's file begins; the first that fits."""
KIND_NAMES = list(dict.fromkeys((CONVOLUTION, *KINDS.values(), OTHER)))


def kind(launch: PredictedLaunch) -> str:
    """Return what a launch is for: one of `KIND_NAMES`."""
    return next((one for start, one in KINDS.items() if launch.file.startswith(start)), OTHER)


# ---- the summary ---------------------------------------------------------------------------------


def headline(steps: Steps) -> str:
    """Return the fastest mode of each precision, beside PyTorch's estimates, in a few lines."""
    lines = []
    for precision in PYTORCH:
        best = fastest(steps, SHOWN_BATCH, precision)
        if best is None:
            continue
        compiled = PYTORCH[precision].compiled[SHOWN_BATCH]
        lines.append(
            f"- **{precision}: {_ms(best.us)} ms**, {_rate(best)} images/s, by `{best.mode}`: "
            f"{best.us / best.floor_us:.1f} times the\n  floor of its launches. PyTorch compiled: "
            f"{_range(compiled)} ms (estimate), {_ratios(compiled, best)} times ours."
        )
    if not lines:
        return f"Nothing is predicted at batch {SHOWN_BATCH}."
    return "\n".join([f"A step of {SHOWN_BATCH} images on an {GPU}, predicted:", "", *lines])


def summary(steps: Steps) -> str:
    """Return a row for each batch and mode."""
    headings = ["batch", "mode", "ms", "floor ms", "images/s", "launches"]
    headings += ["eager ms", "/this", "compiled ms", "/this"]
    rows = []
    for batch in BATCHES:
        for mode in MODES:
            step = steps.get((batch, mode))
            beside = _beside(step, batch, PRECISION[mode])
            rows.append([str(batch), f"`{mode}`", *_ours(step), *beside])
    return Table(headings, rows, names=2).markdown()


def _ours(step: PredictedStep | None) -> list[str]:
    if step is None:
        return [NONE, "", "", ""]
    return [_ms(step.us), _ms(step.floor_us), _rate(step), str(len(step.launches))]


def fastest(steps: Steps, batch: int, precision: str) -> PredictedStep | None:
    """Return the step of the mode that is fastest; None where none is predicted."""
    there = [
        step for (n, mode), step in steps.items() if (n, PRECISION[mode]) == (batch, precision)
    ]
    return min(there, key=lambda step: step.us, default=None)


def _beside(step: PredictedStep | None, batch: int, precision: str) -> Iterator[str]:
    for times in (PYTORCH[precision].eager[batch], PYTORCH[precision].compiled[batch]):
        yield _range(times)
        yield "" if step is None else _ratios(times, step)


def _range(times: Range) -> str:
    low, high = (f"{ms:g}" for ms in times)
    return low if low == high else f"{low}-{high}"


def _ratios(times: Range, step: PredictedStep) -> str:
    low, high = (f"{1e3 * ms / step.us:.2f}" for ms in times)
    return low if low == high else f"{low}-{high}"


def _ms(us: float) -> str:
    return three_digits(us / 1e3)


def _rate(step: PredictedStep) -> str:
    return f"{float(f'{1e6 * step.batch / step.us:.3g}'):,.0f}"


# ---- where the time goes -------------------------------------------------------------------------


def by_kind(step: PredictedStep) -> dict[str, tuple[float, float]]:
    """Return predicted and least microseconds of each kind of launch."""
    found = dict.fromkeys(KIND_NAMES, (0.0, 0.0))
    for one in step.launches:
        us, floor = found[kind(one)]
        found[kind(one)] = us + one.us, floor + one.floor_us
    return found


def kinds(steps: Steps) -> str:
    """Return which kinds of launch take how long, in sentences and a table of all modes."""
    there = shown_steps(steps)
    if not there:
        return f"Nothing is predicted at batch {SHOWN_BATCH}."
    shares = {step.mode: by_kind(step) for step in there}
    rows = []
    for name in KIND_NAMES:
        cells = [shares[step.mode][name] for step in there]
        if any(us for us, _ in cells):
            rows.append([name, *(_with_floor(*cell) for cell in cells)])
    rows.append(["all", *(_with_floor(step.us, step.floor_us) for step in there)])
    table = Table(["us (floor)", *(f"`{step.mode}`" for step in there)], rows).markdown()
    return "\n\n".join(["\n".join(map(_sentence, there)), table])


def shown_steps(steps: Steps) -> list[PredictedStep]:
    """Return the steps of `SHOWN_BATCH`, in the order of the modes."""
    return [steps[SHOWN_BATCH, mode] for mode in MODES if (SHOWN_BATCH, mode) in steps]


def _sentence(step: PredictedStep) -> str:
    shares = sorted(by_kind(step).items(), key=lambda item: -item[1][0])
    largest = [f"{name} {us / step.us:.0%}" for name, (us, _) in shares[:4]]
    above = step.us - step.floor_us
    most, (us, floor) = max(shares, key=lambda item: item[1][0] - item[1][1])
    return (
        f"- `{step.mode}`: {', '.join(largest)}.\n  Of the {_ms(above)} ms above the floor "
        f"{(us - floor) / above:.0%} are in {most}."
    )


def _with_floor(us: float, floor_us: float) -> str:
    return f"{_us(us)} ({_us(floor_us)})" if us else ""


def _us(us: float) -> str:
    return f"{us:,.0f}" if us >= 9.5 else f"{us:.1f}"


# ---- launch by launch ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LaunchGroup:
    """Launches of a step that are alike, and where the first of them stands.

    Attributes
    ----------
    layer : str
        That they belong to: of what is no product itself, that of the product beside it.
    """

    layer: str
    launches: tuple[PredictedLaunch, ...]

    @property
    def us(self) -> float:
        """The predicted time of all of them."""
        return sum(one.us for one in self.launches)

    @property
    def floor_us(self) -> float:
        """The sum of their floors."""
        return sum(one.floor_us for one in self.launches)


def grouped(step: PredictedStep) -> list[LaunchGroup]:
    """Return the launches of a step, those together that are alike, in order of appearance."""
    alike: dict[tuple[str, ...], list[PredictedLaunch]] = {}
    for layer, one in zip(layers_of(step.launches), step.launches, strict=True):
        alike.setdefault((layer, one.kernel, one.grid, one.bound), []).append(one)
    return [LaunchGroup(key[0], tuple(some)) for key, some in alike.items()]


def layers_of(launches: Sequence[PredictedLaunch]) -> list[str]:
    """Return the layer of each launch; what is no product has that of the product beside it."""
    return [_layer(launches, i) for i in range(len(launches))]


_OF_NO_LAYER = {"cross_entropy.cu": "loss", "rmsprop.cu": "update"}


def _layer(launches: Sequence[PredictedLaunch], i: int) -> str:
    one = launches[i]
    before = next((other for other in launches[i::-1] if other.layer), None)
    after = next((other for other in launches[i:] if other.layer), None)
    if one.file in _OF_NO_LAYER:
        return _OF_NO_LAYER[one.file]
    if one.file == "dropout.cu":
        # it stands before its layer, and so behind it on the way back
        forward = after is not None and "_forward" in after.kernel
        found = after if forward else before
    else:
        follows = "_forward" in one.kernel or one.file == "sum_partials.cu"
        found = before if follows else after
    return found.layer if found else ""


def gains(steps: Steps) -> str:
    """Return what is furthest above its floor in the fastest mode of each precision."""
    parts = []
    for precision in PYTORCH:
        step = fastest(steps, SHOWN_BATCH, precision)
        if step is None:
            continue
        order = sorted(grouped(step), key=lambda group: group.floor_us - group.us)[:GAINS]
        share = sum(group.us - group.floor_us for group in order) / (step.us - step.floor_us)
        parts += [
            f"`{step.mode}`, batch {SHOWN_BATCH}; {share:.0%} of all that is above the floor:",
            Table(
                ["layer", "kernel", "bound", "predicted us", "floor us", "above us"],
                [
                    [
                        group.layer,
                        f"`{group.launches[0].kernel}`",
                        group.launches[0].bound,
                        _us(group.us),
                        _us(group.floor_us),
                        _us(group.us - group.floor_us),
                    ]
                    for group in order
                ],
                names=3,
            ).markdown(),
        ]
    return "\n\n".join(parts) or "Nothing is predicted."


def launches(steps: Steps) -> str:
    """Return every launch of every step, folded up."""
    order = [(batch, mode) for batch in BATCHES for mode in MODES]
    return "\n\n".join(_folded(steps[key]) for key in order if key in steps)


def _folded(step: PredictedStep) -> str:
    headings = ["kernel", "layer", "grid", "bound", "launches", "us", "floor us", "times"]
    rows = [_group_row(group) for group in grouped(step)]
    total = [str(len(step.launches)), _us(step.us), _us(step.floor_us)]
    rows.append(["all", "", "", "", *total, f"{step.us / step.floor_us:.1f}"])
    title = f"batch {step.batch}, {step.mode}: {_ms(step.us)} ms"
    return (
        f"<details><summary>{title}</summary>\n\n"
        f"{Table(headings, rows, names=4).markdown()}\n\n</details>"
    )


def _group_row(group: LaunchGroup) -> list[str]:
    first = group.launches[0]
    times = f"{group.us / group.floor_us:.1f}" if group.floor_us >= 0.05 else ""
    return [
        *(f"`{first.kernel}`", group.layer, first.grid, first.bound),
        *(str(len(group.launches)), _us(group.us), _us(group.floor_us), times),
    ]


def compiled_with(steps: Steps) -> str:
    """Return what the steps were predicted with, and which are missing."""
    versions = sorted({step.compiler for step in steps.values()})
    missing = [step_name(n, m) for n in BATCHES for m in MODES if (n, m) not in steps]
    text = (
        f"{counted(len(steps), 'step')} of `{NETWORK}`, 227 x 227 pixels, predicted for an {GPU}; "
        f"machine code by NVRTC {enumerated(versions) or 'none'}."
    )
    return f"{text}\nNot predicted: {enumerated(missing)}." if missing else text


TABLES: dict[str, Callable[[Steps], str]] = {
    "headline": headline,
    "summary": summary,
    "kinds": kinds,
    "gains": gains,
    "launches": launches,
    "about": compiled_with,
}
"""What stands between the page's markers, by name."""
