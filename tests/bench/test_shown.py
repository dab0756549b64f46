import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.bench import plots, tables
from minialex.bench.record import Ceilings, Timing
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
    for one, batch in zip(whole.rows[2:6], (1, 2, 127, 128), strict=True):
        one.batch = batch
    assert [line[2] for line in tables.TABLES["summary"](whole).cells] == ["1", "128"]


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


def test_plots_are_drawn_of_what_there_is(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "PIXELS_PER_INCH", 20)
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


# ---- every column, worked out by hand -----------------------------------------------------------


def timed(*times, kind="implementation", **more):
    return Timing(kind, [list(times)], **more)


@pytest.fixture
def figures():
    """A record whose machine does 200 operations, and moves 50 bytes, in a nanosecond."""
    one = record(cases=0)
    one.ceilings = Ceilings([100e9, 200e9, 900e9], [10e9, 50e9, 60e9], [0.1, 0.25])
    return one


def test_everything_about_a_case_stands_in_its_line(figures):
    own = timed(0.001, 0.002, 0.003, 0.004, 0.005, cold=[[0.006, 0.007], [0.008]])
    one = row(1, {"plain": own, "JAX": timed(*[0.006] * 5, kind="peer")}, batch=8)
    one.work = [(60_000_000, 1_000_000)]
    two = row(2, {"plain": timed(0.5), "tiled": timed(0.25)}, batch=0, work=[(0, 5 * 10**9)])
    three = row(3, {"plain": timed(1.0)}, batch=16, work=[])
    figures.rows = [one, two, three]
    table = tables.table_of(figures, figures.rows)
    assert table.headings == [
        *("what", "implementation", "batch", "time", "cold L2", "GFLOP/s", "GB/s", "of ceiling"),
        *("plain/this", "JAX/this"),
    ]
    assert table.names == 2
    assert table.cells == [
        [
            *("alexnet conv2d 1 forward", "plain", "8", "3.00 ms ±33%", "7.00 ms"),
            *("20.0", "0.33", "10% gemm", "1.00", "2.00"),
        ],
        [
            *("alexnet conv2d 2 forward", "plain", "", "500 ms ±0%", ""),
            *("0.00", "10.0", "20% copy", "1.00", ""),
        ],
        [
            *("alexnet conv2d 2 forward", "tiled", "", "250 ms ±0%", ""),
            *("0.00", "20.0", "40% copy", "2.00", ""),
        ],
        ["alexnet conv2d 3 forward", "plain", "16", "1.00 s ±0%", "", "", "", "", "1.00", ""],
    ]
    # columns that would hold the same in every line are left out; so is plain beside itself alone
    table = tables.table_of(figures, [three])
    assert table.headings == ["what", "time", "GFLOP/s", "GB/s", "of ceiling"]
    assert table.names == 1


def test_digits_at_the_limits():
    assert [tables.duration(s) for s in (1.0, 0.001)] == ["1.00 s", "1.00 ms"]
    shown = [tables.three_digits(v) for v in (9.99, 10.0, 99.9, 100.0, 12345.6)]
    assert shown == ["9.99", "10.0", "99.9", "100", "12,346"]


def test_whole_networks_are_sorted_by_network_step_and_batch(figures):
    def whole(network, op, batch, seconds, **others):
        one = row(1, {"plain": timed(seconds), **others}, op=op, batch=batch)
        one.labels, one.images, one.work = [network], batch, [(10**9, 10**6), (10**9, 10**9)]
        return one

    figures.rows = [
        whole("b", "inference", 2, 0.5),
        whole("b", "step", 16, 0.25, JAX=timed(0.5, kind="peer")),
        whole("b", "step", 2, 0.05),
        whole("a", "step", 2, 0.01, fast=timed(0.025)),
        row(1, {"JAX": timed(1.0, kind="peer")}, op="step"),
        row(1, {"plain": timed(1.0)}),
    ]
    table = tables.TABLES["networks"](figures)
    assert table.headings == [
        *("network", "what", "implementation", "batch", "time", "images/s", "of floor"),
        "JAX/this",
    ]
    # the floor: 5 ms of arithmetic in the first part, 20 ms of copying in the second
    assert table.cells == [
        ["b", "step", "plain", "2", "50.0 ms ±0%", "40.0", "50%", ""],
        ["b", "step", "plain", "16", "250 ms ±0%", "64.0", "10%", "2.00"],
        ["b", "inference", "plain", "2", "500 ms ±0%", "4.00", "5%", ""],
        ["a", "step", "plain", "2", "10.0 ms ±0%", "200", "250%", ""],
        ["a", "step", "fast", "2", "25.0 ms ±0%", "80.0", "100%", ""],
    ]
    assert table.names == 3


def test_parts_have_the_ceiling_that_binds_for_most_of_the_floor(figures):
    def layer(number, work, seconds, **changed):
        one = row(number, {"plain": timed(seconds)}, work=[work])
        for name, value in changed.items():
            setattr(one, name, value)
        return one

    figures.rows = [
        # 10 ms of arithmetic, twice; 30 ms of copying; then as much of both; then 50 ms of
        # arithmetic, and 30 ms of copying twice
        layer(1, (2 * 10**9, 0), 0.02, per_step=2),
        layer(2, (0, 15 * 10**8), 0.05),
        layer(1, (2 * 10**9, 0), 0.04, what="data gradient"),
        layer(2, (0, 5 * 10**8), 0.06, what="data gradient"),
        layer(1, (10**10, 0), 0.06, what="weight gradient"),
        layer(2, (0, 15 * 10**8), 0.04, what="weight gradient", per_step=2),
        # left out: no step has it, another network's, another batch's, not timed
        layer(3, (2 * 10**9, 0), 9.0, per_step=0),
        layer(3, (2 * 10**9, 0), 9.0, labels=["alexnet-mini conv2d 3"]),
        layer(3, (2 * 10**9, 0), 9.0, batch=8),
        row(4, {"plain": Timing("implementation", reason="off")}),
        layer(1, (0, 10**10), 0.4, op="optimizer", what="RMSprop", batch=0),
        layer(1, (0, 10**10), 9.0, op="optimizer", what="Adam", batch=0, per_step=0),
    ]
    figures.rows[0].timings["JAX"] = timed(0.06, kind="peer")
    figures.rows[1].timings["JAX"] = timed(0.01, kind="peer")
    figures.rows[3].timings["JAX"] = Timing("peer", reason="skips it")
    table = tables.TABLES["parts"](figures)
    assert table.headings == ["part", "ceiling", "floor", "ours", "JAX"]
    assert table.cells == [
        ["conv2d forward", "copy", "50.0 ms", "90.0 ms", "130 ms"],
        ["conv2d data gradient", "gemm", "20.0 ms", "100 ms", ""],
        ["conv2d weight gradient", "copy", "110 ms", "140 ms", ""],
        ["RMSprop", "copy", "200 ms", "400 ms", ""],
        ["all", "copy", "380 ms", "730 ms", ""],
    ]


def test_the_machine_table(figures):
    figures.versions = {"minialex": "1", "numpy": "2"}
    figures.peers = {"JAX": "compiled", "CuPy": "as it is"}
    expected = {
        "measured": "2012-09-30T00:00:00+00:00",
        "revision": "0123456789ab",
        "large matrix product": "200 GFLOP/s",
        "large copy": "50.0 GB/s",
        "kept busy by other programs": "0.2 cores",
        "versions": "minialex 1, numpy 2",
        "peers": "JAX compiled; CuPy as it is",
    }
    table = tables.TABLES["machine"](figures)
    assert dict(zip(table.headings, *table.cells, strict=True)) == expected
    assert table.names == len(expected)
    figures.commit = None
    figures.machine["gpu"] = {"name": "a card", "state": {}}
    table = tables.TABLES["machine"](figures)
    card = {"revision": "unknown", "driver": "unknown", "clocks": "not known"}
    assert dict(zip(table.headings, *table.cells, strict=True)) == expected | card
    assert tables.machine_name(figures) == "a card"


def test_the_other_tables(figures):
    kernels = [
        {"name": "g", "registers": 40, "spilled_bytes": 0, "shared_bytes": 12288, "occupancy": 0.5},
        {"name": "f", "registers": 32, "spilled_bytes": 8, "shared_bytes": 0, "occupancy": 1.0},
    ]
    loader = row(1, {"plain": timed(0.5), "kernel": timed(0.25)}, op="loader", batch=32)
    loader.labels, loader.what, loader.images = ["JPEG folder"], "256 images, 2 workers", 256
    update = row(
        1, {"plain": timed(0.5, kernels=kernels)}, "optimizer", "Adam", 0, [(10**9, 10**9)]
    )
    images = row(2, {"JAX": timed(1.0, kind="peer")}, op="images")
    figures.rows = [loader, update, images, row(3, {"plain": timed(1.0)})]
    figures.imports = [{"what": "import numpy", "seconds": 0.0625}]
    table = {name: tables.TABLES[name](figures) for name in tables.TABLES}
    assert table["loader"].headings == ["what", "batch", "time", "images/s"]
    assert table["loader"].cells == [
        ["JPEG folder, 256 images, 2 workers", "32", "500 ms", "512"],
        ["JPEG folder, 256 images, 2 workers", "32", "250 ms", "1,024"],
    ]
    assert table["optimizers"].cells == [
        ["alexnet optimizer 1 Adam", "500 ms ±0%", "2.00", "2.00", "4% copy"]
    ]
    assert table["imports"].cells == [["import numpy", "62.5 ms"]]
    assert table["kernels"].cells == [
        ["f", "32", "8", "0", "100%"],
        ["g", "40", "0", "12,288", "50%"],
    ]


def test_memory_beside_ours_in_the_same_case(figures):
    def held(library, batch, base, peak):
        sizes = {"base": base << 20, "peak": peak << 20}
        return {"library": library, "network": "a", "batch": batch} | sizes

    failed = {"library": "JAX", "network": "a", "batch": 8, "reason": "it failed"}
    figures.memory = [
        *(held("minialex", 8, 50, 100), held("PyTorch", 8, 150, 1650), failed),
        *(held("minialex", 16, 50, 350), held("PyTorch", 32, 100, 300)),
    ]
    table = tables.TABLES["memory"](figures)
    assert table.names == 2
    assert table.cells == [
        ["a", "minialex", "8", "100 MiB", "1.00", "50 MiB", "1.00"],
        ["a", "PyTorch", "8", "1,650 MiB", "0.06", "1,500 MiB", "0.03"],
        ["a", "minialex", "16", "350 MiB", "1.00", "300 MiB", "1.00"],
        # there is nothing of ours to compare it with
        ["a", "PyTorch", "32", "300 MiB", "", "200 MiB", ""],
    ]


def test_what_was_not_timed_is_said_once_for_all_its_cases(figures):
    why = Timing("peer", reason="it has none")
    figures.rows = [row(n, {"plain": timed(1.0), "JAX": why}) for n in (1, 2, 3)]
    figures.rows[2].timings["CuPy"] = Timing("peer", reason="it has none")
    figures.unavailable = {"PyTorch": "it is not installed"}
    assert tables.not_timed(figures) == [
        "PyTorch: it is not installed",
        "JAX in alexnet conv2d 1 forward and 2 more: it has none",
        "CuPy in alexnet conv2d 3 forward: it has none",
    ]
