"""The three stages of ``docs/tuning``: right at every edge, and what their lines ask of memory."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from docs.tuning.__main__ import PAGE
from docs.tuning.layer_norm import HERE, STAGES, by_definition, example
from minialex import cuda
from minialex.cuda import nvrtc, source
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile import profiled
from minialex.study.profile.resources import Code, Resources
from minialex.study.profile.slowdowns import slowdowns
from minialex.study.profile.time_model import predict
from tests.cuda.tools import ROOT, compiles

by_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.file)


@by_stage
@pytest.mark.parametrize("shape", [(2, 64, 8, 8), (1, 128, 6, 6), (3, 64, 2, 2)], ids=str)
def test_a_stage_normalises(stage, shape):
    x, gamma, beta = example(shape)
    with cuda.emulated("checked"):
        y = stage(x, gamma, beta)
    np.testing.assert_allclose(y, by_definition(x, gamma, beta), rtol=1e-5, atol=1e-5)


@compiles
@by_stage
def test_no_stage_spills(stage):
    for usage in nvrtc.usage(HERE / stage.file, "sm_86"):
        assert usage.spill_stores == usage.spill_loads == usage.stack == 0
        # five blocks of 256 threads, of the 65,536 that a multiprocessor has
        assert usage.registers <= 48


SECTORS, WAVEFRONTS = "sectors", "wavefronts"
BY_HAND = {
    # 128 pixels, a warp each, two requests of 32 channels that are 64 pixels, 256 bytes, apart
    "1_naive.cu": [
        ("for the mean", "read", "x", 256, SECTORS, 32, 4),
        ("for the variance", "read", "x", 256, SECTORS, 32, 4),
        ("to normalise it", "read", "x", 256, SECTORS, 32, 4),
        ("the result", "write", "y", 256, SECTORS, 4, 4),
        ("the result", "read", "gamma", 256, SECTORS, 4, 4),
    ],
    # 4 blocks of 64 channels, a row of 32 pixels each: the copy lies along it; the rest goes down a
    # column, 32 words of one bank
    "2_shared_tile.cu": [
        ("the copy", "read", "x", 256, SECTORS, 4, 4),
        ("the copy", "write", "tile", 256, WAVEFRONTS, 1, 1),
        ("for the mean", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("for the variance", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("to normalise it", "read", "tile", 256, WAVEFRONTS, 32, 1),
        ("the result", "write", "y", 256, SECTORS, 4, 4),
    ],
    # vectors: a quarter of the requests for four times the bytes
    "3_padded_vectors.cu": [
        ("the copy", "read", "x", 64, SECTORS, 16, 16),
        *((f"pixel {k}", "write", "tile", 64, WAVEFRONTS, 1, 1) for k in range(4)),
        ("all its channels", "read", "tile", 256, WAVEFRONTS, 1, 1),
        ("four of gamma", "read", "gamma", 64, SECTORS, 4, 4),
        ("the result", "write", "y", 64, SECTORS, 16, 16),
    ],
}
"""Marker, access, array, requests; sectors or wavefronts per request, and the least of them."""


@by_stage
def test_a_stage_asks_of_memory_what_was_computed_by_hand(stage):
    with cuda.emulated("counted") as emulation:
        stage(*example())
    (counts,) = emulation.counts
    lines = (HERE / stage.file).read_text().splitlines()
    found = {
        (lines[one.line - 1].rpartition("// ")[2], one.access, one.array): one
        for one in counts.memory
    }
    for marker, access, array, requests, unit, each, least in BY_HAND[stage.file]:
        row = found[marker, access, array]
        assert (row.requests, row.lanes) == (requests, 32 * requests)
        assert getattr(row, unit) == each * requests, marker
        assert getattr(row, f"least_{unit}") == least * requests, marker


WITHOUT_CODE = Resources("layer_norm", known_gpu("H100"), Code(), 0, None)
VECTOR = "*reinterpret_cast<float4*>(&y[row * C + c]) = result;"
NUMBERS = "".join(f"y[row * C + c + {k}] = result.{name};" for k, name in enumerate("xyzw"))


@pytest.mark.parametrize(
    ("stage", "old", "new", "kind", "marker"),
    [
        (1, "x[c * P + lane];", "x[lane * P + c];", "uncoalesced", "the copy"),
        (2, "tile[C][32 + 1]", "tile[C][32]", "bank conflict", "all its channels"),
        (2, VECTOR, NUMBERS, "unvectorised", "the result"),
    ],
    ids=["transposed index", "no padding", "no vectors"],
)
def test_what_makes_a_stage_slower_is_named_at_its_line(stage, old, new, kind, marker):
    path = HERE / STAGES[stage].file
    lines = path.read_text().splitlines()
    (line,) = [n for n, text in enumerate(lines, 1) if text.endswith(f"// {marker}")]

    def named():
        with cuda.emulated("counted") as emulation:
            STAGES[stage](*example())
        (counts,) = emulation.counts
        return {
            (one.kind, one.line)
            for one in slowdowns(counts, WITHOUT_CODE, predict(counts, WITHOUT_CODE))
        }

    assert (kind, line) not in named()
    with source.edited(path, old, new):
        assert (kind, line) in named()


def test_the_assertion_of_the_page_holds():
    (line,) = re.findall(r'"3_padded_vectors.cu", (\d+)', (ROOT / PAGE).read_text(encoding="utf-8"))
    with profiled() as profile:
        STAGES[2](*example())
    assert profile.line("3_padded_vectors.cu", int(line)).wavefronts_per_request <= 1


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("docs").symlink_to(ROOT / "docs")
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    launched, seen, _ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(launched, names)
    assert capsys.readouterr().out.count("1_naive.cu:24 reading x touches 32 sectors") == 1
    exec(seen, names)
    html = Path("layer_norm.html").read_text(encoding="utf-8")
    assert "layer_norm" in html
    assert str(tmp_path) not in html
