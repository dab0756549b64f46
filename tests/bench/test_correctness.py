import numpy as np
import pytest

from minialex.autograd import OPS, Implementation, Op
from minialex.bench import runner
from minialex.bench.case import BenchCase, BenchContext, Contender, PreparedCase, collect_contenders
from minialex.bench.correctness import FLOAT32, WrongResultError, check
from minialex.bench.layer_cases import layer_cases, verify_plain
from minialex.bench.layers import layers
from minialex.bench.workload import Workload
from minialex.cuda import fault
from minialex.errors import MinialexError
from tests.bench.fake_records import row
from tests.check.zoo import off_the_lists

MINI = "alexnet-mini"
TRUTH = np.linspace(-1, 1, 10_001).astype(np.float32)


def spoiled(change):
    y = TRUTH.astype(np.float64)
    change(y)
    return y


def one_element_unwritten(y):
    y[777] = 0


def one_nan(y):
    y[3] = np.nan


def infinite(y):
    y[3] = np.inf


def slightly_scaled(y):
    y *= 1.001


def shifted(y):
    y[1:] = y[:-1].copy()


def wholly_zero(y):
    y[:] = 0


FAULTS = one_element_unwritten, one_nan, infinite, slightly_scaled, shifted, wholly_zero


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_result_is_refused(fault):
    with pytest.raises(WrongResultError):
        check([spoiled(fault)], [TRUTH], FLOAT32)


def test_a_right_result_is_not():
    rounded = TRUTH.astype(np.float64) * (1 + 1e-6 * np.sin(np.arange(TRUTH.size)))
    assert 0 < check([rounded], [TRUTH], FLOAT32) < 1e-5


@pytest.mark.parametrize("got", [[], [TRUTH, TRUTH], [TRUTH[:-1]], [TRUTH[None]]])
def test_results_of_another_shape_or_number_are_refused(got):
    with pytest.raises(WrongResultError):
        check(got, [TRUTH], FLOAT32)


def trial(calls, **others):
    contenders = [Contender("plain", "implementation", Workload(lambda: None, lambda: [TRUTH]))]
    contenders += [
        Contender(n, "implementation", Workload(run, res)) for n, (run, res) in calls.items()
    ]
    return PreparedCase(contenders, lambda: [TRUTH.astype(np.float64)], **others)


def case_of(make):
    return BenchCase("conv2d", "forward", 1, ("alexnet conv2d 1",), (), make)


class Untimed:
    """A clock that must not be given a contender whose result is wrong."""

    slow_call_seconds = 100.0

    def __init__(self):
        self.timed, self.first_calls = [], []

    def time_call(self, run):
        self.first_calls.append(run)
        return 1.0

    def time_round(self, run):
        self.timed.append(run)
        return 1.0

    def time_cold_call(self, run):
        return None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_implementation_is_never_timed(fault):
    def wrong():
        raise AssertionError("timed")

    def make(bench):
        return trial({"bad": (wrong, lambda: [spoiled(fault)])})

    one, clock, case = row(1, {}), Untimed(), case_of(make)
    runner.run_case(case, one, BenchContext(), clock, rounds=2, first=True)
    runner.run_case(case, one, BenchContext(), clock, rounds=2, first=False)
    assert one.timings["bad"].failed
    assert one.timings["bad"].times == []
    assert one.timings["plain"].times == [[1.0, 1.0], [1.0, 1.0]]
    assert len(clock.timed) == 4
    assert len(clock.first_calls) == 2


def test_an_implementation_that_raises_is_named_and_the_others_are_timed():
    def breaks():
        raise ZeroDivisionError("in the kernel")

    one = row(1, {})
    case = case_of(lambda bench: trial({"bad": (breaks, breaks)}))
    runner.run_case(case, one, BenchContext(), Untimed(), rounds=1, first=True)
    assert "ZeroDivisionError: in the kernel" in one.timings["bad"].reason
    assert one.timings["plain"].times == [[1.0]]


@pytest.mark.parametrize("while_it_is", ["verified", "prepared"])
def test_a_contender_that_breaks_the_gpu_context_ends_the_run_and_is_named(
    monkeypatch, while_it_is
):
    def breaks():
        raise ZeroDivisionError("in the kernel")

    def make(bench):
        if while_it_is == "prepared":
            collect_contenders(bench, {"bad": breaks}, lambda peer: None)
        return trial({"bad": (breaks, breaks), "later": (breaks, breaks)})

    monkeypatch.setattr(fault, "lost_context", lambda: "cudaErrorIllegalAddress")
    one = row(1, {})
    with pytest.raises(MinialexError, match=r"^bad.* corrupted .* \(cudaErrorIllegalAddress\)"):
        runner.run_case(case_of(make), one, BenchContext(), Untimed(), rounds=1, first=True)
    assert "later" not in one.timings


def test_nothing_is_timed_where_the_plain_implementation_is_wrong():
    def make(bench):
        made = trial({"same": (lambda: None, lambda: [TRUTH])})
        made.independent = lambda: [TRUTH * 2]
        return made

    one, clock = row(1, {}), Untimed()
    runner.run_case(case_of(make), one, BenchContext(), clock, rounds=1, first=True)
    assert one.timings["plain"].failed
    assert "compare with" in one.timings["same"].reason
    assert clock.timed == []


def test_the_plain_implementation_of_every_layer_is_verified():
    # not a parameter of the test: to know the layers, all processes would build the network
    for one in layers("alexnet-2012"):
        verify_plain(one)


def double(gradients):
    return tuple(None if g is None else 2 * g for g in gradients)


def faulty(op, forward=None, gradients=None):
    """Return an op whose plain implementation has a fault planted."""
    right = OPS[op].implementations["plain"]

    def broken_forward(*arrays, **params):
        y, saved = right.forward(*arrays, **params)
        return (forward(y) if forward else y), saved

    def broken_backward(gy, saved, *, needs=None, **params):
        extras = {"needs": needs} if "needs" in right.takes else {}
        found = right.backward(gy, saved, **params, **extras)
        return gradients(found) if gradients else found

    with off_the_lists(op) as whole:
        return Op(op, {"plain": Implementation(broken_forward, broken_backward)}, whole.cost)


@pytest.mark.parametrize("name", ["conv2d", "linear", "relu", "max_pool2d", "local_response_norm"])
@pytest.mark.parametrize(
    "fault", [{"forward": lambda y: y * 1.001}, {"gradients": double}], ids=["forward", "gradient"]
)
def test_a_fault_in_the_plain_implementation_is_found(name, fault):
    one = next(one for one in layers("alexnet-2012") if one.op.name == name)
    bad = type(one)(**(vars(one) | {"op": faulty(name, **fault)}))
    with pytest.raises(WrongResultError):
        verify_plain(bad)


def test_the_layer_is_verified_at_full_size_by_blocks_of_another_size(monkeypatch):
    """A fault that only shows from the second block of images on, as blocked code has them."""
    one = next(one for one in layers(MINI) if one.op.name == "conv2d")
    right = one.op.implementations["plain"]

    def forward(x, *rest, **params):
        y, saved = right.forward(x, *rest, **params)
        y[4:] = y[:1]
        return y, saved

    monkeypatch.setitem(one.op.implementations, "plain", Implementation(forward, right.backward))
    made = layer_cases([MINI], 8, {"conv2d"})[0].prepare(BenchContext())
    shown = row(1, {})
    runner.verify(made, shown, BenchContext())
    assert shown.timings["plain"].failed


def test_a_second_implementation_is_compared_with_the_plain_one(monkeypatch):
    one = next(one for one in layers(MINI) if one.op.name == "relu")
    right = one.op.implementations["plain"]

    def leaky(x, **params):
        y, saved = right.forward(x, **params)
        return np.where(y > 0, y, 0.01 * x), saved

    for name, forward in (("same", right.forward), ("leaky", leaky)):
        made = Implementation(forward, right.backward)
        monkeypatch.setitem(one.op.implementations, name, made)
    bench = BenchContext(implementations=("same", "leaky"))
    case = layer_cases([MINI], 3, {"relu"})[0]
    shown = row(1, {})
    runner.verify(case.prepare(bench), shown, bench)
    assert {n: t.failed for n, t in shown.timings.items()} == {
        "plain": False,
        "same": False,
        "leaky": True,
    }
