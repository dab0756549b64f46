"""Small real runs. Nothing is asserted about how long anything takes."""

import dataclasses
import os

import pytest
from click.testing import CliRunner

from minialex import emulated
from minialex.arrays import CPU, Device
from minialex.bench import BenchContext, BenchPlan, measure, pinning, read, subprocess_probe, write
from minialex.bench.compare import compare
from minialex.bench.estimate import SECONDS_PER_PROCESS, TimeLeft
from minialex.bench.images import CROPS, image_cases, loader_cases
from minialex.bench.layer_cases import layer_cases
from minialex.bench.networks import network_cases
from minialex.bench.optimizers import OPTIMIZERS, optimizer_cases
from minialex.bench.peers import PEERS, find_peers
from minialex.bench.runner import empty_row, verify
from minialex.bench.selection import KINDS, select_cases
from minialex.bench.tables import table_of
from minialex.cli import main
from minialex.cli.main import cli
from minialex.errors import MinialexError
from minialex.train.settings import Settings
from tests.bench.fake_records import record

MINI = "alexnet-mini"


@pytest.fixture
def hasty(monkeypatch):
    """Ceilings and rounds that take no time."""
    monkeypatch.setattr("minialex.bench.ceilings.CPU_MATRIX_SIDE", 64)
    monkeypatch.setattr("minialex.bench.ceilings.CPU_COPY_BYTES", 1 << 16)
    monkeypatch.setattr("minialex.bench.clock.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("minialex.bench.clock.CPU_ROUND_SECONDS", 0.0)
    monkeypatch.setattr("minialex.bench.machine.busy_cores", lambda: 0.0)


def run(cases, peers=(), **settings):
    return measure(
        BenchPlan(cases, list(peers), repetitions=2, rounds=2, **settings), BenchContext()
    )


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "cases",
    [
        lambda: network_cases([MINI], 2, {"step", "inference"}),
        lambda: image_cases(3),
        lambda: loader_cases(4, (6,)),
        lambda: layer_cases([MINI], 3, {"conv2d", "cross_entropy"})[::4],
    ],
    ids=["networks", "images", "loader", "layers"],
)
def test_every_case_is_verified_and_timed(cases):
    done = run(cases())
    assert len(done.rows) >= 2
    for row in done.rows:
        assert "plain" in row.timings
        assert {t.reason for t in row.timings.values()} == {""}
        assert [len(repetition) for repetition in row.timings["plain"].times] == [2, 2]
    assert len(done.ceilings.gemm) == len(done.ceilings.copy) == len(done.ceilings.busy_cores) == 2


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("asked", "timed"),
    [
        (("default",), [{"auto"}, {"plain"}, {"default"}, {"blocked"}]),
        (
            ("default", "winograd"),
            [{"auto", "winograd"}, {"plain"}, {"default", "winograd"}, {"blocked"}],
        ),
        (
            ("default", "plain"),
            [{"auto", "plain"}, {"plain"}, {"default", "plain"}, {"blocked", "plain"}],
        ),
        (("winograd",), [{"plain", "winograd"}, {"plain"}, {"plain", "winograd", "default"}]),
    ],
)
def test_plain_is_compared_with_and_not_timed_where_the_default_is_asked_for(asked, timed):
    cases = [
        *layer_cases([MINI], 1, {"conv2d"})[:1],
        *layer_cases([MINI], 1, {"cross_entropy"})[:1],
        *network_cases([MINI], 1, {"inference"}),
        *image_cases(1)[:1],
    ][: len(timed)]
    plan = BenchPlan(cases, repetitions=2, rounds=1)
    done = measure(plan, BenchContext(implementations=asked))
    assert [{n for n, t in row.timings.items() if t.timed} for row in done.rows] == timed
    for row in done.rows:
        assert {(t.reason, t.error is None) for t in row.timings.values()} == {("", False)}
        assert "plain" in row.timings
    assert table_of(done, done.rows).cells
    assert compare(done, done).of("slower") == []


def test_rmsprop_is_timed_with_what_train_gives_it():
    timed = OPTIMIZERS["RMSprop"].settings
    assert timed == {f.name: f.default for f in dataclasses.fields(Settings) if f.name in timed}


@pytest.mark.usefixtures("hasty")
def test_optimizers_are_right(monkeypatch):
    monkeypatch.setattr("minialex.bench.optimizers.NETWORK", MINI)
    done = run(optimizer_cases())
    assert [(r.what, r.timings["plain"].reason) for r in done.rows] == [
        ("RMSprop", ""),
        ("SGD", ""),
        ("Adam", ""),
    ]


def test_kernels_are_contenders_where_they_run(monkeypatch):
    monkeypatch.setattr("minialex.bench.optimizers.NETWORK", MINI)
    monkeypatch.setattr("minialex.bench.images.SIZE", 32)
    loaders = [case for case in loader_cases(4, (6,)) if case.labels != (CROPS,)]
    cases = [*optimizer_cases(), *image_cases(3), *loaders]
    bench, asked = BenchContext(), BenchContext(implementations=("kernel",))
    with emulated(), bench.stack:
        found = [verified(case, bench)[1] for case in cases]
    assert len(found) >= 6
    for timings in found:
        assert {"plain", "kernel"} <= timings.keys()
        assert {t.reason for t in timings.values()} == {""}
    with asked.stack:
        for case in cases:
            assert "is a CUDA kernel" in verified(case, asked)[1]["kernel"].reason


@pytest.mark.usefixtures("torch")
def test_pytorch_computes_the_same(monkeypatch):
    monkeypatch.setattr("minialex.bench.optimizers.NETWORK", MINI)
    cases = layer_cases([MINI], 2) + layer_cases(["alexnet-2012"], 1, {"local_response_norm"})
    cases += network_cases([MINI], 2, {"step", "inference"}) + image_cases(2)[:1]
    cases += optimizer_cases()
    # PyTorch's threads wait for each other by spinning: on a busy machine two are slower than one
    with pinning.pinned(1):
        bench = BenchContext(peers=find_peers(["PyTorch", "PyTorch P2"], CPU, 1)[0])
        found = [verified(case, bench) for case in cases]
    reasons = {op: {t.reason for t in timings.values()} for op, timings in found}
    masks = reasons.pop("dropout")
    assert "it draws its own masks: its result cannot be checked" in masks
    assert set.union(*reasons.values()) == {""}
    assert all("PyTorch" in timings for _, timings in found)
    assert {op for op, timings in found if "PyTorch P2" in timings} == {"step", "inference"}


def verified(case, bench):
    row = empty_row(case)
    verify(case.prepare(bench), row, bench)
    return case.op, row.timings


def test_a_peer_that_is_missing_says_why(monkeypatch):
    monkeypatch.setitem(PEERS, "Theano", ("a_library_nobody_has", "", ""))
    found, unavailable = find_peers(["Theano"], CPU, 1)
    assert (found, unavailable) == ([], {"Theano": "a_library_nobody_has is not installed"})


def test_a_peer_that_is_broken_says_how(monkeypatch):
    monkeypatch.setitem(PEERS, "Broken", ("numpy", "minialex.bench.nothing", "Peer"))
    assert "ModuleNotFoundError" in find_peers(["Broken"], CPU, 1)[1]["Broken"]


def test_pytorch_without_the_gpu_says_so(torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no GPU" in find_peers(["PyTorch"], Device("cuda"), 1)[1]["PyTorch"]


@pytest.mark.usefixtures("hasty")
def test_cases_not_reached_in_time_are_listed():
    done = run(layer_cases([MINI], 1, {"relu"})[:2], minutes=0)
    assert done.settings["not_reached"] == [row.full_title for row in done.rows]
    assert all(not row.timings for row in done.rows)


def test_peak_memory_is_that_of_a_new_process():
    found = subprocess_probe.peak_memory("minialex", MINI, 4)
    assert found["peak"] > found["base"] > 1 << 20
    assert found["peak"] < 1 << 30


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="nonsense"):
        subprocess_probe.peak_memory("minialex", "nonsense", 1)


def test_imports_are_timed():
    assert [i["what"] for i in subprocess_probe.import_times()] == [
        "import numpy",
        "import minialex, after it",
    ]


def test_asking_by_name():
    everything = select_cases([MINI], [2, 4], [])
    assert {c.op for c in everything.cases} > {"conv2d", "step", "inference", "optimizer", "loader"}
    assert everything.memory == [(MINI, 2), (MINI, 4)]
    assert everything.imports
    one = select_cases([MINI], [2], ["conv2d"])
    assert {c.op for c in one.cases} == {"conv2d"}
    assert (one.memory, one.imports) == ([], False)
    assert select_cases([MINI], [2], ["conv2d"], quick=True).repetitions == 2


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(MinialexError, match="did you mean 'conv2d'"):
        select_cases([MINI], [2], ["conv3d"])
    with pytest.raises(MinialexError, match="unknown op of alexnet-mini 'nothing'; known") as error:
        select_cases([MINI], [2], ["nothing"])
    assert all(kind in str(error.value) for kind in KINDS)
    # alexnet-mini has none
    with pytest.raises(MinialexError, match="local_response_norm"):
        select_cases([MINI], [2], ["local_response_norm"])


@pytest.mark.usefixtures("hasty")
def test_the_command_ends_in_a_table_a_record_and_a_picture(tmp_path):
    words = (
        f"--op relu --network {MINI} --batch 2 --quick --peer none --device cpu --out {tmp_path}"
    )
    done = CliRunner().invoke(cli, ["bench", *words.split()])
    assert done.exit_code == 0, done.output
    assert f"| {MINI} relu 1 forward |" in done.stdout
    assert f"written: {tmp_path / 'roofline.png'}" in done.stdout.replace("\n", "")
    assert [row.op for row in read(tmp_path / "record.json").rows] == ["relu"] * 10


def test_the_command_compares(tmp_path):
    write(record(1), tmp_path / "old" / "record.json")
    write(record(2), tmp_path / "same.json")
    write(record(2, slowed=[7], factor=1.5), tmp_path / "new.json")
    equal = CliRunner().invoke(
        cli, ["bench", "--compare", str(tmp_path / "old"), str(tmp_path / "same.json")]
    )
    assert equal.exit_code == 0
    assert "slower: nothing" in equal.output
    found = CliRunner().invoke(
        cli, ["bench", "--compare", str(tmp_path / "old"), str(tmp_path / "new.json")]
    )
    assert found.exit_code == 1
    assert "slower: 1" in found.output
    assert "| alexnet conv2d 7 forward | plain | 32 |" in found.output


def test_the_command_counts_and_names_what_it_cannot_compare(tmp_path):
    old, new = record(1, cases=5), record(2, cases=3)
    new.rows[0].timings["blocked"] = new.rows[0].timings["plain"]
    write(old, tmp_path / "old.json")
    write(new, tmp_path / "new.json")
    done = CliRunner().invoke(
        cli, ["bench", "--compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    )
    assert done.exit_code == 0
    shown = done.output.replace("\n", " ")
    assert "3 times compared" in shown
    assert "old.json: 2   alexnet conv2d 3 forward, batch 32   alexnet conv2d 4 forward" in shown
    assert "new.json: 1   alexnet conv2d 0 forward, batch 32: blocked" in shown


def test_records_with_no_partner_at_all_take_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    old, new = record(1, cases=5), record(2, cases=3)
    for row in new.rows:
        row.timings = {"blocked": row.timings["plain"]}
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for one, path in zip((old, new), paths, strict=True):
        write(one, path)
    monkeypatch.setattr("sys.argv", ["minialex", "bench", "--compare", *map(str, paths)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert "no timed case in common" in err


class AskedError(Exception):
    """What was to be measured."""


def planned(monkeypatch, *words):
    """Return the plan that the command makes of `words`."""

    def ask(plan, *_, **__):
        raise AskedError(plan)

    monkeypatch.setattr("minialex.cli.bench.measure", ask)
    done = CliRunner().invoke(cli, ["bench", *words, "--device", "cpu", "--network", MINI])
    assert isinstance(done.exception, AskedError), done.output
    return done.exception.args[0]


def test_what_the_command_measures_is_what_was_asked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = planned(monkeypatch, "--op", "conv2d")
    assert plain.peers == list(PEERS)
    assert {case.batch for case in plain.cases} == {32}
    assert (plain.repetitions, plain.threads, plain.minutes) == (3, None, None)
    words = "--op", "conv2d", "--peer", "JAX", "--peer", "PyTorch", "--batch", "1", "--quick"
    some = planned(monkeypatch, *words, "--threads", "1", "--minutes", "2.5")
    assert some.peers == ["PyTorch", "JAX"]
    assert {case.batch for case in some.cases} == {1}
    assert (some.repetitions, some.threads, some.minutes) == (2, 1, 2.5)
    assert planned(monkeypatch, "--op", "step", "--peer", "none").peers == []
    quick = planned(monkeypatch, "--op", "step", "--quick").peers
    assert quick == ["PyTorch", "ONNX Runtime", "JAX", "CuPy"]
    assert {case.batch for case in planned(monkeypatch, "--quick").cases} == {0, 8}
    # nothing is left of a run that measured nothing
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/below", "locked"])
def test_where_nothing_can_be_written_nothing_is_measured(monkeypatch, tmp_path, out):
    (tmp_path / "file").write_text("mine")
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p.name != "locked" and access(p, mode))
    monkeypatch.setattr("minialex.cli.bench.measure", lambda *_, **__: pytest.fail("measured"))
    done = CliRunner().invoke(cli, ["bench", "--op", "relu", "--out", str(tmp_path / out)])
    assert done.exit_code == 2 or isinstance(done.exception, MinialexError)
    assert "file" in done.output or "choose another" in str(done.exception)


def test_an_implementation_that_cannot_be_timed_is_refused_before(monkeypatch):
    monkeypatch.setattr("minialex.cli.bench.measure", lambda *_, **__: pytest.fail("measured"))
    done = CliRunner().invoke(
        cli, ["bench", "--op", "conv2d", "--implementation", "tiled", "--device", "cpu"]
    )
    assert str(done.exception) == (
        "implementation 'tiled' does not run on cpu: kernels are timed on a GPU, which --device "
        "names"
    )


def interrupted(plan, context, progress, keep):
    """Measure two cases of forty, and be stopped."""
    done = record(1)
    for row in done.rows[2:]:
        row.timings = {}
    for timing in done.rows[1].timings.values():
        timing.times = timing.times[:1]
    keep(done)
    raise KeyboardInterrupt


def test_what_was_measured_until_a_stop_is_kept_and_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("minialex.cli.bench.measure", interrupted)
    monkeypatch.setattr("sys.argv", ["minialex", "bench", "--op=relu", f"--out={tmp_path}/new"])
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err
    assert ended.value.code == 130
    assert f"measured until now: {tmp_path}/new/record.json" in err.replace("\n", "")
    write(record(2), tmp_path / "old.json")
    found = compare(read(tmp_path / "old.json"), read(tmp_path / "new" / "record.json"))
    assert (len(found.changes), len(found.only_old)) == (2, 38)


@pytest.mark.usefixtures("hasty")
def test_the_time_left_is_reported_and_shrinks_to_none():
    seen = []
    plan = BenchPlan(layer_cases([MINI], 1, {"relu"})[:3], repetitions=2, rounds=1, imports=False)
    measure(plan, BenchContext(), progress=lambda *step: seen.append(step))
    assert [(done, total) for done, total, _, _ in seen] == [(n, 6) for n in range(6)]
    assert all(left > 0 for *_, left in seen)


def test_the_time_left_follows_what_cases_took():
    left = TimeLeft([1.0, 2.0, 4.0], repetitions=2, processes=1)
    assert left.seconds(0) == 14 + SECONDS_PER_PROCESS
    # three times as slow as expected, and the others then as well
    left.taken[0] = 3.0
    assert left.seconds(1) == 3 * 6 + 3 * 7 + SECONDS_PER_PROCESS
    left.taken |= {1: 6.0, 2: 5.0}
    assert left.seconds(3) == 14 + SECONDS_PER_PROCESS
    assert left.seconds(6) == SECONDS_PER_PROCESS
    assert left.seconds(7) == 0


def test_no_peer_and_a_peer_at_once_is_refused(monkeypatch):
    monkeypatch.setattr("minialex.cli.bench.measure", None)
    done = CliRunner().invoke(cli, ["bench", "--peer", "none", "--peer", "JAX"])
    assert isinstance(done.exception, MinialexError)
    assert "--peer none" in str(done.exception)


@pytest.mark.usefixtures("hasty")
def test_the_record_so_far_is_kept_after_each_repetition():
    kept = []
    plan = BenchPlan(layer_cases([MINI], 1, {"relu"})[:1], repetitions=3, rounds=1)
    measure(plan, BenchContext(), keep=lambda r: kept.append(len(r.rows[0].timings["plain"].times)))
    assert kept == [1, 2, 3]
