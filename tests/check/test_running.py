"""Checks run one after another, whatever becomes of one of them."""

import os
import signal
from dataclasses import replace

import pytest

from minialex import cuda, emulated
from minialex.check import CASES, Verdict, running
from minialex.check.check_run import CheckRun
from minialex.check.running import NotRun, run_checks
from minialex.check.selection import Selection
from minialex.errors import MinialexError

RELU = Selection(ops=("relu",), dtypes=("float32",), only=("values",))
KERNEL = replace(RELU, implementations=("kernel",))
COUNT = len(CASES["relu"])
FLOODS = (
    "slice.store(grads, gx);",
    "for (int k = -9999; k < 9999; ++k) gx[slice.first + k] = T(1e30); slice.store(grads, gx);",
)
"""An edit of relu's backward, which then writes over all that lies around its array."""
ENDS = "its process was killed by SIG", "did not end within 60 s: "
"""What is said of it: what was written over decides, and rarely it hangs."""


def rows_of(selection):
    return list(run_checks(selection, selection.check_runs()))


@pytest.fixture
def third(monkeypatch):
    """A function that has the third check raise."""

    def use(error):
        runs = []
        run = CheckRun.run

        def raising(self):
            runs.append(self)
            if len(runs) == 3:
                raise error
            return run(self)

        monkeypatch.setattr(CheckRun, "run", raising)

    return use


def test_all_checks_in_their_order():
    rows = rows_of(RELU)
    assert [(row.pair.name, row.case) for row in rows] == [
        (name, case.name) for name in ("plain", "blocked") for case in CASES["relu"]
    ]


def test_what_cannot_be_run_ends_its_pair_and_no_other(third):
    third(MinialexError("relu.cu does not compile"))
    *before, missing = rows_of(RELU)[:3]
    assert [row.verdict for row in before] == [Verdict.PASS] * 2
    assert isinstance(missing, NotRun)
    assert len(missing.checks) == COUNT - 2
    assert str(missing) == (
        f"relu plain float32 on cpu, values, case {CASES['relu'][2].name!r} and {COUNT - 3} more: "
        "relu.cu does not compile"
    )
    assert missing.record() == {
        "op": "relu",
        "forward": "plain",
        "backward": "plain",
        "dtype": "float32",
        "device": "cpu",
        "kind": "values",
        "case": CASES["relu"][2].name,
        "not_run": COUNT - 2,
        "reason": "relu.cu does not compile",
    }


def test_the_pairs_after_it_are_run(third):
    third(MinialexError("no"))
    rows = rows_of(RELU)
    assert [row.pair.name for row in rows[3:]] == ["blocked"] * COUNT


def test_for_want_of_memory_one_check_is_left_out(third):
    third(MemoryError())
    rows = rows_of(RELU)
    assert len(rows) == 2 * COUNT
    assert [str(row) for row in rows if isinstance(row, NotRun)] == [
        f"relu plain float32 on cpu, values, case {CASES['relu'][2].name!r}: not enough memory"
    ]


def test_a_kernel_that_does_not_compile_could_not_be_run():
    with (
        cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(m, begin_vectors(gy"),
        emulated("checked"),
    ):
        (missing,) = rows_of(KERNEL)
    assert isinstance(missing, NotRun)
    assert "does not compile" in missing.reason
    assert len(missing.checks) == COUNT


def test_the_gpu_that_a_check_has_lost(monkeypatch):
    """The check fails; what is left of its pair is not run, and others have their own processes."""
    answers = iter(["", "", "", "cudaErrorIllegalAddress"])
    monkeypatch.setattr(running, "lost_context", lambda: next(answers, "cudaErrorIllegalAddress"))
    sent = []
    monkeypatch.setattr(running, "_elsewhere", lambda _, checks: sent.append(checks) or iter(()))
    rows = rows_of(RELU)
    assert [type(row) for row in rows[2:]] == [type(rows[0]), NotRun]
    assert rows[2].verdict is Verdict.FAIL
    assert "corrupted the CUDA context (cudaErrorIllegalAddress)" in str(rows[2])
    assert f"case {CASES['relu'][2].name!r} corrupted the CUDA context" in rows[3].reason
    assert len(rows[3].checks) == COUNT - 3
    assert [{check.pair.name for check in checks} for checks in sent] == [{"blocked"}]


# In a process of their own ------------------------------------------------------------------------


def test_kernels_that_nothing_watches_have_a_process_of_their_own(monkeypatch):
    sent = []
    elsewhere = running._elsewhere

    def noting(selection, checks):
        sent.append(checks[0].pair.name)
        return elsewhere(selection, checks)

    monkeypatch.setattr(running, "_elsewhere", noting)
    with emulated("fast"):
        rows = rows_of(RELU)
        here = [check.run() for check in RELU.check_runs()]
    assert sent == ["kernel"]
    assert [row.record() for row in rows] == [row.record() for row in here]
    with emulated("checked"):
        run_checks(KERNEL, KERNEL.check_runs()[:1])
    assert sent == ["kernel"]


def test_a_process_that_a_kernel_ends_is_named(monkeypatch):
    monkeypatch.setattr(running, "ENDS_WITHIN", 60.0)
    with cuda.edited("relu.cu", *FLOODS), emulated("fast"):
        rows = rows_of(KERNEL)
    died = [row for row in rows if any(how in str(row) for how in ENDS)]
    (guilty,) = died
    assert guilty.verdict is Verdict.FAIL
    assert str(guilty).startswith("FAIL relu kernel float32 on cpu, case ")
    assert rows.index(guilty) == len(rows) - 2
    assert len(rows) - 1 + len(rows[-1].checks) == COUNT


def test_what_is_said_of_a_process_that_died():
    with emulated("fast"):
        checks = tuple(KERNEL.check_runs())
    failed, missing = running._after_death(-signal.SIGSEGV, checks[2:])
    assert failed.case == checks[2].case.name
    assert failed.worst.detail == (
        "its process was killed by SIGSEGV: a kernel wrote outside its arrays; --emulate shows "
        "where",
    )
    assert missing.reason == f"the process was killed by SIGSEGV in case {failed.case!r}"
    for status, how in ((-signal.SIGKILL, "was killed by SIGKILL"), (1, "exited 1")):
        (missing,) = running._after_death(status, checks)
        assert isinstance(missing, NotRun)
        assert missing.reason == f"its process {how}, perhaps for want of memory"


def test_a_kernel_that_does_not_end_is_named(monkeypatch):
    monkeypatch.setattr(running, "ENDS_WITHIN", 5.0)
    loops = "for (volatile int k = 1; k;) {} slice.store(grads, gx);"
    with cuda.edited("relu.cu", "slice.store(grads, gx);", loops), emulated("fast"):
        failed, missing = rows_of(KERNEL)
    assert failed.verdict is Verdict.FAIL
    assert str(failed).startswith("FAIL relu kernel float32 on cpu, case '1'")
    assert "did not end within 5 s: a kernel loops for ever, or wrote outside" in str(failed)
    assert missing.reason == "the process did not end in case '1'"
    assert len(missing.checks) == COUNT - 1


def dying(connection, *_):
    """Stand for a process that a signal ends once all its checks have passed."""
    with emulated("fast"):
        for check in KERNEL.check_runs():
            connection.send(check.run().findings)
    os.kill(os.getpid(), signal.SIGABRT)


def test_a_process_that_dies_once_all_is_done_fails_the_last_check(monkeypatch):
    monkeypatch.setattr(running, "run_and_send", dying)
    with emulated("fast"):
        rows = rows_of(KERNEL)
    assert [row.verdict for row in rows] == [Verdict.PASS] * (COUNT - 1) + [Verdict.FAIL]
    assert "killed by SIGABRT" in str(rows[-1])


def test_what_the_process_could_not_run_is_told():
    with (
        cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(m, begin_vectors(gy"),
        emulated("fast"),
    ):
        (missing,) = rows_of(KERNEL)
    assert "does not compile" in missing.reason
    assert len(missing.checks) == COUNT
