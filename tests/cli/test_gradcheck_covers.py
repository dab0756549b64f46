"""``minialex gradcheck`` covers what the suite does: a fault of each kind has exit status 1."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS, ROUTINES, Implementation, graph
from minialex.check import CASES, running
from minialex.cpu.sharing import cache_blocks
from tests.check import zoo
from tests.check.test_running import ENDS, FLOODS
from tests.cli.conftest import failures


@pytest.fixture
def planted(monkeypatch):
    """A function that puts another backward in place of one of an op's."""

    def plant(op, backward, name="plain"):
        before = OPS[op].implementations[name]
        spoilt = Implementation(before.forward, backward, own_saved=before.own_saved)
        with zoo.off_the_lists(op) as listed:
            there = {**listed.implementations, name: spoilt}
            made = type(listed)(op, there, listed.cost)
        monkeypatch.setitem(OPS, op, made)

    return plant


def test_a_breach_of_the_contract(minialex, planted):
    def back(gy, saved):
        gy *= saved[1]
        return (gy.copy(),)

    planted("exp", back)
    answer = minialex("gradcheck", "--op", "exp", "--dtype", "float64", "--only", "contract")
    assert answer.status == 1
    assert "backward wrote to gy, which is not its own" in answer.out
    assert failures(answer) == {"contract"}


def test_a_fault_at_odd_addresses_alone(minialex, planted):
    right = OPS["relu"].implementations["blocked"].backward

    def back(gy, saved):
        (gx,) = right(gy, saved)
        return (gx if gy.ctypes.data % 16 == 0 else 1.01 * gx,)

    planted("relu", back, "blocked")
    answer = minialex("gradcheck", "--op", "relu", "--dtype", "float64")
    assert answer.status == 1
    assert failures(answer) == {"layouts"}
    assert "at odd addresses" in answer.out


def test_a_fault_in_the_second_block_alone(minialex, planted):
    right = OPS["relu"].implementations["blocked"].backward

    def back(gy, saved):
        (gx,) = right(gy, saved)
        for block in cache_blocks(np, slice(0, gx.size), 8, 1 << 20)[1:]:
            gx.reshape(-1)[block] *= 1.01
        return (gx,)

    planted("relu", back, "blocked")
    answer = minialex("gradcheck", "--op", "relu", "--dtype", "float64")
    assert answer.status == 1
    assert failures(answer) == {"sharing"}


def test_a_kernel_whose_bits_depend_on_the_order_of_threads(minialex):
    # a sum by atomics, after one write for each slice
    store = "slice.store(grads, gx);"
    new = f"{store} if (slice.count > 0) atomicAdd(gx, T(1) / T(slice.first + 3));"
    with cuda.edited("relu.cu", store, new):
        what = "--op", "relu", "--implementation", "kernel", "--dtype", "float32"
        answer = minialex("gradcheck", "--emulate", *what, "--only", "orders")
    assert answer.status == 1
    assert failures(answer) == {"orders"}


def test_a_routine_with_a_wrong_constant(minialex, monkeypatch):
    before = ROUTINES["adam"]

    def wrong(p, g, m, v, *, eps, **numbers):
        before.implementations["plain"](p, g, m, v, eps=1.001 * eps, **numbers)

    monkeypatch.setitem(before.implementations, "plain", wrong)
    answer = minialex("gradcheck", "--op", "adam", "--op", "sgd", "--dtype", "float64")
    assert answer.status == 1
    assert "FAIL adam plain float64" in answer.out
    assert "FAIL sgd" not in answer.out


def test_a_deferred_gradient_that_is_wrong(minialex, planted):
    right = OPS["linear"].implementations["blocked"].backward

    def back(gy, saved, *, needs=(True,) * 3, may_defer=(False,) * 3):
        gx, gw, gb = right(gy, saved, needs=needs, may_defer=may_defer)
        if may_defer[1]:
            first = gw.compute_rows
            gw = replace(gw, compute_rows=lambda rows, out: first(slice(len(out)), out))
        return gx, gw, gb

    planted("linear", back, "blocked")
    what = "--op", "linear", "--implementation", "blocked", "--dtype", "float64"
    answer = minialex("gradcheck", *what)
    assert answer.status == 1
    assert failures(answer) == {"deferred"}


def test_an_engine_that_overwrites_in_place_of_adding(minialex, monkeypatch):
    monkeypatch.setattr(graph, "accumulate", lambda leaf, g: setattr(leaf, "grad", g))
    answer = minialex("gradcheck", "--op", "engine")
    assert answer.status == 1
    told = "FAIL engine autograd float64 on cpu, engine, case 'a second backward adds'"
    assert told in answer.out


def test_what_a_case_left_in_memory_is_never_right_by_chance(minialex, planted):
    planted("exp", lambda gy, saved: (np.empty_like(gy),))
    answer = minialex("gradcheck", "--op", "exp", "--dtype", "float32", "--only", "values")
    assert answer.status == 1
    assert "got nan" in answer.out


# What could not be run ----------------------------------------------------------------------------


def test_a_kernel_that_does_not_compile_and_the_pairs_after_it(minialex):
    with cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(m, begin_vectors(gy"):
        what = "--op", "relu", "--op", "sgd", "--dtype", "float32"
        answer = minialex("gradcheck", "--emulate", *what)
    assert answer.status == 2
    kernel, sgd = (
        next(line.split() for line in answer.out.splitlines() if line.split()[:2] == [op, "kernel"])
        for op in ("relu", "sgd")
    )
    assert "not run" in " ".join(kernel)
    assert "PASS" in sgd
    last = answer.out.split("could not be run:\n")[1]
    assert last.startswith("relu kernel float32 on cpu, values, case '1' and 64 more: ")
    assert "does not compile" in last
    assert "error: " in last


def test_a_failure_counts_before_what_could_not_be_run(minialex, planted):
    planted("exp", lambda gy, saved: (0 * gy,))
    with cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(m, begin_vectors(gy"):
        what = "--op", "relu", "--op", "exp", "--dtype", "float32", "--only", "values"
        answer = minialex("gradcheck", "--emulate", *what)
    assert answer.status == 1
    assert "could not be run:" in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--op", "relu", "--only", "engine"], "nothing to check: what was chosen has no such"),
        (["--op", "linear", "--only", "deferred", "--implementation", "plain"], "nothing to check"),
        (["--op", "linear", "--only", "orders"], "the emulator's: add --emulate"),
        (["--only", "contracts"], "'contracts' is not one of"),
        (["--only", "values", "--full-size"], "--only is not used with --full-size"),
        (["--op", "sgdd"], "unknown op 'sgdd': did you mean 'sgd'?"),
        (["--op", "sgd", "--full-size"], "unknown op 'sgd'"),
        (["--op", "sgd", "--implementation", "kernel"], "kernel: CUDA kernels run on a GPU"),
    ],
)
def test_what_is_refused(minialex, words, said):
    answer = minialex("gradcheck", *words)
    assert answer.status == 2
    assert said in answer.err


def test_a_kernel_that_ends_its_process_is_named(minialex, monkeypatch):
    monkeypatch.setattr(running, "ENDS_WITHIN", 60.0)
    what = "--op", "relu", "--dtype", "float32", "--only", "values"
    with cuda.edited("relu.cu", *FLOODS):
        answer = minialex("gradcheck", "--emulate=fast", *what, "--json")
    assert answer.status == 1
    records = [json.loads(line) for line in answer.out.splitlines()[1:]]
    died = [r for r in records if any(how in str(r.get("detail")) for how in ENDS)]
    assert [(r["op"], r["forward"], r["verdict"]) for r in died] == [("relu", "kernel", "FAIL")]
    # all that are no kernels are run
    passed = [r for r in records if r["forward"] != "kernel"]
    assert len(passed) == 2 * len(CASES["relu"])


def test_a_gpu_that_is_lost(minialex, monkeypatch):
    """The case that took it fails; the other pairs have processes of their own."""
    answers = iter(["", "", ""])
    lost = "cudaErrorIllegalAddress"
    monkeypatch.setattr(running, "lost_context", lambda: next(answers, lost))
    answer = minialex("gradcheck", "--op", "relu", "--dtype", "float32", "--only", "values")
    assert answer.status == 1
    third = CASES["relu"][2].name
    assert f"FAIL relu plain float32 on cpu, case {third!r}" in answer.out
    assert f"corrupted the CUDA context ({lost})" in answer.out
    assert "relu blocked: 13 PASS" in answer.out
    assert "could not be run:\nrelu plain float32" in answer.out
