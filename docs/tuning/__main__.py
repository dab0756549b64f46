"""Write what `docs/tuning.md` shows of profiles, between its markers.

From the root of a source tree,

    python -m docs.tuning           profiles the stages and writes the page
    python -m docs.tuning --check   changes nothing; exit status 1 where the page is stale
"""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path, PurePath

from docs.tuning.layer_norm import HERE, STAGES, TuningStage, example
from minialex.bench.report import fill
from minialex.cuda.emulator.counts import MemoryCounts
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile import LaunchProfile, profiled
from minialex.study.profile.resources import resources
from minialex.study.profile.time_model import PredictedTime, predict

PAGE = Path("docs/tuning.md")
SHAPE = 8, 128, 56, 56
"""Of x as the page profiles it: a stage of ConvNeXt, a batch of 8."""
GPUS = "RTX 3060", "H100"
"""That times are predicted for."""


@functools.cache
def profile_of(stage: TuningStage) -> LaunchProfile:
    """Return the profile of the stage's launch on x of `SHAPE`."""
    with profiled() as profile:
        stage(*example(SHAPE))
    (launch,) = profile.launches
    return launch


def table(file: str) -> str:
    """Return the table of one stage, by its file, and the sentences on what slows it down."""
    launch = profile_of(next(stage for stage in STAGES if stage.file == file))
    rows = [
        "| line | | asks for | requests | sectors per request | wavefronts per request |",
        "| ---: | --- | --- | ---: | ---: | ---: |",
    ]
    for line in launch.lines:
        # the primitives of common.cuh access no memory
        code = line.text.partition("//")[0].strip()
        rows += [f"| {line.number} | `{code}` | {_row(access)} |" for access in line.accesses]
    found = [f"- {one.sentence} ({100 * one.share:.0f} %)" for one in launch.slowdowns]
    return "\n".join([*rows, "", *(found or ["Nothing is named."])])


def _row(access: MemoryCounts) -> str:
    what = f"{access.access} of {access.width} bytes, `{access.array}`"
    cells = [what, f"{access.requests:,.0f}"]
    for unit in ("sectors", "wavefronts"):
        count, least = getattr(access, unit), getattr(access, f"least_{unit}")
        shown = f"{count / access.requests:.3g}"
        if count != least:
            shown = f"**{shown}**, least {least / access.requests:.3g}"
        belongs = (unit == "sectors") == (access.memory == "global")
        cells.append(shown if belongs else "")
    return " | ".join(cells)


@functools.cache
def prediction(stage: TuningStage, gpu: str) -> PredictedTime:
    """Return the predicted time of the stage's launch on one of the known GPUs."""
    counts = profile_of(stage).counts
    threads = math.prod(counts.block)
    path = HERE / stage.file
    taken = resources(path, counts.kernel, known_gpu(gpu), threads, counts.dynamic_shared)
    return predict(counts, taken)


def summary() -> str:
    """Return the table of all stages."""
    columns = "sectors", "least", "wavefronts of shared memory", "least"
    rows = [
        f"| stage | {' | '.join((*columns, *(f'predicted, {gpu}' for gpu in GPUS)))} |",
        f"| ---{' | ---:' * len(columns)}{' | ---' * len(GPUS)} |",
    ]
    for stage in STAGES:
        memory = profile_of(stage).counts.memory
        here = [one for one in memory if one.memory == "global"]
        shared = [one for one in memory if one.memory == "shared"]
        cells = [
            *(_thousands(here, name) for name in ("sectors", "least_sectors")),
            *(_thousands(shared, name) for name in ("wavefronts", "least_wavefronts")),
            *(_predicted(prediction(stage, gpu)) for gpu in GPUS),
        ]
        link = f"[{PurePath(stage.file).stem}](tuning/{stage.file})"
        rows.append(f"| {' | '.join([link, *cells])} |")
    return "\n".join(rows)


def _thousands(rows: list[MemoryCounts], name: str) -> str:
    return f"{sum(getattr(one, name) for one in rows) / 1e3:,.0f}"


def _predicted(time: PredictedTime) -> str:
    return f"{time.seconds * 1e6:.0f} µs, bound by {time.binding}"


def page(text: str) -> str:
    """Return the page's text with what stands between its markers brought up to date."""
    return fill(text, lambda name: summary() if name == "all" else table(name), "profile")


def main(words: list[str]) -> int:
    """Do it, say what was done, and return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    text = PAGE.read_text(encoding="utf-8")
    right = page(text)
    if right == text:
        return 0
    if words:
        print(f"{PAGE}: profiles out of date: python -m docs.tuning")
        return 1
    PAGE.write_text(right, encoding="utf-8")
    print(f"{PAGE}: profiles written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
