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


@pytest.mark.parametrize("K", [3, 64, 363])
@pytest.mark.parametrize(("rung", "terms"), [("tf32x3", 3), ("tf32", 1)])
@pytest.mark.usefixtures("whole_sums")
def test_the_kernel_promotes_every_step(rung, terms, K):
    rng = np.random.default_rng(K)
    x, w = rng.standard_normal((2, 9, K), np.float32)
    with cuda.emulated():
        y, _ = OPS["linear"].implementations[rung].forward(x, w)
    pairs = [np.ascontiguousarray(v.reshape(-1, K)) for v in np.broadcast_arrays(x[:, None], w)]
    expected = study.promoted(*pairs, ARCHITECTURES["sm_90"].tensor_cores, terms)[:, -1]
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
