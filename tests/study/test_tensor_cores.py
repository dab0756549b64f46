"""The model behind docs/tensor-cores.md, tied to the emulator, and what it says of long sums."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.cuda.architectures import ARCHITECTURES
from minialex.ops._cuda import tiling
from minialex.study import tensor_cores as study
from tests.cuda import tensor_core_records as records

ROUNDOFF = 2.0**-24
PROMOTED_AND_PLAIN = "3xTF32 promoted", "FFMA"


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_model_has_the_bits_of_the_emulator(architecture):
    rng = np.random.default_rng(0)
    cores = ARCHITECTURES[architecture].tensor_cores
    a, b = rng.standard_normal((2, 4096, cores.group_bytes // 4)).astype(np.float32)
    b *= 2.0 ** rng.integers(-12, 12, b.shape)
    c = rng.standard_normal(4096).astype(np.float32)
    a[::7], c[::5] = 0, 0
    got = study.truncated_sum(a, b, c, cores)
    assert (got == records.emulated("tf32", a, b, c, architecture)).all()


@pytest.fixture
def whole_sums(monkeypatch):
    """Have no sum cut into parts."""
    monkeypatch.setattr(tiling, "SPLIT_K", (1,))
    tiling.plan_tiles.cache_clear()
    yield
    tiling.plan_tiles.cache_clear()


ARITHMETIC = {
    "tf32x3": {},
    "tf32": {"operands": study.tf32},
    "multistage_tf32x3": {},
    "multistage_tf32": {"operands": study.tf32, "step": 16},
    "bf16": {"operands": study.bfloat16, "step": 32, "group": 16},
}
"""By rung, how it sums up, as `study.promoted` takes it."""


@pytest.mark.parametrize("K", [3, 64, 363])
@pytest.mark.parametrize("rung", ARITHMETIC)
@pytest.mark.usefixtures("whole_sums")
def test_the_kernel_promotes_every_step(rung, K):
    rng = np.random.default_rng(K)
    x, w = rng.standard_normal((2, 9, K), np.float32)
    with cuda.emulated():
        y, _ = OPS["linear"].implementations[rung].forward(x, w)
    pairs = [np.ascontiguousarray(v.reshape(-1, K)) for v in np.broadcast_arrays(x[:, None], w)]
    cores = ARCHITECTURES["sm_90"].tensor_cores
    expected = study.promoted(*pairs, cores, **ARITHMETIC[rung])[:, -1]
    assert (y.reshape(-1) == expected).all()


def test_promoted_sums_are_as_accurate_as_multiply_adds():
    lengths = [64, 363, 1600, 3456, 9216, 43264]
    promoted, plain = (
        study.errors(study.SUMMATIONS[way], lengths, 128) for way in PROMOTED_AND_PLAIN
    )
    for mine, theirs in zip(promoted, plain, strict=True):
        assert mine.rms <= theirs.rms
        # what cutting one step leaves does not grow; the rest is the noise of so many sums
        assert abs(mine.bias) <= ROUNDOFF + 3 * mine.rms / 128**0.5


def test_one_promoted_step_is_off_by_less_than_a_floats_last_bit():
    for error in study.errors(study.SUMMATIONS["3xTF32 promoted"], [3, 8], 128):
        assert error.rms <= 2 * ROUNDOFF
        assert abs(error.bias) <= ROUNDOFF


def test_sums_kept_inside_fall_short():
    ways = study.SUMMATIONS["3xTF32 kept inside"], study.SUMMATIONS["FFMA"]
    (inside,), (plain,) = (study.errors(way, [1600], 128) for way in ways)
    assert inside.rms > 10 * plain.rms
    assert inside.bias < -50 * ROUNDOFF


def test_a_stale_page_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "LENGTHS", {8: ""})
    monkeypatch.setattr(study, "SUMS_PER_LENGTH", 4)
    assert study.main([], tmp_path) == 2
    (tmp_path / "docs").mkdir()
    assert study.main(["--check"], tmp_path) == 1
    assert study.main([], tmp_path) == 0
    assert study.main(["--check"], tmp_path) == 0
    assert (tmp_path / study.PICTURE).stat().st_size > 10_000
    (tmp_path / study.PAGE).write_text("another")
    assert study.main(["--check"], tmp_path) == 1
    assert "stale: python -m" in capsys.readouterr().err
    assert study.main(["--chekc"], tmp_path) == 2


MADE_UP = {
    "FFMA": [study.Error(1.25e-7 * i, 2e-9 * (3 - i)) for i in range(1, 8)],
    "promoted": [study.Error(1e-8, 0.0)] * 7,
}


def test_the_table_has_a_line_for_every_length_and_a_column_for_every_way():
    head, rule, *lines = study._table(MADE_UP).splitlines()
    assert head == "| terms | in AlexNet | FFMA | promoted |"
    assert rule == "| ---: | --- | ---: | ---: |"
    assert len(lines) == len(study.LENGTHS)
    assert lines[2] == "| 363 | conv1, forward | 3.8e-07 (+0e+00) | 1.0e-08 (+0e+00) |"
    assert lines[5] == "| 9,216 | fc6, forward | 7.5e-07 (-6e-09) | 1.0e-08 (+0e+00) |"
    text = study.page(MADE_UP)
    assert "\n".join((head, rule, *lines)) in text
    assert f"{study.SUMS_PER_LENGTH} sums" in text


def test_the_picture_shows_errors_and_the_size_of_biases_against_the_length():
    figure = study.picture(MADE_UP | dict.fromkeys("abcd", MADE_UP["promoted"]))
    left, right = figure.axes
    lengths = list(study.LENGTHS)
    for axes, values in ((left, [e.rms for e in MADE_UP["FFMA"]]), (right, [4e-9, 2e-9, 0])):
        x, y = axes.lines[0].get_data()
        assert list(x) == lengths
        assert list(y[: len(values)]) == pytest.approx(values)
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [t.get_text() for t in axes.get_xticklabels()][-1] == "43,264"
    assert right.lines[0].get_ydata()[3] == pytest.approx(2e-9)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["FFMA", "promoted", *"abcd"]
    colours = [line.get_color() for line in left.lines]
    assert colours == [line.get_color() for line in right.lines]
    assert len(set(colours)) == 6


def test_errors_are_shares_of_the_root_of_the_summed_squares():
    """A way that is off by a known share, towards zero."""

    def short(x, y, cores):
        sums = np.cumsum(x.astype(np.float64) * y, 1)[:, 7::8]
        sizes = np.sqrt(np.cumsum((x.astype(np.float64) * y) ** 2, 1))[:, 7::8]
        return sums - np.sign(sums) * sizes * np.array([[0.25], [0.25], [0.5], [0.0]])

    for error in study.errors(study.Summation(short), [8, 16], 4):
        assert error.bias == pytest.approx(-0.25)
        assert error.rms == pytest.approx(((0.25**2 * 2 + 0.5**2) / 4) ** 0.5)
