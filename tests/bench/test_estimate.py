"""How long a case is expected to take, from its work and the machine's ceilings."""

import pytest

from minialex.arrays import CPU, Device
from minialex.autograd import OPS
from minialex.bench.case import BenchCase, BenchContext
from minialex.bench.estimate import SECONDS_PER_ROUND, WORK_PER_ROUND, TimeLeft, expected_seconds
from minialex.bench.record import Ceilings

CEILINGS = Ceilings(gemm=[1.0, 100.0], copy=[1.0, 10.0])


def expected(op, context, rounds=3, work=((1000, 50), (2000, 0))):
    case = BenchCase(op, "forward", 1, ("a",), work, lambda context: None)
    return expected_seconds(case, context, rounds, CEILINGS)


def test_a_round_is_expected_for_every_contender():
    # by the last ceilings: 10 s and 5 s for the first part, 20 s for the second
    one_round = SECONDS_PER_ROUND + WORK_PER_ROUND * 35
    there = [n for n, one in OPS["conv2d"].implementations.items() if not one.why_not(CPU)]
    assert len(there) > 2
    assert expected("conv2d", BenchContext()) == pytest.approx(len(there) * 3 * one_round)
    # "plain" and what is asked for; a peer more
    asked = BenchContext(CPU, ("blocked",))
    assert expected("conv2d", asked) == pytest.approx(2 * 3 * one_round)
    asked.peers = ["PyTorch", "JAX"]
    assert expected("conv2d", asked, rounds=1) == pytest.approx(4 * one_round)
    # of whole networks it is not known here
    assert expected("step", BenchContext(), rounds=1) == pytest.approx(2 * one_round)
    assert expected("loader", BenchContext(), 1, ()) == pytest.approx(2 * SECONDS_PER_ROUND)


def test_kernels_are_expected_on_a_gpu_alone(monkeypatch):
    on_cpu = expected("softmax", BenchContext(), 1, ()) / SECONDS_PER_ROUND
    implementations = OPS["softmax"].implementations.values()
    monkeypatch.setattr(type(next(iter(implementations))), "why_not", lambda self, device: None)
    on_gpu = expected("softmax", BenchContext(Device("cuda")), 1, ()) / SECONDS_PER_ROUND
    assert on_gpu == pytest.approx(max(len(implementations), 2))
    assert on_cpu <= on_gpu


def test_nothing_done_yet_leaves_what_was_expected():
    assert TimeLeft([], repetitions=3, processes=0).seconds(0) == 0
    left = TimeLeft([0.0, 0.0], repetitions=1, processes=0, taken={0: 2.0})
    assert left.seconds(0) == 2
