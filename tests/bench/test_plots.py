"""Plots: the data that they draw, compared with figures worked out by hand."""

import pytest
from matplotlib.colors import to_hex

from minialex.bench import plots
from minialex.bench.record import Ceilings, Timing
from tests.bench.fake_records import record, row

GEMM, COPY = 100e9, 10e9
"""Operations and bytes per second of the made-up machine: the roof bends at 10 per byte."""


def timing(*times, kind="implementation"):
    return Timing(kind, [list(times)])


def one_row(number, seconds, flops=10**9, nbytes=10**8, **changed):
    own = row(number, {"plain": timing(seconds)}, work=[(flops, nbytes)])
    for name, value in changed.items():
        setattr(own, name, value)
    return own


def with_rows(*rows):
    one = record(cases=0)
    one.ceilings = Ceilings([GEMM / 2, GEMM, 9 * GEMM], [COPY / 2, COPY, 9 * COPY])
    one.rows = list(rows)
    return one


def texts(axes):
    return [one.get_text() for one in axes.texts]


def legend(axes):
    return [one.get_text() for one in axes.get_legend().get_texts()]


# ---- the roofline -------------------------------------------------------------------------------


@pytest.fixture
def layers():
    """Two convolutions alike, a third apart, a product, an optimizer; and what is left out."""
    return with_rows(
        one_row(1, 0.5, 2 * 10**9, 10**8),
        one_row(2, 0.25, 2 * 10**9, 10**8 - 10**6, what="data gradient"),
        one_row(3, 0.1, 4 * 10**9, 2 * 10**7, what="weight gradient"),
        one_row(1, 0.2, 10**8, 2 * 10**8, op="linear"),
        one_row(1, 1.0, 10**8, 10**8, op="optimizer", what="Adam", batch=0),
        one_row(1, 1.0, 10**8, 10**8, op="softmax", what="forward"),
        # of another batch, of another network, without work, without a time, a whole network
        one_row(5, 1.0, batch=64),
        one_row(6, 1.0, labels=["alexnet-mini conv2d 6"]),
        one_row(7, 1.0, work=[]),
        row(8, {"plain": Timing("implementation", reason="off")}),
        one_row(9, 1.0, op="step"),
    )


def test_the_roof_bends_at_the_machines_ceilings_and_spans_all_points(layers):
    (axes,) = plots.roofline([layers]).axes
    roof, bend = axes.lines
    x, y = roof.get_data()
    # from half of the least, 0.5 or 0.1, to three times the most, 200 or that of the bend
    assert (x[0], x[-1]) == pytest.approx((0.05, 600))
    assert (y[0], y[-1]) == pytest.approx((0.5, 100))
    assert y[(x > 1) & (x < 9)] == pytest.approx(10 * x[(x > 1) & (x < 9)])
    assert bend.get_xdata() == [10, 10]
    assert axes.get_xlim() == pytest.approx((0.05, 600))
    # from half of the slowest point to two and a half times the highest ceiling
    assert axes.get_ylim() == pytest.approx((0.05, 250))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert texts(axes)[-2:] == ["matrix product 100 GFLOP/s", "copy 10.0 GB/s"]
    *_, product, copy = axes.texts
    assert product.xy == pytest.approx((10, 100))
    middle = (0.05 * 10) ** 0.5
    assert copy.xy == pytest.approx((middle, 10 * middle))
    assert axes.get_title(loc="left") == "a made-up CPU, 2 threads, batch 32"


def test_points_stand_at_their_work_per_byte_and_their_rate(layers):
    (axes,) = plots.roofline([layers]).axes
    points = [tuple(c.get_offsets()[0]) for c in axes.collections]
    expected = [(20, 4), (2000 / 99, 8), (200, 40), (0.5, 0.5), (1, 0.1), (1, 0.1)]
    assert points == [pytest.approx(point) for point in expected]
    colours = [to_hex(c.get_facecolor()[0]).upper() for c in axes.collections]
    conv, linear, adam = (plots.COLOURS[op] for op in ("conv2d", "linear", "optimizer"))
    assert colours == [conv, conv, conv, linear, adam, plots.OTHERS.upper()]
    assert legend(axes) == [
        *("conv2d", "linear", "optimizer", "others"),
        *("forward", "data gradient", "weight gradient"),
    ]


def test_convolutions_are_numbered_together_where_they_are_close(layers):
    (axes,) = plots.roofline([layers]).axes
    assert texts(axes)[:2] == ["1, 2", "3"]
    # in the middle of their columns, below the lower one
    assert axes.texts[0].xy == pytest.approx(((20 + 2000 / 99) / 2, 4))
    assert axes.texts[1].xy == pytest.approx((200, 40))


def test_points_beyond_the_machine_are_within_the_frame():
    fast = one_row(1, 1e-3, 10**9, 10**9, op="relu"), one_row(2, 1.0, 10**9, 10**10, op="relu")
    (axes,) = plots.roofline([with_rows(*fast)]).axes
    assert axes.get_ylim() == pytest.approx((0.25, 2500))
    # the bend is to the right of all points
    assert axes.get_xlim() == pytest.approx((0.05, 30))
    assert legend(axes) == ["relu", "forward"]


def test_each_machine_has_its_panel(layers):
    other = with_rows(one_row(1, 1.0))
    other.machine["cpu"] = "another CPU"
    found = plots.roofline([layers, with_rows(), other]).axes
    assert [axes.get_title(loc="left").split(",")[0] for axes in found] == [
        *("a made-up CPU", "another CPU")
    ]
    assert [len(axes.collections) for axes in found] == [6, 1]


# ---- bars against peers -------------------------------------------------------------------------


def against(number, **peers):
    """Return a case of ours that takes a second, and the times of each peer."""
    one = one_row(number, 1.0)
    one.timings["plain"] = timing(*[1.0] * 5)
    one.timings |= {name: timing(*times, kind="peer") for name, times in peers.items()}
    return one


def test_bars_are_ratios_with_their_quartiles_side_by_side():
    rows = [
        against(0, PyTorch=[1.0, 2.0, 3.0, 4.0, 5.0], JAX=[0.5] * 5),
        against(1, JAX=[0.25] * 5),
        # no peer ran it
        against(2),
    ]
    (axes,) = plots.peer_bars(with_rows(*rows)).axes
    bars = [(b.get_x(), b.get_width(), b.get_y() + b.get_height() / 2) for b in axes.patches]
    # two to a case, above and below its tick; the first case is at the top
    expected = [(1, 2, -0.2), (1, -0.5, 0.2), (1, -0.75, 1.2)]
    assert bars == [pytest.approx(bar) for bar in expected]
    upper, lower = axes.patches[:2]
    assert upper.get_y() + upper.get_height() < lower.get_y()
    whiskers = [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines[:-1]]
    assert whiskers[0] == pytest.approx((2, 4, -0.2, -0.2))
    assert whiskers[1] == pytest.approx((0.5, 0.5, 0.2, 0.2))
    assert texts(axes) == ["3.00", "0.50", "0.25"]
    # right of the whisker, and of the line at 1
    assert [text.xy[0] for text in axes.texts] == pytest.approx([4, 1, 1])
    assert axes.lines[-1].get_xdata() == [1, 1]
    assert axes.get_xlim()[0] < 0.25
    assert axes.get_xlim()[1] > 4
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (1.6, -0.6)
    assert list(axes.get_yticks()) == [0, 1]
    names = [f"alexnet conv2d {n} forward" for n in (0, 1)]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_xlabel().startswith("time of the peer / our time")
    assert axes.get_title(loc="left") == "a made-up CPU, 2 threads, batch 32"
    assert legend(axes) == ["PyTorch", "JAX"]
    assert len({bar.get_facecolor() for bar in axes.patches[:2]}) == 2


def test_a_single_peer_is_named_on_the_axis_and_batches_beside_the_cases():
    rows = [against(0, JAX=[3.0] * 5), against(1, JAX=[4.0] * 5), against(2, JAX=[5.0] * 5)]
    rows[1].batch, rows[2].batch = 64, 0
    (axes,) = plots.peer_bars(with_rows(*rows)).axes
    assert axes.get_xlabel().startswith("time of JAX / our time")
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2])
    assert [label.get_text().partition("forward")[2] for label in axes.get_yticklabels()] == [
        *(", batch 32", ", batch 64", "")
    ]
    assert axes.get_title(loc="left") == "a made-up CPU, 2 threads"
    assert axes.get_legend() is None


def test_of_many_cases_those_that_a_step_spends_most_time_on_are_shown():
    rows = [against(n, JAX=[2.0] * 5) for n in range(plots.MAX_BARS + 2)]
    # a tenth of the others' time; the next is as short, but a step does it twenty times
    rows[3].timings["plain"] = rows[5].timings["plain"] = timing(*[0.1] * 5)
    rows[5].per_step = 20
    # no step does it: it counts as one call
    rows[7].per_step, rows[8].per_step = 0, 0
    rows[8].timings["plain"] = timing(*[0.2] * 5)
    (axes,) = plots.peer_bars(with_rows(*rows)).axes
    shown = [label.get_text().split()[2] for label in axes.get_yticklabels()]
    assert shown == [str(n) for n in range(len(rows)) if n not in (3, 8)]
    assert axes.get_title(loc="left").endswith(f"batch 32: the 24 longest of {len(rows)}")


def test_a_peer_without_the_first_case_is_in_the_legend_once():
    rows = against(0, PyTorch=[2.0] * 5), against(1, JAX=[2.0] * 5), against(2, JAX=[3.0] * 5)
    (axes,) = plots.peer_bars(with_rows(*rows)).axes
    assert legend(axes) == ["PyTorch", "JAX"]


def test_whole_networks_have_bars_alone():
    step = against(0, JAX=[3.0] * 5)
    step.op, step.labels = "step", ["alexnet"]
    (axes,) = plots.peer_bars(with_rows(against(1, JAX=[2.0] * 5), step)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["alexnet step"]


# ---- time against batch -------------------------------------------------------------------------


def runs(op, network, seconds, **peers):
    """Return a case for each batch, by the seconds of ours and, as text, of peers."""
    rows = []
    for batch, ours in seconds.items():
        one = one_row(1, ours, op=op, batch=batch, labels=[network])
        one.timings |= {n: timing(t[batch], kind="peer") for n, t in peers.items() if batch in t}
        rows.append(one)
    return rows


def test_a_panel_holds_the_times_and_the_line_that_fits_ours():
    ours = {32: 1.9, 8: 0.7, 16: 1.1}
    theirs = {f"peer {n}": {8: n, 32: 10.0 + n} for n in range(1, 8)}
    figure = plots.batch_lines(
        with_rows(
            *runs("step", "alexnet", ours, **theirs),
            *runs("inference", "alexnet", {4: 0.1, 2: 0.06, 1: 0.04}),
            *runs("step", "alexnet-mini", {1: 1.0, 2: 2.0}),
            *runs("conv2d", "alexnet", {1: 1.0, 2: 2.0, 3: 3.0}),
        )
    )
    step, inference = figure.axes
    line, points, *others = step.lines
    assert line.get_xydata().tolist() == [
        pytest.approx(pair) for pair in ([8, 0.7], [16, 1.1], [32, 1.9])
    ]
    assert points.get_xydata().tolist() == [[8, 0.7], [16, 1.1], [32, 1.9]]
    assert [one.get_xydata().tolist() for one in others] == [
        [[8, n], [32, 10 + n]] for n in range(1, 8)
    ]
    colours = [one.get_color() for one in others]
    assert colours == [*plots.PEER_COLOURS, plots.PEER_COLOURS[0]]
    assert legend(step) == ["minialex", *theirs]
    assert step.get_title(loc="left") == "alexnet, training step: 300 ms + 50.0 ms per image"
    assert inference.get_title(loc="left") == "alexnet, inference: 20 ms + 20.0 ms per image"
    assert step.get_xlim()[0] == step.get_ylim()[0] == 0


def test_the_line_fits_each_time_by_its_own_size():
    # the weights 1 / y^2, over 144: 144, 36 and 1; their sums with x and y are, over 144 too,
    # w: 181, w x: 219, w x^2: 297, w y: 228, w x y: 324
    determinant = 181 * 297 - 219**2
    slope, intercept = 181 * 324 - 219 * 228, 297 * 228 - 219 * 324
    found = plots.fit_line([1, 2, 3], [1.0, 2.0, 12.0])
    assert found == pytest.approx((slope / determinant, intercept / determinant))
