"""``minialex bench``: what it says on its way and at its end, and what its exit status says."""

import io

import pytest
from rich.console import Console

from minialex.bench.record import Ceilings, Timing
from minialex.cli import bench as command
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from tests.bench.fake_records import record


@pytest.fixture
def benched(minialex, monkeypatch, tmp_path):
    """Return a function that runs the command, which measures a record that is given."""

    def run(measured):
        def measure(plan, context, report, keep):
            report(0, 40, "alexnet conv2d 1, batch 32", 3723.0)
            report(39, 40, "the whole step", 0.4)
            return measured

        monkeypatch.setattr(command, "measure", measure)
        monkeypatch.setattr(command, "draw", lambda record, out: [out / "picture.png"])
        out = tmp_path / f"bench-{len(list(tmp_path.iterdir()))}"
        answer = minialex("bench", "--op", "relu", "--device", "cpu", "--out", out)
        lines = answer.out.splitlines()
        assert lines[-2:] == [f"written: {out / 'record.json'}", f"written: {out / 'picture.png'}"]
        # what follows the tables
        return answer.status, answer.err.splitlines(), [line for line in lines if line[:1] != "|"]

    return run


def measured(busy=(0.0,), not_reached=()):
    one = record(1, cases=2)
    one.ceilings = Ceilings([1e11, 3e12, 2e12], [1e10, 5e10, 4e10], list(busy))
    one.settings["not_reached"] = list(not_reached)
    return one


def test_a_pipe_gets_lines_of_how_far_it_is_and_what_the_machine_can_do(benched):
    status, err, out = benched(measured())
    assert status == 0
    assert err == [
        "[1/40] alexnet conv2d 1, batch 32; about 1:02:03 left",
        "[40/40] the whole step; about 0:00 left",
    ]
    said = [line for line in out if line]
    # the median of each repetition's rate
    assert said[0] == (
        "This machine: 2,000.0 GFLOP/s in a large matrix product, 40.0 GB/s in a large copy, "
        "2 threads."
    )
    assert said[1].startswith("NAME/this: NAME's time divided by this line's")
    assert not [line for line in said if "not reliable" in line or line.startswith("not ")]


@pytest.mark.parametrize(("busy", "warned"), [((0.15, 0.1), False), ((0.1, 0.16, 0.0), True)])
def test_a_machine_that_others_use_is_said(benched, busy, warned):
    _, _, out = benched(measured(busy))
    assert ("Other programs kept 0.2 cores busy meanwhile: these times" in " ".join(out)) == warned


def test_what_was_not_reached_or_gave_wrong_results_is_said_and_the_latter_fails(benched):
    one = measured(not_reached=["the loader"])
    assert benched(one)[0] == 0
    one.rows[1].timings["blocked"] = Timing("implementation", reason="it is wrong", failed=True)
    status, _, out = benched(one)
    assert status == 1
    assert "not reached in time: the loader" in out
    assert "not timed: blocked in alexnet conv2d 1 forward: it is wrong" in out


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    terminal = Console(
        file=io.StringIO(), width=50, height=24, force_terminal=True, color_system=None
    )
    monkeypatch.setattr(command, "messages", terminal)
    with command._progress() as show:
        show(1, 40, "alexnet conv2d 1, " * 9, 61.0)
    shown = terminal.file.getvalue()
    assert " 1/40 1:01 left: alexnet conv2d 1" in shown
    # on one line
    assert max(map(len, shown.replace("\r", "\n").splitlines())) <= 50 + len("\x1b[?25l\x1b[2K")


@pytest.mark.parametrize(
    ("words", "networks", "batches"),
    [
        ((), ["alexnet"], [32]),
        (("--quick",), ["alexnet"], [8]),
        (("--network", "alexnet-mini", "--batch", "3", "--quick"), ["alexnet-mini"], [3]),
        (("--network", "alexnet-mini", "--network", "all"), list(VARIANTS), [32]),
    ],
)
def test_what_is_measured_where_nothing_is_named(minialex, monkeypatch, words, networks, batches):
    asked = []

    def select(*what, **_):
        asked.append(what)
        raise MinialexError("enough")

    monkeypatch.setattr(command, "select_cases", select)
    answer = minialex("bench", "--op", "relu", "--device", "cpu", *words)
    assert (answer.status, answer.err) == (2, "minialex: error: enough\n")
    assert asked == [(networks, batches, ["relu"])]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), None),
        (("--implementation", "blocked"), ("blocked",)),
        (("--implementation", "default"), ("default",)),
    ],
)
def test_all_implementations_are_measured_or_those_that_are_named(
    minialex, monkeypatch, words, names
):
    contexts = []

    def measure(plan, context, *_, **__):
        contexts.append(context)
        raise MinialexError("enough")

    monkeypatch.setattr(command, "measure", measure)
    mini = "--network", "alexnet-mini"
    answer = minialex("bench", "--op", "relu", "--device", "cpu", *mini, *words)
    assert (answer.status, answer.err) == (2, "minialex: error: enough\n")
    assert [context.implementations for context in contexts] == [names]


@pytest.mark.parametrize("op", ["step", "optimizer", "images", "conv2d"])
@pytest.mark.parametrize("name", ["default", "plain", "blocked", "winograd"])
def test_implementations_that_run_here_may_be_asked_for(minialex, monkeypatch, tmp_path, op, name):
    asked = []

    def measure(plan, context, report, keep):
        asked.append(context.implementations)
        return measured()

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "draw", lambda record, out: [])
    words = ("--op", op, "--implementation", name, "--device", "cpu", "--peer", "none")
    assert minialex("bench", *words, "--out", tmp_path / "out").status == 0
    assert asked == [(name,)]


@pytest.mark.parametrize("op", ["step", "optimizer", "conv2d"])
def test_kernels_are_not_timed_on_a_cpu(minialex, tmp_path, op):
    words = ("--op", op, "--implementation", "tiled", "--device", "cpu")
    answer = minialex("bench", *words, "--out", tmp_path / "out")
    assert answer.status == 2
    assert "'tiled' does not run on cpu: kernels are timed on a GPU" in answer.err
