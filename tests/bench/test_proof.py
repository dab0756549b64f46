import numpy as np
import pytest

from minialex.autograd import OPS, Implementation, Op
from minialex.bench import runner
from minialex.bench.calls import Calls
from minialex.bench.case import Bench, Case, Contender, Trial, gather
from minialex.bench.layer_trials import layer_cases, prove
from minialex.bench.layers import layers
from minialex.bench.proof import FLOAT32, WrongResultError, check
from minialex.cuda import fault
from minialex.errors import MinialexError
from tests.bench.made import row

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
    contenders = [Contender("plain", "implementation", Calls(lambda: None, lambda: [TRUTH]))]
    contenders += [
        Contender(n, "implementation", Calls(run, res)) for n, (run, res) in calls.items()
    ]
    return Trial(contenders, lambda: [TRUTH.astype(np.float64)], **others)


def case_of(make):
    return Case("conv2d", "forward", 1, ("alexnet conv2d 1",), (), make)


class Untimed:
    """A clock that must not be asked about whoever is wrong."""

    enough = 100.0

    def __init__(self):
        self.asked, self.warmed = [], []

    def once(self, run):
        self.warmed.append(run)
        return 1.0

    def turn(self, run):
        self.asked.append(run)
        return 1.0

    def cold(self, run):
        return None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_implementation_is_never_timed(fault):
    def wrong():
        raise AssertionError("timed")

    def make(bench):
        return trial({"bad": (wrong, lambda: [spoiled(fault)])})

    one, clock, case = row(1, {}), Untimed(), case_of(make)
    runner.turn(case, one, Bench(), clock, rounds=2, first=True)
    runner.turn(case, one, Bench(), clock, rounds=2, first=False)
    assert one.timings["bad"].wrong
    assert one.timings["bad"].times == []
    assert one.timings["plain"].times == [[1.0, 1.0], [1.0, 1.0]]
    assert len(clock.asked) == 4
    assert len(clock.warmed) == 2


def test_an_implementation_that_breaks_off_is_named_and_the_others_are_timed():
    def breaks():
        raise ZeroDivisionError("in the kernel")

    one = row(1, {})
    case = case_of(lambda bench: trial({"bad": (breaks, breaks)}))
    runner.turn(case, one, Bench(), Untimed(), rounds=1, first=True)
    assert "ZeroDivisionError: in the kernel" in one.timings["bad"].reason
    assert one.timings["plain"].times == [[1.0]]


@pytest.mark.parametrize("as_it_is", ["proved", "made ready"])
def test_one_that_takes_the_gpu_ends_the_run_and_is_named(monkeypatch, as_it_is):
    def breaks():
        raise ZeroDivisionError("in the kernel")

    def make(bench):
        if as_it_is == "made ready":
            gather(bench, {"bad": breaks}, lambda peer: None)
        return trial({"bad": (breaks, breaks), "later": (breaks, breaks)})

    monkeypatch.setattr(fault, "lost_context", lambda: "cudaErrorIllegalAddress")
    one = row(1, {})
    with pytest.raises(MinialexError, match=r"^bad.* left .* GPU \(cudaErrorIllegalAddress\)"):
        runner.turn(case_of(make), one, Bench(), Untimed(), rounds=1, first=True)
    assert "later" not in one.timings


def test_nobody_is_timed_where_the_array_implementation_is_wrong():
    def make(bench):
        made = trial({"same": (lambda: None, lambda: [TRUTH])})
        made.independent = lambda: [TRUTH * 2]
        return made

    one, clock = row(1, {}), Untimed()
    runner.turn(case_of(make), one, Bench(), clock, rounds=1, first=True)
    assert one.timings["plain"].wrong
    assert "compare with" in one.timings["same"].reason
    assert clock.asked == []


def test_the_array_implementation_of_every_layer_proves_right():
    # not a parameter of the test: to know the layers, all processes would build the network
    for one in layers("alexnet-2012"):
        prove(one)


def double(gradients):
    return tuple(None if g is None else 2 * g for g in gradients)


def faulty(op, forward=None, gradients=None):
    """Return an op whose array implementation has a fault planted."""
    right = OPS[op].implementations["plain"]

    def broken_forward(*arrays, **params):
        y, saved = right.forward(*arrays, **params)
        return (forward(y) if forward else y), saved

    def broken_backward(gy, saved, *, needs=None, **params):
        extras = {"needs": needs} if "needs" in right.takes else {}
        found = right.backward(gy, saved, **params, **extras)
        return gradients(found) if gradients else found

    made = Op(op, {"plain": Implementation(broken_forward, broken_backward)}, OPS[op].cost)
    return made


@pytest.mark.parametrize("name", ["conv2d", "linear", "relu", "max_pool2d", "local_response_norm"])
@pytest.mark.parametrize(
    "fault", [{"forward": lambda y: y * 1.001}, {"gradients": double}], ids=["forward", "gradient"]
)
def test_a_fault_in_the_array_implementation_is_found(name, fault):
    one = next(one for one in layers("alexnet-2012") if one.op.name == name)
    bad = type(one)(**(vars(one) | {"op": faulty(name, **fault)}))
    with pytest.raises(WrongResultError):
        prove(bad)


def test_the_layer_is_proved_at_full_size_by_blocks_of_another_size(monkeypatch):
    """A fault that only shows from the second block of images on, as blocked code has them."""
    one = next(one for one in layers(MINI) if one.op.name == "conv2d")
    right = one.op.implementations["plain"]

    def forward(x, *rest, **params):
        y, saved = right.forward(x, *rest, **params)
        y[4:] = y[:1]
        return y, saved

    monkeypatch.setitem(one.op.implementations, "plain", Implementation(forward, right.backward))
    made = layer_cases([MINI], 8, {"conv2d"})[0].make(Bench())
    shown = row(1, {})
    runner.prove(made, shown, Bench())
    assert shown.timings["plain"].wrong


def test_a_second_implementation_is_held_against_the_array_implementation(monkeypatch):
    one = next(one for one in layers(MINI) if one.op.name == "relu")
    right = one.op.implementations["plain"]

    def leaky(x, **params):
        y, saved = right.forward(x, **params)
        return np.where(y > 0, y, 0.01 * x), saved

    for name, forward in (("same", right.forward), ("leaky", leaky)):
        made = Implementation(forward, right.backward)
        monkeypatch.setitem(one.op.implementations, name, made)
    bench = Bench(implementations=("same", "leaky"))
    case = layer_cases([MINI], 3, {"relu"})[0]
    shown = row(1, {})
    runner.prove(case.make(bench), shown, bench)
    assert {n: t.wrong for n, t in shown.timings.items()} == {
        "plain": False,
        "same": False,
        "leaky": True,
    }
