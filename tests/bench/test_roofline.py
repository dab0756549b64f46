import pytest

from minialex.bench.record import Ceilings
from minialex.bench.roofline import attainable, floor, floor_of, intensity, share
from tests.bench.fake_records import row

GEMM, COPY = 100.0, 10.0


@pytest.mark.parametrize(
    ("parts", "seconds", "ceiling"),
    [
        ([(1000, 10)], 10.0, "gemm"),
        ([(10, 1000)], 100.0, "copy"),
        # neither part could go on while the other waits: their floors add up
        ([(1000, 10), (10, 1000)], 110.0, "copy"),
        ([(5000, 10), (10, 100)], 60.0, "gemm"),
        ([], 0.0, ""),
    ],
)
def test_the_floor_is_the_larger_time_of_each_part(parts, seconds, ceiling):
    least = floor(parts, GEMM, COPY)
    assert least.seconds == pytest.approx(seconds)
    assert least.ceiling == ceiling


def test_the_share_of_the_ceiling_that_binds():
    ceilings = Ceilings([90.0, 100.0, 300.0], [8.0, 10.0, 11.0])
    one = row(1, {}, work=[(1000, 10)])
    assert floor_of(one, ceilings).seconds == pytest.approx(10)
    assert share(one, 40.0, ceilings) == pytest.approx(0.25)
    assert share(row(1, {}, work=[]), 1.0, ceilings) is None


def test_the_roof_bends_where_both_ceilings_bind():
    assert attainable(GEMM / COPY, GEMM, COPY) == GEMM
    assert attainable(1, GEMM, COPY) == COPY
    assert attainable(1000, GEMM, COPY) == GEMM
    assert intensity(row(1, {}, work=[(30, 10)])) == 3
    assert intensity(row(1, {}, work=[])) is None
