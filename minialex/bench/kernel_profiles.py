"""Profile the kernels and write what is found into ``kernels/README.md``.

From the root of a source tree,

    python -m minialex.bench.kernel_profiles    counts what has changed anew, and writes the page

What is counted depends on a kernel's text, on the code that launches it and on the profiler: a hash
of all that stands beside each table, and `python -m minialex.study.kernels --check` says where it
is not today's. NVRTC and nvdisasm are needed, and no GPU: times are predictions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minialex import optim
from minialex.arrays import CPU
from minialex.autograd import Tensor, implementation_for
from minialex.bench.cached_networks import CLASSES
from minialex.bench.images import COLOURS, SIZE, draw_crops, draw_jitter
from minialex.bench.layers import Layer, layer_work, layers
from minialex.bench.optimizers import NETWORK, OPTIMIZERS, shapes
from minialex.bench.profiles import BLOCKS, profile_layer
from minialex.bench.tables import Table
from minialex.check import CASES
from minialex.cuda import disassembly, nvrtc, source
from minialex.cuda.emulator.counts import MemoryCounts
from minialex.cuda.emulator.sampling import MAX_BLOCKS
from minialex.cuda.signature import signatures
from minialex.data.prepare import PREPARE_CROPS, prepare
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.study import kernels, tracing
from minialex.study.kernel_uses import uses
from minialex.study.parallel import in_parallel
from minialex.study.profile import LaunchProfile, Profile, profiled
from minialex.study.profile.cases import profile_case
from minialex.study.profile.lines import total
from minialex.train.step_state import StepState

GPU, BATCH = "H100", 128
"""What times are predicted for, and the images of a batch."""

PACKED_SIZE = (341, 256)
"""A photograph in a pack."""

MUCH_WORSE, FEW = 1.5, 0.02
"""How many times as far from the least as the launch an access is to be named, and the share of all
sectors or wavefronts that it must have."""

HEADINGS = [
    *("kernel", "bound", "occupancy"),
    *("sectors/least", "wavefronts/least", "divergent", "predicted us", "floor us"),
]
WORDS = 3
"""How many of the headings are of columns of words."""


def main(words: list[str], root: Path) -> int:
    """Do it, say what was done, and return the exit status."""
    if words:
        print(__doc__)
        return 2
    return kernels.main([], root, profile_tables)


def profile_tables(files: Sequence[str]) -> dict[str, str]:
    """Return what the page says of each file's kernels, as it is counted today.

    Raises
    ------
    MinialexError
        If NVRTC, the disassembler or a C++ compiler is missing.
    """
    if files and (why := nvrtc.why_missing() or disassembly.why_missing()):
        raise MinialexError(f"no profile of {', '.join(files)}: {why}")
    return dict(zip(files, in_parallel(profile_table, files, "counting"), strict=True))


def profile_table(file: str) -> str:
    """Return what the page says of one file's kernels: a table for each setting."""
    order = list(signatures(source.read(file)))
    rows: dict[str, list[list[str]]] = {}
    for setting, launch in sorted(_launches(file), key=lambda one: order.index(_name(one[1]))):
        rows.setdefault(setting, []).append(row(launch))
    parts: list[str] = []
    for setting, there in rows.items():
        parts += [f"Counted on {setting}; predicted for an {GPU}, not measured:"]
        parts += [Table(HEADINGS, there, WORDS).markdown()]
    return "\n\n".join(parts)


# ---- what is run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProfileSetting:
    """What an implementation is run on.

    Attributes
    ----------
    name : str
        As the page calls it.
    run : callable
        Returns the profile.
    """

    name: str
    run: Callable[[], Profile]


def settings(routine: str, implementation: str) -> Iterator[ProfileSetting]:
    """Yield what to run a routine on: at AlexNet's size, and then all small cases of an op.

    Of several layers it is that with most operations. A network that is not `alexnet` is taken only
    where `alexnet` does not have the op, or has it where nothing is computed.
    """
    if routine in _STEPS:
        name, step = _STEPS[routine]
        yield ProfileSetting(name, lambda: _profile_step(step))
        return
    layer = _largest_layer(routine)
    if layer is not None:
        yield ProfileSetting(
            f"`{layer.label}`, batch {BATCH}",
            lambda: profile_layer(layer, implementation, BATCH, gpu=GPU),
        )
    pair, first = tracing.find(routine, implementation, None)
    for case in dict.fromkeys((first, *CASES[routine])):
        yield ProfileSetting(
            f"the case `{case.name}` of `{routine}`",
            partial(profile_case, pair, case, gpu=GPU, max_blocks=MAX_BLOCKS),
        )


def _largest_layer(op: str) -> Layer | None:
    for network in VARIANTS:
        found = [layer for layer in layers(network) if layer.op.name == op]
        if found:
            return max(found, key=lambda layer: layer_work(layer, layer.passes[0], BATCH)[0])
    return None


def _profile_step(step: Callable[[], object]) -> Profile:
    with profiled(GPU, max_blocks=BLOCKS) as profile:
        step()
    return profile


def _optimizer_step(name: str) -> None:
    params = [Tensor(np.zeros(s, np.float32), requires_grad=True) for s in shapes(NETWORK)]
    optimizer = getattr(optim, name)(params, **OPTIMIZERS[name].settings)
    for p in params:
        p.grad = np.zeros_like(p.data)
    optimizer.step()


def _prepare_step() -> None:
    rng = np.random.default_rng(BATCH)
    pixels = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
    prepare(pixels, draw_jitter(COLOURS, BATCH, rng))


def _prepare_crops_step() -> None:
    crops = draw_crops(BATCH, PACKED_SIZE, np.random.default_rng(BATCH))
    out = np.empty((BATCH, 3, SIZE, SIZE), np.float32)
    implementation_for(PREPARE_CROPS, CPU)(crops, None, out)


def _count_step() -> None:
    rng, state = np.random.default_rng(BATCH), StepState(CPU)
    logits = rng.standard_normal((BATCH, CLASSES), np.float32)
    state.tally(logits, rng.integers(0, CLASSES, BATCH), np.ones((), np.float32))
    state.advance(1)


_PARAMETERS = f"the parameters of `{NETWORK}`"
_STEPS: dict[str, tuple[str, Callable[[], None]]] = {
    **{
        getattr(optim, name).update.name: (_PARAMETERS, partial(_optimizer_step, name))
        for name in OPTIMIZERS
    },
    "prepare": (f"{BATCH} images of {SIZE} x {SIZE} pixels, all colours changed", _prepare_step),
    "prepare_crops": (
        f"{BATCH} crops of photographs of {' x '.join(map(str, PACKED_SIZE))}, brought to "
        f"{SIZE} x {SIZE} pixels",
        _prepare_crops_step,
    ),
    "tally": (f"a step of `{NETWORK}`, batch {BATCH}", _count_step),
    "advance": (f"a step of `{NETWORK}`, batch {BATCH}", _count_step),
}


def _launches(file: str) -> Iterator[tuple[str, LaunchProfile]]:
    """Yield each kernel's launch, the slowest where there are several, and what it was run on."""
    used, missing = uses(), list(signatures(source.read(file)))
    there = [use for name in missing for use in used[file, name]]
    # those first that launch most of the kernels; of equal ones those that run by default
    order = sorted(set(there), key=lambda use: (-there.count(use), not use.is_default, use))
    for use in order:
        for setting in settings(use.routine, use.implementation):
            wanted = [name for name in missing if use in used[file, name]]
            if not wanted:
                break
            for launch in _slowest(setting.run(), wanted):
                missing.remove(_name(launch))
                yield setting.name, launch
    if missing:
        raise MinialexError(f"{file}: nothing launches {', '.join(missing)}")


def _slowest(profile: Profile, wanted: Iterable[str]) -> Iterator[LaunchProfile]:
    """Yield the slowest launch of each kernel that is wanted and was launched."""
    for name in wanted:
        own = [launch for launch in profile.launches if _name(launch) == name]
        if own:
            yield max(own, key=lambda launch: launch.predicted.seconds)


def _name(launch: LaunchProfile) -> str:
    return launch.counts.kernel.partition("<")[0]


# ---- cells ---------------------------------------------------------------------------------------


def row(launch: LaunchProfile) -> list[str]:
    """Return a launch's row, as `HEADINGS` has it."""
    time, taken = launch.predicted, launch.resources.occupancy
    assert taken is not None
    branches = sum(one.requests for one in launch.counts.branches)
    divergent = sum(one.divergent for one in launch.counts.branches)
    return [
        f"`{_name(launch)}`",
        time.binding,
        f"{taken.share:.0%}, {taken.limit}",
        per_request(launch.counts.memory, "global", "sectors"),
        per_request(launch.counts.memory, "shared", "wavefronts"),
        _share(divergent / branches) if divergent else "",
        _us(time.seconds),
        _us(launch.least.seconds),
    ]


def per_request(counts: Iterable[MemoryCounts], memory: str, what: str) -> str:
    """Return sectors or wavefronts per request and the least, and those of an access far above."""
    rows = [one for one in counts if one.memory == memory]
    if not rows:
        return ""
    every = total(rows)
    taken = getattr(every, what)
    # what is asked for by few requests does not matter
    worst = max(
        (one for one in rows if getattr(one, what) >= FEW * taken),
        key=lambda one: _excess(one, what),
    )
    text = _each(every, what)
    if _excess(worst, what) >= MUCH_WORSE * _excess(every, what):
        text += f"; {worst.array} {_each(worst, what)}"
    return text


def _excess(counts: MemoryCounts, what: str) -> float:
    return float(getattr(counts, what) / getattr(counts, f"least_{what}"))


def _each(counts: MemoryCounts, what: str) -> str:
    numbers = (getattr(counts, name) / counts.requests for name in (what, f"least_{what}"))
    return "/".join(f"{number:.3g}" for number in numbers)


def _share(number: float) -> str:
    return f"{number:.0%}" if number >= 0.005 else "<1%"


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:,.{0 if seconds >= 1e-5 else 1}f}" if seconds >= 5e-8 else "<0.1"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
