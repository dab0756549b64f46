import pytest

from minialex.bench import report
from minialex.bench.ladder import NOT_MEASURED, ladder, ladder_table
from minialex.bench.record import Timing, write
from tests.bench.fake_records import record, row

PASSES = "forward", "data gradient", "weight gradient"


def timing(seconds, lines=None):
    return Timing("implementation", [[seconds] * 3] * 3, lines=lines)


def layer(number, what, plain, blocked, per_step=1):
    timings = {"plain": timing(plain, 40), "blocked": timing(blocked, 200)}
    one = row(number, timings, what=what)
    one.per_step, one.default = per_step, "blocked"
    return one


@pytest.fixture
def measured():
    one = record(cases=0)
    one.rows = [layer(n, what, 0.4, 0.1) for n in (1, 2) for what in PASSES]
    # no step needs the gradient of the images
    one.rows[1].per_step = 0
    return one


def test_the_layers_of_a_step_are_added_up_forward_and_backward(measured):
    assert ladder_table(measured).cells == [
        ["alexnet conv2d, 2 layers, batch 32", "plain", "40", "2.00 s", "1.00"],
        ["alexnet conv2d, 2 layers, batch 32", "blocked (default)", "200", "500 ms", "4.00"],
    ]


def test_a_layer_that_a_step_has_twice_counts_twice(measured):
    measured.rows = [layer(1, "forward", 0.4, 0.1, per_step=2)]
    cells = ladder_table(measured).cells
    assert [line[0] for line in cells] == ["alexnet conv2d, 2 layers, batch 32"] * 2
    assert [line[3] for line in cells] == ["800 ms", "200 ms"]


def test_optimizers_and_networks_have_their_rungs(measured):
    steps = {"plain": timing(2.0), "blocked": timing(1.0), "default": timing(0.5)}
    step = row(1, steps, "step", "forward, loss, backward, RMSprop")
    step.labels, step.default = ["alexnet"], "default"
    update = row(1, {"plain": timing(0.3, 20), "blocked": timing(0.1, 60)}, "optimizer", "Adam", 0)
    update.labels, update.per_step = ["alexnet"], 0
    measured.rows = [update, step]
    assert ladder_table(measured).cells == [
        ["alexnet Adam", "plain (default)", "20", "300 ms", "1.00"],
        ["alexnet Adam", "blocked", "60", "100 ms", "3.00"],
        ["alexnet training step, batch 32", "plain", "", "2.00 s", "1.00"],
        ["alexnet training step, batch 32", "blocked", "", "1.00 s", "2.00"],
        ["alexnet training step, batch 32", "default", "", "500 ms", "4.00"],
    ]


def test_only_what_was_timed_beside_plain_in_every_row_is_shown(measured):
    measured.rows[0].timings["winograd"] = timing(0.01, 300)
    measured.rows[0].timings["PyTorch"] = Timing("peer", [[0.1]])
    measured.rows[2].timings["blocked"] = Timing("implementation", reason="off", failed=True)
    assert ladder_table(measured).cells == []
    for one in measured.rows:
        one.timings["auto"] = timing(0.2, 300)
    assert [line[1] for line in ladder_table(measured).cells] == ["plain", "auto"]
    for one in measured.rows:
        del one.timings["plain"]
    assert ladder_table(measured).cells == []


def test_another_networks_layers_and_other_batches_are_left_out(measured):
    others = [layer(n, "forward", 9.0, 9.0) for n in (1, 2)]
    others[0].labels, others[1].batch = ["alexnet-mini conv2d 1"], 128
    before = ladder_table(measured).cells
    measured.rows += others
    assert ladder_table(measured).cells == before


def test_a_quick_run_at_another_batch_has_its_ladder(measured):
    for one in measured.rows:
        one.batch = 8
    assert ladder_table(measured).cells[0][0] == "alexnet conv2d, 2 layers, batch 8"


def test_a_ladder_record_fills_the_ladder_alone(tmp_path, measured):
    (tmp_path / "README.md").write_text(
        "<!-- bench:ladder -->\n<!-- /bench -->\n<!-- bench:layers -->\n<!-- /bench -->\n"
    )
    write(record(1, cases=1), tmp_path / report.RESULTS / "cpu" / "record.json")
    assert f"bench:ladder -->\n{NOT_MEASURED}\n<!-- /bench" in report.stale(tmp_path).popitem()[1]
    write(measured, tmp_path / report.RESULTS / "cpu-ladder" / "record.json")
    assert report.main([], tmp_path) == 0
    assert report.main(["--check"], tmp_path) == 0
    text = (tmp_path / "README.md").read_text()
    assert text.count("| alexnet conv2d, 2 layers, batch 32 |") == 2
    assert text.count("| alexnet conv2d 0 forward |") == 1
    assert "| alexnet conv2d 1 forward |" not in text
    assert [p.name for p in (tmp_path / report.RESULTS / "cpu-ladder").iterdir()] == ["record.json"]


def test_where_nothing_was_measured_the_document_says_so(tmp_path):
    assert ladder(tmp_path, []) == NOT_MEASURED
    assert ladder(tmp_path, [(tmp_path, record(1, cases=1))]) == NOT_MEASURED
