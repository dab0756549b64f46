"""Every case against every contender; see conftest.py for what can be chosen."""

import pytest

from minialex.bench.roofline import floor


@pytest.mark.benchmark(max_time=0.3, min_rounds=3)
def test_speed(benchmark, contender, rates):
    run, row, timing = contender
    benchmark.group = row.full_title
    run()
    benchmark(run)
    if benchmark.stats and row.work:
        seconds, least = benchmark.stats.stats.median, floor(row.work, *rates)
        benchmark.extra_info |= {
            "GFLOP/s": row.flops / seconds / 1e9,
            "GB/s": row.bytes / seconds / 1e9,
            "share of ceiling": least.seconds / seconds,
            "ceiling": least.ceiling,
            "error": timing.error,
        }
