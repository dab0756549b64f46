"""A run of the benchmark with made-up cases, processes and clocks: what it records, and when."""

import contextlib
from types import SimpleNamespace

import pytest

from minialex.arrays import CPU, Device
from minialex.bench import BenchContext, BenchPlan, measure, runner
from minialex.bench.case import BenchCase, Contender, PreparedCase
from minialex.bench.estimate import SECONDS_PER_PROCESS, SECONDS_PER_ROUND
from minialex.bench.record import Ceilings
from minialex.bench.workload import Workload
from minialex.errors import MinialexError
from tests.bench.test_correctness import TRUTH, Untimed


@pytest.fixture
def now(monkeypatch):
    """Have a made-up machine, and return its time as a list of one number."""
    time = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: time[0])
    monkeypatch.setattr(runner.ceilings, "gemm", lambda device, clock: 1.0)
    monkeypatch.setattr(runner.ceilings, "copy", lambda device, clock: 2.0)
    monkeypatch.setattr(runner.machine, "busy_cores", lambda: 0.5)
    monkeypatch.setattr(runner.machine, "machine", lambda device: {"cpu": "a CPU", "gpu": {}})
    monkeypatch.setattr(runner, "clock_for", lambda device: Untimed())
    return time


@pytest.fixture
def processes(monkeypatch, now):
    """Have three peers, two of which train, and processes that take half a minute each."""
    names = "PyTorch", "PyTorch P2", "JAX"
    peers = [SimpleNamespace(name=name, description=f"as {name} is") for name in names]
    monkeypatch.setattr(runner, "find_peers", lambda *_: (peers, {"CuPy": "it is not installed"}))

    def peak_memory(library, network, batch, device):
        now[0] += 30
        if library == "PyTorch P2":
            raise RuntimeError("out of memory")
        return {"library": library, "network": network, "batch": batch, "peak": len(device)}

    monkeypatch.setattr(runner.subprocess_probe, "peak_memory", peak_memory)
    monkeypatch.setattr(runner.subprocess_probe, "import_times", lambda: [{"what": "a"}])


@pytest.mark.usefixtures("processes")
def test_memory_is_that_of_ours_and_of_the_peers_that_train():
    seen, kept = [], []
    plan = BenchPlan([], memory=[("a", 4), ("b", 8)], imports=True)
    found = measure(
        plan, BenchContext(), lambda *step: seen.append(step), lambda r: kept.append(len(r.memory))
    )
    sizes = {"peak": len("cpu")}, {"reason": "out of memory"}
    assert found.memory == [
        {"library": library, "network": network, "batch": batch} | sizes[library == "PyTorch P2"]
        for network, batch in plan.memory
        for library in ("minialex", "PyTorch", "PyTorch P2")
    ]
    assert found.imports == [{"what": "a"}]
    assert kept == [1, 2, 3, 4, 5, 6]
    assert [(done, total) for done, total, *_ in seen] == [(n, 7) for n in range(7)]
    assert [left for *_, left in seen] == [SECONDS_PER_PROCESS * n for n in range(7, 0, -1)]
    assert [what for *_, what, _ in seen][::6] == ["memory of minialex, a, batch 4", "imports"]
    assert found.unavailable == {"CuPy": "it is not installed"}
    assert found.peers["PyTorch P2"] == "as PyTorch P2 is"
    # no case, no ceilings
    assert found.ceilings == Ceilings()


@pytest.mark.usefixtures("processes")
def test_no_process_is_begun_after_the_time_is_up():
    seen = []
    plan = BenchPlan([], memory=[("a", 4)], imports=True, minutes=1)
    found = measure(plan, BenchContext(), lambda *step: seen.append(step))
    # the third would begin after a minute
    assert [left for *_, left in seen] == [40, 30, 0, 0]
    assert [one["library"] for one in found.memory] == ["minialex", "PyTorch"]
    assert found.settings["not_reached"] == ["memory of PyTorch P2, a, batch 4", "imports"]
    assert found.imports == []


def case(name, now, seconds, prepare=None):
    def make(context):
        now[0] += seconds
        workload = Workload(lambda: None, lambda: [TRUTH])
        return PreparedCase([Contender("plain", "implementation", workload)], lambda: [TRUTH])

    return BenchCase("made-up", name, 0, ("a",), (), prepare or make)


def test_the_time_left_follows_what_each_case_took(now):
    seen = []
    plan = BenchPlan([case("A", now, 3), case("B", now, 5)], repetitions=2, rounds=1)
    found = measure(plan, BenchContext(), lambda *step: seen.append(step[2:]))
    # of two contenders each at first; then B as slow as A; then what both took
    expected = [("a A", 8 * SECONDS_PER_ROUND), ("a B", 9), ("a A", 8), ("a B", 5)]
    assert seen == [(what, pytest.approx(left)) for what, left in expected]
    assert found.ceilings == Ceilings([1.0] * 2, [2.0] * 2, [0.5] * 2)
    assert found.settings["not_reached"] == []


def test_what_was_begun_in_time_is_not_listed_as_not_reached(now):
    cases = [case("A", now, 50), case("B", now, 20), case("C", now, 1)]
    found = measure(BenchPlan(cases, repetitions=2, rounds=1, minutes=1), BenchContext())
    assert found.settings["not_reached"] == ["a C"]
    assert [
        len(row.timings.get("plain", ()) and row.timings["plain"].times) for row in found.rows
    ] == [1, 1, 0]


def test_a_case_that_breaks_the_run_is_kept_all_the_same(now):
    def breaks(context):
        raise KeyboardInterrupt

    kept = []
    plan = BenchPlan([case("A", now, 1), case("B", now, 1, breaks)], repetitions=1, rounds=1)
    with pytest.raises(KeyboardInterrupt):
        measure(plan, BenchContext(), keep=lambda record: kept.append(len(record.rows)))
    assert kept == [2, 2]


def test_nothing_to_measure_is_refused():
    with pytest.raises(MinialexError, match="no case fits"):
        measure(BenchPlan([]), BenchContext())


def test_a_gpu_is_described_again_after_the_run(now, monkeypatch):
    monkeypatch.setattr(runner, "on_device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(runner, "precision", lambda: "float32")
    monkeypatch.setattr(runner.machine, "gpu_state", lambda device: {"clocks.sm": "1 MHz"})
    plan = BenchPlan([case("A", now, 1)], repetitions=1, rounds=1)
    found = measure(plan, BenchContext(Device("cuda")))
    assert found.machine["gpu"] == {"state after": {"clocks.sm": "1 MHz"}}
    assert "state after" not in measure(plan, BenchContext(CPU)).machine["gpu"]


def test_cold_times_are_kept_beside_warm_ones(now):
    clock = Untimed()
    clock.time_cold_call = lambda run: 2.0
    one, row = case("A", now, 0), runner.empty_row(case("A", now, 0))
    for first in (True, False):
        runner.run_case(one, row, BenchContext(), clock, rounds=2, first=first)
    assert row.timings["plain"].times == [[1.0, 1.0]] * 2
    assert row.timings["plain"].cold == [[2.0, 2.0]] * 2


def test_what_fails_or_skips_a_case_is_of_its_kind_and_untimed():
    workload = Workload(lambda: None, lambda: [TRUTH])
    prepared = PreparedCase(
        [Contender("plain", "implementation", workload)],
        lambda: [TRUTH],
        unavailable={"JAX": "it has none", "tiled": "it needs a GPU"},
        failed={"CuPy": "it broke"},
        default="tiled",
        lines={"plain": 40},
    )
    peers = [SimpleNamespace(name=name) for name in ("JAX", "CuPy")]
    row = runner.empty_row(case("A", [0], 0))
    runner.verify(prepared, row, BenchContext(peers=peers))
    assert {n: (t.kind, t.reason, t.failed, t.lines) for n, t in row.timings.items()} == {
        "JAX": ("peer", "it has none", False, None),
        "tiled": ("implementation", "it needs a GPU", False, None),
        "CuPy": ("peer", "it broke", True, None),
        "plain": ("implementation", "", False, 40),
    }
    assert row.timings["plain"].error == 0
    assert row.default == "tiled"


def test_a_plain_implementation_that_is_no_definition_ends_its_case_alone(now):
    def wrong(context):
        raise runner.WrongResultError("off by 2")

    plan = BenchPlan([case("A", now, 1, wrong), case("B", now, 1)], repetitions=2, rounds=1)
    found = measure(plan, BenchContext())
    plain = found.rows[0].timings["plain"]
    assert (plain.kind, plain.reason, plain.failed) == ("implementation", "off by 2", True)
    assert plain.times == []
    assert len(found.rows[1].timings["plain"].times) == 2
