"""The page's tables of what is counted: which launch is shown, on what, and how it is put."""

import pytest

from minialex.bench import kernel_profiles
from minialex.bench.kernel_profiles import BATCH, main, per_request, profile_table, settings
from minialex.cuda import nvrtc, source
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.study.kernels import PAGE, page, profiles_due
from tests.cuda.tools import ROOT, disassembles
from tests.study.profile.made_up import row


@pytest.fixture
def small(monkeypatch):
    """Take the ops' small cases, as of an op that no network has."""
    monkeypatch.setattr(kernel_profiles, "_largest_layer", lambda op: None)


@disassembles
def test_a_table_of_a_file(small):
    first, _, *table = profile_table("relu.cu").splitlines()
    assert first.startswith("Counted on the case `")
    assert first.endswith("` of `relu`; predicted for an H100, not measured:")
    headings, _, forward, backward = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table
    )
    assert headings == kernel_profiles.HEADINGS
    launch, occupancy = "launch", "100%, warps"
    # 7 lanes have a vector each, of 4 sectors in all, and one has the last three, one by one
    assert forward[:6] == ["`relu_forward`", launch, occupancy, "1.75/1.75", "", "12%"]
    assert backward[:4] == ["`relu_backward`", launch, occupancy, "1.75/1.75"]
    for cells in forward, backward:
        assert float(cells[6]) > 2
        assert cells[7] == "<0.1"


def test_an_access_that_is_far_worse_is_named():
    x = row(1, "read", "x", requests=90)
    y = row(2, "write", "y", requests=10, sectors=16)
    assert per_request([x, y], "global", "sectors") == "5.2/4; y 16/4"
    assert per_request([x, y], "shared", "wavefronts") == ""
    # alone it is the launch, and seldom it does not matter
    assert per_request([y], "global", "sectors") == "16/4"
    seldom = row(2, "write", "y", requests=0.1, sectors=16)
    assert per_request([x, seldom], "global", "sectors") == "4.01/4"
    tile = row(3, "read", "tile", "shared", requests=8, wavefronts=2)
    assert per_request([x, tile], "shared", "wavefronts") == "2/1"


def test_what_is_run_is_the_layer_with_most_operations(monkeypatch):
    # the other networks take seconds to draw
    monkeypatch.setattr(kernel_profiles, "VARIANTS", {"alexnet-mini": VARIANTS["alexnet-mini"]})
    assert next(settings("conv2d", "tiled")).name == f"`alexnet-mini conv2d 2`, batch {BATCH}"
    # and where none has it, a small case
    assert next(settings("softmax", "kernel")).name.endswith("` of `softmax`")
    assert [one.name for one in settings("adam", "kernel")] == ["the parameters of `alexnet`"]


def test_a_routine_that_is_no_op_is_profiled():
    (setting,) = settings("tally", "kernel")
    assert [one.counts.kernel for one in setting.run().launches] == ["tally<float>", "advance"]


def test_a_kernel_that_nothing_launches_is_named(monkeypatch):
    monkeypatch.setattr(kernel_profiles, "settings", lambda routine, implementation: ())
    with pytest.raises(MinialexError, match=r"relu\.cu: nothing launches relu_forward, relu_back"):
        profile_table("relu.cu")


def test_without_a_compiler_it_says_so_and_what_is_there_stays(tmp_path, monkeypatch, capsys):
    (tmp_path / "kernels").mkdir()
    today = page(
        (ROOT / PAGE).read_text(),
        ROOT,
        compile_changed=False,
        profile=lambda files: dict.fromkeys(files, "as today"),
    )
    (tmp_path / PAGE).write_text(today)
    assert main(["--check"], tmp_path) == 2
    assert "python -m minialex.bench.kernel_profiles" in capsys.readouterr().out
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "it is not here")
    assert main([], tmp_path) == 0
    with source.edited("relu.cu", "pack[k] < 0", "pack[k] <= 0"):
        assert main([], tmp_path) == 2
    assert "error: no profile of relu.cu: it is not here" in capsys.readouterr().out
    assert profiles_due((tmp_path / PAGE).read_text()) == []
