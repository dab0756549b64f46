"""What the profiler's model of time says of the rungs, beside the published times.

From the root of a source tree,

    python -m benchmarks.sgemm.prediction           writes the tables of docs/sgemm.md
    python -m benchmarks.sgemm.prediction --check   changes nothing; exit status 1 where they are
                                                    stale

It takes one to two minutes. The predictions depend on the machine code, and so on NVRTC's version.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np

from benchmarks.sgemm.rungs import PUBLISHED_GPU, PUBLISHED_SIZE, RUNGS, SgemmRung
from minialex.bench.report import fill, fill_page
from minialex.bench.tables import Table
from minialex.study.profile import LaunchProfile, profiled
from minialex.study.profile.time_model import PredictedTime

PAGE = Path("docs/sgemm.md")
COUNTED_BLOCKS = 9
"""The grid's corners, middles of edges, and its own middle: all blocks of a rung do the same."""


@functools.cache
def profile_of(rung: SgemmRung) -> LaunchProfile:
    """Return the profile of the rung at the published size."""
    A, B, C = (np.zeros((PUBLISHED_SIZE, PUBLISHED_SIZE), np.float32) for _ in range(3))
    with profiled(PUBLISHED_GPU, max_blocks=COUNTED_BLOCKS) as profile:
        rung.launch(A, B, C)
    (launch,) = profile.launches
    return launch


def prediction(rung: SgemmRung) -> PredictedTime:
    """Return the predicted time of the rung at the published size."""
    return profile_of(rung).predicted


def times() -> str:
    """Return the table of times."""
    rows = []
    for rung in RUNGS:
        predicted = prediction(rung)
        factor = predicted.seconds / rung.published_seconds
        milliseconds = rung.published_seconds * 1e3, predicted.seconds * 1e3
        cells = [*(f"{one:.2f}" for one in milliseconds), f"{factor:.2f}", predicted.binding]
        rows.append([f"`{rung.name}`", rung.published_name, *cells])
    headings = ["kernel", "published as", "published, ms", "predicted, ms"]
    return Table([*headings, "predicted / published", "bound by"], rows, names=2).markdown()


def bounds() -> str:
    """Return the table of bounds."""
    names = sorted({name for rung in RUNGS for name in prediction(rung).bounds})
    rows = [
        [
            f"`{rung.name}`",
            *(f"{prediction(rung).bounds.get(name, 0) * 1e3:.2f}" for name in names),
        ]
        for rung in RUNGS
    ]
    return Table(["predicted, ms", *names], rows).markdown()


def code() -> str:
    """Return the table of machine code."""
    kinds = "FFMA", "LDG", "LDG.128", "STS", "STS.128", "LDS", "LDS.128"
    rows = []
    for rung in RUNGS:
        found = profile_of(rung).resources
        loop = found.main_loop
        blocks = found.occupancy.blocks if found.occupancy else "unknown"
        counted = (str(loop[kind] or "") for kind in kinds)
        rows.append([f"`{rung.name}`", str(found.registers), str(blocks), *counted])
    return Table(["kernel", "registers", "blocks", *kinds], rows).markdown()


def named() -> str:
    """Return the list of what the profile names first, of each rung."""
    rows = []
    for rung in RUNGS:
        first = [one.sentence for one in profile_of(rung).slowdowns[:1]]
        rows.append([f"`{rung.name}`", *(first or ["nothing"])])
    return Table(["kernel", "named first"], rows, names=2).markdown()


TABLES = {"times": times, "bounds": bounds, "code": code, "named": named}


def page(text: str) -> str:
    """Return the page's text with its tables brought up to date."""
    return fill(text, lambda name: TABLES[name](), "sgemm")


def main(words: list[str]) -> int:
    """Do it, say what was done, and return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    return fill_page(PAGE, page, "benchmarks.sgemm.prediction", check=bool(words))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
