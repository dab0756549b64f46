"""What is asked besides right numbers: each kind of check notices what it is for."""

import numpy as np
import pytest

from minialex import arrays, emulated
from minialex.autograd import OPS, Cost, DeferredGradient, Implementation
from minialex.check import CASES, Pair, Verdict, kinds, suite
from minialex.check.case import Case
from minialex.check.cases import deferred
from minialex.check.kinds import Kind
from minialex.cpu.sharing import cache_blocks, image_blocks
from tests.check import zoo

FLOAT64 = np.dtype(np.float64)


def pair_of(forward, backward, name="blocked"):
    one = Implementation(forward, backward)
    with zoo.off_the_lists("negative"):
        op = suite.Op("negative", {"plain": one, name: one}, lambda shapes: Cost(1, 1))
    return Pair(op, name, name, FLOAT64)


def numbers(*shape):
    return Case("numbers", lambda rng: (rng.standard_normal(shape),), linear=(0,))


def verdicts(row):
    return {finding.what: finding.verdict for finding in row.findings}


def failed(row):
    return {what for what, verdict in verdicts(row).items() if verdict is Verdict.FAIL}


def test_right_implementations_pass_in_every_kind():
    pair = pair_of(lambda x: (-x, ()), lambda gy, saved: (-gy,))
    for kind in Kind.VALUES, Kind.CONTRACT, Kind.LAYOUTS, Kind.SHARING:
        row = kinds.CHECKS[kind](pair, numbers(7))
        assert row.verdict is Verdict.PASS, str(row)
        assert row.kind == kind
        assert row.compared > 0


def test_a_breach_of_the_contract():
    def forward(x):
        x *= -1
        return x.copy(), ()

    row = kinds.contract(pair_of(forward, lambda gy, saved: (-gy,)), numbers(7))
    (finding,) = row.findings
    assert finding.verdict is Verdict.FAIL
    assert any("wrote to input 0, which is not its own" in line for line in finding.detail)


def test_a_fault_where_arrays_have_gaps():
    def back(gy, saved):
        # of an array with gaps, a copy: that is written to instead
        gx = np.empty_like(gy)
        gx.reshape(-1)[...] = -gy.ravel()
        return (gx,)

    pair = pair_of(lambda x: (-x, ()), back)
    assert suite.check(pair, numbers(3, 4)).verdict is Verdict.PASS
    row = kinds.layouts(pair, numbers(3, 4))
    assert failed(row) >= {"gradient of input 0, scattered in memory"}
    assert not any("odd addresses" in what for what in failed(row))


def test_a_fault_at_odd_addresses_alone():
    def back(gy, saved):
        return (-gy if gy.ctypes.data % 16 == 0 else -1.01 * gy,)

    pair = pair_of(lambda x: (-x, ()), back)
    assert suite.check(pair, numbers(8)).verdict is Verdict.PASS
    assert failed(kinds.layouts(pair, numbers(8))) == {"gradient of input 0, at odd addresses"}


def blockwise(spoil):
    """Return a backward that works in blocks, the second and later of which are spoilt."""

    def back(gy, saved):
        gx = np.empty_like(gy)
        for worker in image_blocks(gy, 1 << 20):
            for number, block in enumerate(worker):
                gx[block] = -gy[block] * (spoil if number else 1)
        return (gx,)

    return back


def test_a_fault_in_the_second_block_alone():
    pair = pair_of(lambda x: (-x, ()), blockwise(1.01))
    assert suite.check(pair, numbers(7, 3)).verdict is Verdict.PASS
    row = kinds.sharing(pair, numbers(7, 3))
    assert failed(row) == {
        "gradient of input 0, cut for 1 x 2 blocks",
        "gradient of input 0, cut for 3 x 2 blocks",
    }
    right = pair_of(lambda x: (-x, ()), blockwise(1))
    assert kinds.sharing(right, numbers(7, 3)).verdict is Verdict.PASS


def test_work_is_cut_as_it_was_before_once_the_check_is_over():
    kinds.sharing(pair_of(lambda x: (-x, ()), blockwise(1)), numbers(7))
    assert cache_blocks(np, slice(0, 7), 8, 1 << 20) == [slice(0, 7)]


def test_bits_that_depend_on_the_order_of_threads(monkeypatch):
    def results():
        seed = kinds.emulation().seed
        return [np.ones(3) if seed is None else np.full(3, 1 + seed * spoil)]

    with emulated():
        spoil = 0.0
        assert kinds.same_in_all_orders(results).verdict is Verdict.PASS
        spoil = 1e-9
        found = kinds.same_in_all_orders(results)
    assert found.verdict is Verdict.FAIL
    assert found.detail == ("order 1 has other bits than the natural one",)


def test_kernels_are_run_in_other_orders_in_the_mode_that_is_on(monkeypatch):
    seen = []
    pair = Pair(OPS["relu"], "kernel", "kernel", np.dtype("float32"))
    run = Pair.run

    def noting(self, *args):
        seen.append((kinds.emulation().mode, kinds.emulation().seed))
        return run(self, *args)

    monkeypatch.setattr(Pair, "run", noting)
    with emulated("checked"):
        assert kinds.orders(pair, CASES["relu"][1]).verdict is Verdict.PASS
    assert seen == [("checked", seed) for seed in (None, *kinds.SEEDS)]


def deferring(spoil, row_block=2):
    """Return the check of a product that defers the gradient of its weights, spoilt."""

    def forward(x, w, b=None):
        return x @ w.T, (x, w)

    def back(gy, saved, *, may_defer=(False, False, False)):
        x, w = saved
        gw = gy.T @ x
        kept = gw.copy() if spoil != "late" else None

        def compute_rows(rows, out):
            out[...] = (gy.T @ x if kept is None else kept)[rows]
            if spoil == "rows" and rows.start:
                out[0] += 1e-9
            if spoil == "values":
                out *= 1.001

        later = DeferredGradient(gw.shape, gw.dtype, compute_rows, row_block)
        defers = may_defer[1] and spoil != "never"
        return gy @ w, later if defers else gw, None

    one = Implementation(forward, back)
    with zoo.off_the_lists("linear") as listed:
        op = suite.Op("linear", {"plain": one}, listed.cost)
    (case,) = (c for c in deferred.CASES["linear"] if "no bias" in c.name)
    (finding,) = kinds.deferred(Pair(op, "plain", "plain", FLOAT64), case).findings
    return finding


def test_a_deferred_gradient_is_right_whole_and_in_rows():
    assert deferring("no").verdict is Verdict.PASS
    assert deferring("values").verdict is Verdict.FAIL
    assert deferring("rows").detail == ("2 rows at a time have other bits",)
    # computed from what may have changed since
    assert deferring("late").verdict is Verdict.FAIL
    assert deferring("never").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("op", sorted(OPS))
def test_what_defers_has_cases_on_which_it_does(op):
    for name, one in OPS[op].implementations.items():
        if "may_defer" in one.takes:
            pair = Pair(OPS[op], name, name, FLOAT64)
            cases = kinds.cases_of(Kind.DEFERRED, pair)
            assert cases
            for case in cases:
                row = kinds.deferred(pair, case)
                assert row.verdict is Verdict.PASS, str(row)


def test_what_is_asked_of_whom():
    def asked(name, forward, backward):
        pair = Pair(OPS[name], forward, backward, FLOAT64)
        return {str(kind) for kind in Kind if kinds.cases_of(kind, pair)}

    always = {"values", "contract", "layouts"}
    assert asked("relu", "plain", "plain") == always
    assert asked("relu", "blocked", "blocked") == {*always, "sharing"}
    assert asked("linear", "blocked", "blocked") == {*always, "sharing", "deferred"}
    assert asked("linear", "plain", "blocked") == {"values"}
    assert asked("relu", "kernel", "kernel") == always
    with emulated():
        assert asked("relu", "kernel", "kernel") == {*always, "orders"}
        assert asked("relu", "blocked", "blocked") == {*always, "sharing"}
        assert Pair(OPS["relu"], "kernel", "kernel", FLOAT64).launches_kernels()
    assert not Pair(OPS["relu"], "blocked", "blocked", FLOAT64, arrays.CPU).launches_kernels()


# bfloat16 -----------------------------------------------------------------------------------------


def exponential(rounds="once"):
    """Return an op that takes bfloat16 arrays itself, and rounds as it says."""

    def exp(x, *, twice):
        half = np.exp(x.astype(np.float32) / 2)
        return (half.astype(x.dtype).astype(np.float32) if twice else half) * half

    def forward(x):
        y = exp(x, twice=rounds == "twice")
        return y if rounds == "never" else y.astype(x.dtype), (x,)

    def backward(gy, saved):
        (x,) = saved
        g = gy.astype(np.float32) * exp(x, twice=rounds == "twice in backward")
        return (g.astype(x.dtype),)

    one = Implementation(forward, backward, dtypes=("float32", "bfloat16"))
    with zoo.off_the_lists("exp"):
        op = suite.Op("exp", {"plain": one}, lambda shapes: Cost(2, 1))
    return Pair(op, "plain", "plain", np.dtype(np.float32))


@pytest.mark.parametrize(
    ("rounds", "where"),
    [
        ("once", set()),
        ("twice", {"output"}),
        ("never", {"output"}),
        ("twice in backward", {"gradient"}),
    ],
)
def test_bfloat16_arrays_are_rounded_once(rounds, where):
    row = kinds.bfloat16(exponential(rounds), numbers(50))
    assert {what.split()[0] for what in failed(row)} == where
    assert len(row.findings) == 2


def test_what_takes_bfloat16_arrays_is_asked_about_them():
    pair = exponential()
    assert {str(kind) for kind in Kind if kinds._concerns(kind, pair)} == {
        *("values", "contract", "layouts", "bfloat16"),
    }
