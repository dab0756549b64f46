import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.bench import plots, tables
from minialex.bench.record import Timing
from tests.bench.fake_records import record, row


@pytest.fixture
def whole():
    """A record with a layer, an optimizer, and steps at four batches, against one peer."""
    one = record(1, cases=2)
    for batch in (8, 16, 32, 64):
        ours, theirs = (
            Timing(k, [[s * batch] * 3] * 3) for k, s in (("implementation", 0.01), ("peer", 0.02))
        )
        step = row(1, {"plain": ours, "PyTorch": theirs}, "step", "step", batch)
        step.labels, step.images = ["alexnet"], batch
        one.rows.append(step)
    for r in one.rows[:2]:
        r.timings["PyTorch"] = Timing(
            "peer", [[3 * t for t in s] for s in r.timings["plain"].times]
        )
    one.rows.append(
        row(1, {"plain": Timing("implementation", [[0.5]] * 3)}, "optimizer", "RMSprop", 0)
    )
    one.memory = [
        {
            "library": library,
            "network": "alexnet",
            "batch": 32,
            "base": 10 << 20,
            "peak": peak << 20,
        }
        for library, peak in (("minialex", 110), ("PyTorch", 210))
    ]
    return one


def test_times_are_shown_in_a_unit_that_suits_them():
    shown = [tables.duration(s) for s in (2.345, 0.5, 0.0123456, 1.5e-4, 9.99e-7, 123.4)]
    assert shown == ["2.35 s", "500 ms", "12.3 ms", "150 us", "1.00 us", "123 s"]


@given(st.floats(1e-7, 1e4))
def test_a_time_is_shown_to_three_digits(seconds):
    number, unit = tables.duration(seconds).split()
    size = {"s": 1.0, "ms": 1e-3, "us": 1e-6}[unit]
    assert float(number.replace(",", "")) * size == pytest.approx(seconds, rel=0.0051, abs=5e-9)


def test_the_layers_table(whole):
    table = tables.document_table("layers", [whole]).splitlines()
    assert table[0] == "a made-up CPU, 2 threads:"
    assert table[2] == "| what | time | GFLOP/s | GB/s | of ceiling | PyTorch/this |"
    assert len(table) == 4 + 2
    assert table[4].endswith("% gemm | 3.00 |")


def test_an_implementation_more_is_a_column_and_a_line_more(whole):
    whole.rows[0].timings["tiled"] = Timing("implementation", [[1.0] * 3] * 3)
    table = tables.table_of(whole, whole.rows[:2])
    assert table.headings[:2] == ["what", "implementation"]
    assert [line[1] for line in table.cells] == ["plain", "tiled", "plain"]
    tiled = table.cells[1]
    assert tiled[table.headings.index("time")] == "1.00 s ±0%"
    assert tiled[table.headings.index("plain/this")] == "0.00"


def test_a_contender_that_was_not_timed_has_no_column(whole):
    whole.rows[0].timings["PyTorch"] = Timing("peer", reason="out of memory")
    table = tables.table_of(whole, whole.rows[:1])
    assert "PyTorch/this" not in table.headings
    assert tables.not_timed(whole) == ["PyTorch in alexnet conv2d 0 forward: out of memory"]


def test_the_networks_table(whole):
    table = tables.TABLES["networks"](whole)
    assert [line[2] for line in table.cells] == ["8", "16", "32", "64"]
    assert {line[4] for line in table.cells} == {"100"}
    assert {line[-1] for line in table.cells} == {"2.00"}


def test_the_summary_is_the_default_at_a_few_batches(whole):
    for one in whole.rows:
        one.timings["default"] = Timing("implementation", [[0.16] * 3] * 3)
        one.default = "default"
    table = tables.TABLES["summary"](whole)
    assert table.headings[:4] == ["network", "what", "batch", "time"]
    assert [line[2:4] for line in table.cells] == [["32", "160 ms ±0%"]]
    assert set(whole.rows[-2].timings) == {"plain", "PyTorch", "default"}


def test_runs_on_one_machine_share_a_table(whole):
    text = tables.document_table("networks", [whole, whole])
    assert text.count("a made-up CPU, 2 threads:") == 1
    assert text.count("| alexnet | step |") == 8
    assert len(whole.rows) == 7


def test_the_parts_table_counts_each_layer_as_often_as_a_step_has_it(whole):
    whole.rows[0].per_step = 5
    cells = {line[0]: line[1:] for line in tables.TABLES["parts"](whole).cells}
    ours = 5 * whole.rows[0].timings["plain"].seconds + whole.rows[1].timings["plain"].seconds
    assert cells["conv2d forward"][2] == tables.duration(ours)
    assert cells["conv2d forward"][3] == tables.duration(3 * ours)
    assert cells["all"][2] == tables.duration(ours + 0.5)
    # PyTorch did not run the optimizer
    assert cells["all"][3] == ""


def test_the_parts_are_those_of_the_default_implementation(whole):
    whole.rows[0].timings["winograd"] = Timing("implementation", [[0.125] * 3] * 3)
    whole.rows[0].default = "winograd"
    cells = {line[0]: line[1:] for line in tables.TABLES["parts"](whole).cells}
    ours = 0.125 + whole.rows[1].timings["plain"].seconds
    assert cells["conv2d forward"][2] == tables.duration(ours)


def test_a_record_without_layers_has_no_parts(whole):
    del whole.rows[:2], whole.rows[-1]
    assert not tables.TABLES["parts"](whole).cells


def test_the_memory_table(whole):
    cells = tables.TABLES["memory"](whole).cells
    assert cells[1] == ["alexnet", "PyTorch", "32", "210 MiB", "0.52", "200 MiB", "0.50"]


def test_markdown():
    table = tables.Table(["a", "b"], [["x", "1"], ["y", "2"]])
    assert table.markdown() == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"


def test_plots_are_drawn_of_what_there_is(whole, tmp_path):
    names = [path.name for path in plots.draw(whole, tmp_path)]
    assert names == ["roofline.png", "peers.png", "batch.png"]
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in names)
    bare = record(1, cases=2)
    assert [p.name for p in plots.draw(bare, tmp_path)] == ["roofline.png"]
    bare.rows.clear()
    assert plots.draw(bare, tmp_path) == []


def test_every_layer_has_its_point_under_the_roof(whole):
    axes = plots.roofline([whole, whole]).axes
    assert len(axes) == 2
    points = [tuple(c.get_offsets()[0]) for c in axes[0].collections]
    # two layers and the optimizer; steps are many points' worth of work and have none
    assert len(points) == 3
    seconds = whole.rows[0].timings["plain"].seconds
    assert points[0] == pytest.approx((200, 2 / seconds))


def test_every_step_has_its_bar(whole):
    axes = plots.peer_bars(whole).axes[0]
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx([2.0] * 4)
    assert "PyTorch" in axes.get_xlabel()


def test_the_straight_line_through_the_batches(whole):
    assert plots.fit_line([8, 16, 32], [0.7, 1.1, 1.9]) == pytest.approx((0.05, 0.3))
    axes = plots.batch_lines(whole).axes[0]
    assert "0 ms + 10.0 ms per image" in axes.get_title(loc="left")
