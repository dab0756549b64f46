"""Every case against every contender; see conftest.py for what can be chosen."""

import pytest

from minialex.bench.pytest_plugin import MEASURED, emulated_row, figures
from minialex.bench.roofline import floor


@pytest.mark.benchmark(max_time=0.3, min_rounds=3)
def test_speed(benchmark, contender, rates, emulated_gpu, prediction):
    run, row, timing = contender
    benchmark.group = row.full_title
    if emulated_gpu:
        emulated_row(benchmark, emulated_gpu, run)
        return
    run()
    benchmark(run)
    if prediction:
        benchmark.extra_info |= {"times": MEASURED} | figures(prediction)
    if benchmark.stats and row.work:
        seconds, least = benchmark.stats.stats.median, floor(row.work, *rates)
        benchmark.extra_info |= {
            "GFLOP/s": row.flops / seconds / 1e9,
            "GB/s": row.bytes / seconds / 1e9,
            "share of ceiling": least.seconds / seconds,
            "ceiling": least.ceiling,
            "error": timing.error,
        }
