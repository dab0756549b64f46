"""Goals beside PyTorch: which figure counts, and when a goal is met."""

import pytest

from minialex.bench import goals, report
from minialex.bench.record import Timing, write
from tests.bench.fake_records import record, row

MODES = "PyTorch", "PyTorch P2", "PyTorch P3"


def timed(op, network="alexnet", batch=32, **others):
    """Return a row in which ours takes a second, and each peer what is said."""
    ours = Timing("implementation", [[1.0] * 3] * 3)
    names = {name.replace("_", " "): Timing("peer", [[s] * 3] * 3) for name, s in others.items()}
    made = row(1, {"plain": ours, **names}, op, op, batch)
    made.labels = [network]
    return made


def made(*rows, memory=(), imports=()):
    one = record(1, cases=0)
    one.rows, one.peers = list(rows), dict.fromkeys(MODES, "of this test")
    one.memory, one.imports = list(memory), list(imports)
    return one


def found(what, *records, network="alexnet", batch=32):
    return [
        (one.goal, one.measured, one.against, one.met)
        for one in goals.outcomes(list(records))
        if (one.network, one.what, one.batch) == (network, what, batch)
    ]


def test_a_step_is_compared_with_eager_modes_and_with_the_compiled_one():
    one = made(timed("step", PyTorch=2.6, PyTorch_P2=2.0, PyTorch_P3=1.59))
    assert found("step", one) == [
        ("eager >= 2", "2.00", "PyTorch P2", "yes"),
        ("compiled >= 1.6", "1.59", "PyTorch P3", "no"),
    ]
    assert {one.met for one in goals.outcomes([one]) if one.batch != 32} == {"not measured"}


@pytest.mark.parametrize(
    ("network", "what", "goal"),
    [
        ("alexnet", "inference", 1.3),
        ("alexnet-2012", "step", 1.3),
        ("alexnet-2012", "inference", 1.3),
        ("alexnet-article", "step", 1.3),
        ("alexnet-article", "inference", 1.3),
        ("alexnet-mini", "step", 1.0),
        ("alexnet-mini", "inference", 0.9),
    ],
)
def test_the_fastest_of_all_modes_counts(network, what, goal):
    for batch in (1, 32, 128):
        for share, met in ((1.0, "yes"), (0.99, "no")):
            others = {"PyTorch": 9.0, "PyTorch_P2": goal * share, "PyTorch_P3": 8.0}
            one = made(timed(what, network, batch, **others))
            figures = f"every mode >= {goal:g}", f"{goal * share:.2f}", "PyTorch P2", met
            assert found(what, one, network=network, batch=batch) == [figures]


def test_a_goal_is_met_only_where_every_mode_was_timed_but_one_is_enough_to_miss_it():
    for seconds, met in ((1.31, "not in every mode"), (1.29, "no")):
        one = made(timed("inference", PyTorch=seconds))
        assert found("inference", one)[0][1:] == (f"{seconds:.2f}", "PyTorch", met)


def test_of_several_runs_that_counts_in_which_pytorch_was_fastest():
    together = made(timed("inference", PyTorch=1.5, PyTorch_P2=1.6, PyTorch_P3=1.7))
    alone = made(timed("inference", PyTorch=1.2))
    assert found("inference", together)[0][1:] == ("1.50", "PyTorch", "yes")
    for both in ((together, alone), (alone, together)):
        assert found("inference", *both)[0][1:] == ("1.20", "PyTorch", "no")


def test_onnx_runtime_is_shown_and_has_no_goal():
    one = made(timed("inference", PyTorch=3.0, PyTorch_P2=3.0, PyTorch_P3=3.0, ONNX_Runtime=0.5))
    assert found("inference", one)[0][1:] == ("3.00", "PyTorch", "yes")
    table = goals.goal_table(goals.outcomes([one]))
    assert [line[-1] for line in table.cells if line[-1]] == ["0.50"]
    assert table.headings[-1] == "ONNX Runtime/this"


def test_memory_is_compared_with_the_least_of_pytorchs():
    def peaks(ours):
        sizes = {"minialex": ours, "PyTorch": 210, "PyTorch P2": 200, "PyTorch P3": 220}
        return [
            {"library": name, "network": "alexnet", "batch": 32, "base": 1, "peak": n}
            for name, n in sizes.items()
        ]

    what, goal = "peak memory of a step", "<= 0.55"
    assert found(what, made(memory=peaks(110))) == [(goal, "0.55", "PyTorch P2", "yes")]
    assert found(what, made(memory=peaks(112))) == [(goal, "0.56", "PyTorch P2", "no")]
    # a process that failed has no peak
    failed = {"library": "minialex", "network": "alexnet", "batch": 32, "reason": "killed"}
    assert found(what, made(memory=[failed, *peaks(1)[1:]])) == [(goal, "", "", "not measured")]


def test_the_import_is_what_is_added_to_numpys():
    for seconds, met in ((0.05, "yes"), (0.0501, "no")):
        times = {"import numpy": 9.0, "import minialex, after it": seconds}
        one = made(imports=[{"what": what, "seconds": s} for what, s in times.items()])
        (outcome,) = found("import, beyond NumPy's", one, network="any", batch=0)
        assert outcome[3] == met


def test_a_short_line_says_at_which_batches_a_goal_is_missed():
    others = {"PyTorch": 3.0, "PyTorch_P2": 3.0, "PyTorch_P3": 1.5}
    one = made(timed("step", batch=1, **others), timed("step", batch=32, PyTorch=1.9))
    one.imports = [{"what": "import minialex, after it", "seconds": 0.04}]
    cells = goals.short_goal_table(goals.outcomes([one])).cells
    assert cells[:2] == [
        ["alexnet", "step", "eager >= 2", "3.00", "1.90", "", "no: 32; not measured: 128"],
        ["alexnet", "step", "compiled >= 1.6", "1.50", "", "", "no: 1; not measured: 32, 128"],
    ]
    assert cells[2][-1] == "not measured"
    assert cells[-1] == ["any", "import, beyond NumPy's", "<= 50.0 ms", "40.0 ms", "", "", "yes"]
    assert {len(line) for line in cells} == {7}


def test_documents_have_a_table_for_each_cpu_beside_pytorch_or_say_that_there_is_none(tmp_path):
    page = "<!-- bench:goals -->\n<!-- /bench -->\n<!-- bench:goals-short -->\n<!-- /bench -->\n"
    (tmp_path / "README.md").write_text(page)
    assert report.main([], tmp_path) == 0
    assert (tmp_path / "README.md").read_text().count("\nNot measured.\n") == 2
    gpu, alone, ours = (made(timed("step", PyTorch=2.0)) for _ in range(3))
    gpu.device, alone.peers, ours.machine["cpu"] = "cuda:0", {}, "another CPU"
    for name, one in (("gpu", gpu), ("alone", alone), ("ours", ours)):
        write(one, tmp_path / report.RESULTS / name / "record.json")
    assert report.main(["--check"], tmp_path) == 1
    assert report.main([], tmp_path) == 0
    text = (tmp_path / "README.md").read_text()
    assert text.count("another CPU, 2 threads:") == 2
    assert "a made-up CPU" not in text
    assert "| alexnet | step | 32 | eager >= 2 | 2.00 | PyTorch | not in every mode |  |" in text
    assert report.main(["--check"], tmp_path) == 0
    assert "variables" not in text
    ours.threads["variables"] = ["OPENBLAS_CORETYPE"]
    write(ours, tmp_path / report.RESULTS / "ours" / "record.json")
    report.main([], tmp_path)
    assert "with OPENBLAS_CORETYPE set" in (tmp_path / "README.md").read_text()
