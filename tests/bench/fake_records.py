"""Records made up for tests: no clock is involved."""

import numpy as np

from minialex.bench.record import BenchRecord, BenchRow, Ceilings, Timing

REPETITIONS, ROUNDS = 3, 3


def times(seconds, noise, rng, speeds):
    """Return times about `seconds`, each repetition at a machine speed, with noise on both."""
    return [
        [float(seconds / speed * between * np.exp(rng.normal(0, noise))) for _ in range(ROUNDS)]
        for speed, between in zip(speeds, np.exp(rng.normal(0, noise, len(speeds))), strict=True)
    ]


def row(
    number, timings, op="conv2d", what="forward", batch=32, work=((2_000_000_000, 10_000_000),)
):
    return BenchRow(
        op=op,
        what=what,
        batch=batch,
        labels=[f"alexnet {op} {number}"],
        work=[tuple(p) for p in work],
        per_step=1,
        images=0,
        timings=timings,
    )


def record(seed=0, cases=40, noise=0.02, speed=1.0, slowed=(), factor=1.0):
    """Return a run of so many cases; those numbered in `slowed` take `factor` times as long."""
    rng = np.random.default_rng(seed)
    # without noise nothing trembles, the machine neither
    speeds = speed * np.exp(rng.normal(0, 0.02 if noise else 0.0, REPETITIONS))
    rows = []
    for i in range(cases):
        seconds = 0.001 * (i + 1) * (factor if i in slowed else 1.0)
        ours = Timing("implementation", times(seconds, noise, rng, speeds), error=1e-7)
        rows.append(row(i, {"plain": ours}))
    return BenchRecord(
        machine={"cpu": "a made-up CPU", "cores": 2},
        versions={"minialex": "0"},
        peers={},
        unavailable={},
        threads={"used": 2},
        commit="0123456789ab",
        date="2012-09-30T00:00:00+00:00",
        device="cpu",
        settings={"repetitions": REPETITIONS, "rounds": ROUNDS, "not_reached": []},
        ceilings=Ceilings([float(1e11 * s) for s in speeds], [float(1e10 * s) for s in speeds]),
        rows=rows,
    )
