"""What a cell of a notebook shows: sentences, not dataclasses."""

import numpy as np

from minialex import Tensor
from minialex.check import check_runs, gradcheck
from minialex.evaluation.evaluate import Evaluation
from tests.bench.fake_records import record


def test_a_check_its_pair_and_what_came_of_it():
    check = check_runs(ops=["exp"], dtypes=["float64"])[0]
    assert repr(check) == f"CheckRun(exp plain float64 on cpu, values, case {check.case.name!r})"
    assert repr(check.pair) == "Pair(exp plain float64 on cpu)"
    found = check.run()
    assert repr(found) == str(found)
    assert repr(found).startswith(
        f"PASS exp plain float64 on cpu, case {check.case.name!r}\n  PASS"
    )


def test_a_report_of_gradcheck():
    report = gradcheck(lambda x: x * x, Tensor(np.ones(3), requires_grad=True))
    assert repr(report) == str(report)
    assert repr(report).startswith("PASS ")


def test_a_record_of_the_benchmark():
    lines = repr(record(cases=2, noise=0)).splitlines()
    assert lines == [
        "BenchRecord of 2012-09-30T00:00:00+00:00 on cpu (a made-up CPU), median times",
        "  alexnet conv2d 0 forward, batch 32: plain 1 ms",
        "  alexnet conv2d 1 forward, batch 32: plain 2 ms",
    ]
    empty = record(cases=1)
    empty.rows[0].timings = {}
    assert repr(empty).endswith("batch 32: not timed")


def test_an_evaluation():
    confusion = np.array([[3, 1], [0, 4]])
    assert repr(Evaluation(("cat", "dog"), 0.25, confusion, 8)) == (
        "Evaluation(2 classes, accuracy 87.50 % of 8 images, loss 0.2500)"
    )
