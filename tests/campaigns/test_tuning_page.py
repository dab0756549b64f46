"""The page that tunes a kernel: as the profiler would write it today, and what it claims."""

import dataclasses
import re

import pytest

from docs.tuning.__main__ import GPUS, PAGE, main, page, profile_of
from docs.tuning.layer_norm import HERE, STAGES
from minialex.cuda import nvrtc, source
from minialex.cuda.known_gpus import known_gpu
from tests.cuda.tools import ROOT, disassembles


@disassembles
@pytest.mark.skipif(nvrtc.versions()[:1] != ["12.9"], reason="the page is of NVRTC 12.9's code")
def test_the_page_shows_the_profiles_of_today():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page(text) == text, "python -m docs.tuning writes it"


@disassembles
@pytest.mark.parametrize("name", GPUS)
def test_what_binds_the_stages_moves_from_l1_to_shared_memory_to_memory(name):
    gpu = known_gpu(name)
    times = [dataclasses.replace(profile_of(stage), gpu=gpu).predicted for stage in STAGES]
    assert [time.binding for time in times] == ["L1", "shared memory", "memory"]
    # nothing is gained by the second stage, and all there is by the third
    assert times[1].seconds > 0.9 * times[0].seconds
    assert times[2].seconds < 0.5 * times[1].seconds


@disassembles
def test_the_code_on_the_page_runs_and_says_so(monkeypatch, capsys, tmp_path):
    # it reads kernels by their paths in the project, and writes a page where it is
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert "1_naive.cu:24 reading x touches 32 sectors a request" in capsys.readouterr().out
    names["test_the_tile_has_no_bank_conflicts"]()
    path, padded = HERE / STAGES[2].file, "tile[C][32 + 1]"
    with source.edited(path, padded, "tile[C][32]"), pytest.raises(AssertionError):
        names["test_the_tile_has_no_bank_conflicts"]()


@disassembles
def test_the_command_prints_a_stage_or_how_to_use_it(capsys):
    assert main([STAGES[2].file]) == 0
    assert "Nothing is named." in capsys.readouterr().out
    assert main(["4_faster.cu"]) == 2
    assert "python -m docs.tuning --check" in capsys.readouterr().out
