"""Write what `docs/tuning.md` shows of profiles, between its markers.

From the root of a source tree,

    python -m docs.tuning              profiles the stages and writes the page
    python -m docs.tuning --check      changes nothing; exit status 1 where the page is stale
    python -m docs.tuning 1_naive.cu   prints the profile of one stage
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path, PurePath

from docs.tuning.layer_norm import STAGES, TuningStage, example
from minialex.bench.report import fill, fill_page
from minialex.bench.tables import Table
from minialex.cuda.emulator.counts import MemoryCounts
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile import LaunchProfile, profiled, text

PAGE = Path("docs/tuning.md")
SHAPE = 8, 128, 56, 56
"""Of x as the page profiles it: a stage of ConvNeXt, a batch of 8."""
GPUS = "RTX 3060", "H100"
"""That times are predicted for."""


@functools.cache
def profile_of(stage: TuningStage) -> LaunchProfile:
    """Return the profile of the stage's launch on x of `SHAPE`."""
    with profiled(GPUS[0]) as profile:
        stage(*example(SHAPE))
    (launch,) = profile.launches
    return launch


def section(stage: TuningStage) -> str:
    """Return what the profiler says of one stage."""
    launch = profile_of(stage)
    named = [f"- {one}" for one in text.named(launch)]
    rows = [list(cells) for cells in text.line_rows(launch)]
    lines = Table(list(text.LINE_HEADINGS), rows, names=text.LEFT_OF_LINES).markdown()
    return "\n".join(
        ["```text", *text.summary(launch), "```", "", lines, "", *(named or ["Nothing is named."])]
    )


def overview() -> str:
    """Return the table of all stages."""
    headings = "stage", "sectors", "least", "wavefronts of shared memory", "least"
    rows = []
    for stage in STAGES:
        launch = profile_of(stage)
        memory = launch.counts.memory
        here = [one for one in memory if one.memory == "global"]
        shared = [one for one in memory if one.memory == "shared"]
        cells = [
            f"[{PurePath(stage.file).stem}](tuning/{stage.file})",
            *(_thousands(here, name) for name in ("sectors", "least_sectors")),
            *(_thousands(shared, name) for name in ("wavefronts", "least_wavefronts")),
        ]
        for gpu in GPUS:
            predicted = dataclasses.replace(launch, gpu=known_gpu(gpu)).predicted
            cells.append(f"{predicted.seconds * 1e6:.0f} µs, bound by {predicted.binding}")
        rows.append(cells)
    return Table([*headings, *(f"predicted, {gpu}" for gpu in GPUS)], rows).markdown()


def _thousands(rows: list[MemoryCounts], name: str) -> str:
    return f"{sum(getattr(one, name) for one in rows) / 1e3:,.0f}"


def page(text: str) -> str:
    """Return the page's text with what stands between its markers brought up to date."""
    stages = {stage.file: stage for stage in STAGES}
    return fill(
        text, lambda name: overview() if name == "all" else section(stages[name]), "profile"
    )


def main(words: list[str]) -> int:
    """Do it, say what was done, and return the exit status."""
    shown = [stage for stage in STAGES if [stage.file] == words]
    if words not in ([], ["--check"]) and not shown:
        print(__doc__)
        return 2
    if shown:
        print(section(shown[0]))
        return 0
    return fill_page(PAGE, page, "docs.tuning", check=bool(words))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
