"""The page about the kernels: that it is up to date, and that it would tell if it were not."""

import functools
import json
from pathlib import Path

import pytest

from minialex import cuda
from minialex.arrays import CPU
from minialex.autograd import OPS, ROUTINES
from minialex.bench import kernel_profiles
from minialex.check.case import cast
from minialex.check.cases import CASES
from minialex.cuda import nvrtc, source
from minialex.cuda.signature import signatures
from minialex.errors import MinialexError
from minialex.study import kernels
from minialex.study.kernel_uses import default_kernels, kernels_of, uses

ROOT = Path(__file__).parents[2]
RELU = "relu.cu", "relu_forward"


def page(before=None, root=ROOT):
    before = (ROOT / kernels.PAGE).read_text() if before is None else before
    return kernels.page(before, root, compile_changed=False)


def test_the_page_is_up_to_date(capsys):
    assert kernels.main(["--check"], ROOT) == 0, capsys.readouterr().out


def test_every_kernel_is_used_and_on_the_page():
    every = {(f, name) for f in source.kernel_files() for name in signatures(source.read(f))}
    assert set(uses()) == every
    text = page()
    for file, name in every:
        row, counted = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert "?" not in row.split(" | ")[3], f"{file}: the registers of {name} are not known"
        assert len(counted.split(" | ")) == len(kernel_profiles.HEADINGS)


# cuDNN's kernels are its own, and run on a GPU alone
KERNELS = [
    (op, name)
    for op, record in OPS.items()
    for name, one in record.implementations.items()
    if one.why_not(CPU) and name != "cudnn"
]


@pytest.mark.parametrize(("op", "name"), KERNELS)
def test_what_is_launched_was_found(op, name):
    implementation, case = OPS[op].implementations[name], CASES[op][0]
    found = {kernel for _, kernel in kernels_of(implementation)}
    inputs = cast(case.draw(op), implementation.dtypes[0])
    with cuda.emulated() as emulation:
        y, saved = implementation.forward(*inputs, **case.params)
        implementation.backward(y, saved, **case.params)
    assert {launch.partition("<")[0] for launch in emulation.launches} <= found


def test_defaults_are_those_of_the_routines():
    found = default_kernels()
    assert RELU in found
    assert ("conv2d_implicit_gemm.cu", "conv2d_forward_implicit_gemm") in found
    assert ("conv2d.cu", "conv2d_forward_naive") not in found
    assert all(kernels_of(r.implementations[r.kernel]) <= found for r in ROUTINES.values())


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [("pack[k] < 0", "pack[k] <= 0", "code"), ("The idea: max(x, 0)", "The idea: that", "idea")],
)
def test_a_changed_kernel_makes_it_stale(old, new, differs):
    before = page()
    with source.edited("relu.cu", old, new):
        assert page() != before, differs


def test_a_changed_comment_needs_no_compiler(monkeypatch):
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "it is not here")
    before = (ROOT / kernels.PAGE).read_text()
    with source.edited("relu.cu", "The idea: max(x, 0)", "The idea: that"):
        assert "The idea" not in kernels.page(before, ROOT, compile_changed=True)
    with (
        source.edited("relu.cu", "pack[k] < 0", "pack[k] <= 0"),
        pytest.raises(MinialexError, match=r"relu\.cu has changed, .*: it is not here"),
    ):
        kernels.page(before, ROOT, compile_changed=True)


def test_what_was_counted_is_kept_until_the_code_has_changed(tmp_path, capsys):
    asked = []

    def count(files):
        asked.append(list(files))
        return dict.fromkeys(files, "| as counted today |")

    before = (ROOT / kernels.PAGE).read_text()
    before = kernels.page(
        before, ROOT, compile_changed=False, profile=lambda files: dict.fromkeys(files, "")
    )
    with source.edited("relu.cu", "The idea: max(x, 0)", "The idea: that"):
        kernels.page(before, ROOT, compile_changed=False, profile=count)
    with source.edited("relu.cu", "pack[k] < 0", "pack[k] <= 0"):
        assert kernels.profiles_due(before) == ["relu.cu"]
        (tmp_path / "kernels").mkdir()
        (tmp_path / kernels.PAGE).write_text(before)
        assert kernels.main(["--check"], tmp_path) == 1
        assert "counted of relu.cu is out of date: python -m minialex.bench.kernel_profiles" in (
            capsys.readouterr().out
        )
        text = kernels.page(before, ROOT, compile_changed=False, profile=count)
        assert kernels.profiles_due(text) == []
        # it stays where the page is written without counting
        assert kernels.page(text, ROOT, compile_changed=False) == text
    assert asked == [[], ["relu.cu"]]
    assert text.count("| as counted today |") == 1
    assert text.count("| `relu_forward` |") == 1
    assert text.count(kernels.PROFILED) == before.count(kernels.PROFILED)


def write(root, **record):
    folder = root / "tests" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"relu.cu: relu_forward": record.pop("counts", {"passed": 3, "failed": 0})}
    record = {
        "emulated": False,
        "device": "a card",
        "date": "2026-01-02",
        "kernels": counts,
    } | record
    (folder / f"{record['device']}.json").write_text(json.dumps(record))


def row(text):
    return next(line for line in text.splitlines() if line.startswith("| `relu_forward` |"))


def test_records_say_what_kernels_were_tried_on(tmp_path):
    assert row(page(root=tmp_path)).endswith("| not recorded | not run on a GPU |")
    write(tmp_path)
    assert row(page(root=tmp_path)).endswith("| not recorded | a card, 2026-01-02: 3 passed |")
    write(tmp_path, device="emulator", emulated=True, counts={"passed": 2, "failed": 1})
    assert "| 2026-01-02: 2 passed, **1 failed** | a card," in row(page(root=tmp_path))


def test_a_record_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "tests" / "results").mkdir(parents=True)
    (tmp_path / "tests" / "results" / "x.json").write_text("{}")
    assert kernels.main([], tmp_path) == 2
    assert "error: x.json is no record of tests/device.sh" in capsys.readouterr().out


def test_the_command_checks_and_writes(tmp_path, capsys):
    (tmp_path / "kernels").mkdir()
    (tmp_path / kernels.PAGE).write_text((ROOT / kernels.PAGE).read_text())
    write(tmp_path)
    assert kernels.main(["--check"], tmp_path) == 1
    assert "kernels/README.md: out of date: python -m minialex" in capsys.readouterr().out
    assert kernels.main([], tmp_path) == 0
    assert kernels.main(["--check"], tmp_path) == 0
    assert kernels.main(["--chekc"], tmp_path) == 2


def test_registers_and_spills_in_short():
    def usage(kernel, architecture, registers, spilled=0):
        return nvrtc.Usage(kernel, architecture, registers, spilled, spilled, spilled, 0)

    taken = [
        usage("f<float, 4>", "sm_70", 20),
        usage("f<float, 8>", "sm_70", 24, 16),
        usage("f<double, 8>", "sm_70", 40),
        usage("f<float, 4>", "sm_90a", 30),
    ]
    assert kernels._registers(taken) == "24 (70), 30 (90a)"
    assert kernels._registers(taken[:1]) == "20"
    assert kernels._spills(taken) == "float, 8: 16 (70)"
    assert kernels._spills(taken[:1]) == "none"


def test_compiled_figures_are_those_of_every_instance_on_every_architecture(monkeypatch):
    def usage(file, architecture):
        assert file == "relu.cu"
        more = 4 * (architecture == "sm_90")
        yield nvrtc.Usage("f<float>", architecture, 20 + more, 0, 0, 0, 0)
        yield nvrtc.Usage("g<float, 2>", architecture, 30, 8, 8, 8, 0)

    monkeypatch.setattr(nvrtc, "why_missing", lambda: None)
    monkeypatch.setattr(nvrtc, "version", lambda: "12.9")
    monkeypatch.setattr(nvrtc, "architectures", lambda file: ["sm_80", "sm_90"])
    monkeypatch.setattr(nvrtc, "usage", usage)
    found = kernels.compiled("relu.cu")
    assert found.cells == {
        "f": ("20 (80), 24 (90)", "none"),
        "g": ("30", "float, 2: 8 (80), 8 (90)"),
    }
    assert (found.version, found.digest) == ("12.9", kernels.code_digest("relu.cu"))
    # and they are found again on the page
    monkeypatch.setattr(kernels, "compiled", lambda file: found)
    names = {"relu_forward": found.cells["f"], "relu_backward": found.cells["g"]}
    figures = kernels.Figures(found.version, found.digest, names)
    section = kernels._section("relu.cu", figures, {}, {}, {})
    section += f"{kernels.PROFILED} 12.9, code 0 -->\n| `f` | not | of | the | compiler |"
    assert kernels._kept(f"intro\n{section}") == {"relu.cu": figures}


def test_kernels_are_found_behind_partial_functions_methods_and_defaults():
    one, two = (cuda.kernel("relu.cu", name) for name in ("relu_forward", "relu_backward"))
    every = {(str(k.file), k.name) for k in (one, two)}

    class Holder:
        def __init__(self):
            self.kernel = one

        def method(self, kernel=two):
            return self.kernel, kernel

    def function(kernel=one, *, other=two):
        return kernel, other

    function.__module__ = "minialex.made_up"
    assert kernels_of(function) == every
    assert kernels_of(functools.partial(print, one, sep=two)) == every
    function.__module__ = "elsewhere"
    assert kernels_of(function) == set()
    assert kernels_of([{"a": (one, {two})}]) == every
    assert kernels_of(Holder()) == set()
    Holder.method.__module__ = Holder.__module__ = "minialex.made_up"
    assert kernels_of(Holder().method) == kernels_of(Holder) == {("relu.cu", "relu_backward")}


def test_the_check_compiles_nothing_and_the_command_what_has_changed(tmp_path, monkeypatch, capsys):
    (tmp_path / "kernels").mkdir()
    (tmp_path / kernels.PAGE).write_text((ROOT / kernels.PAGE).read_text())
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "it is not here")
    with source.edited("relu.cu", "pack[k] < 0", "pack[k] <= 0"):
        assert kernels.main(["--check"], tmp_path) == 1
        assert "out of date" in capsys.readouterr().out
        assert kernels.main([], tmp_path) == 2
        assert "relu.cu has changed, " in capsys.readouterr().out
