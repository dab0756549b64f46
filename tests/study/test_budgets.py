"""The budgets of machine code: that they are those of today's kernels, and what they must show."""

from pathlib import Path

import pytest

from minialex.cuda import disassembly, nvrtc, source
from minialex.study import budgets
from minialex.study.kernel_uses import default_kernels
from tests.cuda.tools import disassembles

ROOT = Path(__file__).parents[2]
KEPT = budgets.read(ROOT)
FP32_REGISTER_BLOCK = 64
"""Multiplications of a thread for one k: 8 rows of 8 columns."""


def every_line():
    """Yield version, file, kernel, architecture and the rest of each line."""
    for version, sections in KEPT.items():
        for file, section in sections.items():
            for key, said in budgets.lines(section).items():
                kernel, _, architecture = key.rpartition(" ")
                yield version, file, kernel, architecture, said


def test_both_generations_of_nvrtc_have_budgets():
    assert {version.partition(".")[0] for version in KEPT} == {"12", "13"}
    assert all(sorted(sections) == source.kernel_files() for sections in KEPT.values())


def test_they_are_those_of_todays_code(capsys):
    assert budgets.main(["--check"], ROOT) == 0, capsys.readouterr().out


@pytest.mark.parametrize("version", KEPT)
@pytest.mark.parametrize("file", source.kernel_files())
def test_every_float_instance_has_a_line_for_every_architecture(file, version):
    kernels = {name for name in nvrtc.instances(file) if "double" not in name}
    there = [key.rpartition(" ") for key in budgets.lines(KEPT[version][file])]
    architectures = {architecture for _, _, architecture in there}
    assert {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"} <= architectures
    assert {(kernel, architecture) for kernel, _, architecture in there} == {
        (kernel, architecture) for kernel in kernels for architecture in architectures
    }


def test_what_runs_by_default_leaves_no_number_in_local_memory():
    default = default_kernels()
    tried = 0
    for *where, said in every_line():
        _, file, kernel, _ = where
        if (file, kernel.partition("<")[0]) in default:
            takes = budgets.numbers(said)
            assert takes["spills"] == takes["stack"] == 0, where
            assert not {"LDL", "STL"} & takes.keys(), where
            tried += 1
    assert tried > 100


def test_only_sm_70_is_not_read():
    unread = {architecture for *_, architecture, said in every_line() if said.endswith("unread")}
    assert unread <= {"sm_70"}
    assert not any(disassembly.is_readable(architecture) for architecture in unread)


def test_implicit_gemm_multiplies_from_vectors():
    """Of 16 bytes each: 4 of them bring the 16 numbers for the 64 multiplications of one k."""
    tried = 0
    for *where, said in every_line():
        if "_implicit_gemm<float" in where[2] and not said.endswith("unread"):
            takes = budgets.numbers(said)
            steps, rest = divmod(takes["FFMA"], FP32_REGISTER_BLOCK)
            assert (rest, takes["LDS.128"]) == (0, 4 * steps), where
            assert 8 % steps == 0, where
            assert takes["FFMA"] / takes["loop"] > 0.85, where
            assert not {"LDS", "LDG", "MUFU", "CALL", "BAR"} & takes.keys(), where
            assert takes["around BAR"] == 1, where
            tried += 1
    assert tried >= 9 * 12


def test_the_numbers_of_a_line_by_name():
    said = "registers=9 code=48 LDL=1 loop=20 FFMA=8 LDS.128=2 around=11 BAR=1 LDS.128=3"
    assert budgets.numbers(said) == {
        **{"registers": 9, "code": 48, "LDL": 1, "loop": 20, "FFMA": 8, "LDS.128": 2},
        **{"around": 11, "around BAR": 1, "around LDS.128": 3},
    }


def test_a_line_has_the_code_of_a_kernel_without_loops_and_the_loops_of_others():
    def line(*opcodes, back=()):
        code = [disassembly.Instruction(opcode) for opcode in opcodes]
        code += [disassembly.Instruction("BRA", (place,)) for place in back]
        return budgets._line(nvrtc.Usage("f<float>", "sm_90", 9, 4, 4, 8, 64), code)

    takes = "registers=9 spills=4 stack=8 shared=64"
    assert line("LDG.E.128", "STL", "LDG.E.128") == f"{takes} code=3 STL=1 LDG.128=2"
    assert line("LDG.E", "BAR.SYNC", "FFMA", "FFMA", "FADD", back=(2, 1)) == (
        f"{takes} code=7 loop=4 FFMA=2 around=2 BAR=1"
    )
    assert line("FADD", back=(0,)) == f"{takes} code=2 loop=2"
    unread = nvrtc.Usage("f<float>", "sm_70", 9, 4, 4, 8, 64)
    assert budgets._line(unread, None) == f"{takes} unread"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A source tree whose only kernels are relu's, with budgets for one architecture."""
    monkeypatch.setattr(source, "kernel_files", lambda: ["relu.cu"])
    monkeypatch.setattr(budgets, "architectures", lambda file, version: ["sm_90"])
    assert budgets.main([nvrtc.version()], tmp_path) == 0
    return tmp_path


@disassembles
def test_the_command_writes_what_has_changed_and_checks(small, capsys):
    (path,) = (small / budgets.FOLDER).iterdir()
    text = path.read_text()
    assert budgets.read(small)[nvrtc.version()]["relu.cu"] in text
    assert "\nrelu_forward<float> sm_90: registers=" in text
    assert budgets.main(["--check"], small) == 0
    path.write_text(text.replace(", code ", ", code 0"))
    assert budgets.main(["--check"], small) == 1
    assert "relu.cu has changed: python -m minialex.study.budgets" in capsys.readouterr().out
    assert budgets.main([], small) == 0
    assert path.read_text() == text


@disassembles
def test_lines_are_kept_while_the_code_is_and_measured_anew_where_asked(small):
    (path,) = (small / budgets.FOLDER).iterdir()
    text = path.read_text()
    path.write_text(text.replace("registers=", "registers=9"))
    assert budgets.main([], small) == 0
    assert path.read_text() != text
    assert budgets.main([nvrtc.version()], small) == 0
    assert path.read_text() == text


@disassembles
def test_an_edit_shows_as_a_line_of_that_kernel(small):
    before = budgets.lines(budgets.read(small)[nvrtc.version()]["relu.cu"])
    with source.edited("relu.cu", "pack[k] < 0", "tan(pack[k]) < 0"):
        after = budgets.budget(nvrtc.compiled("relu.cu", "sm_90"), "sm_90")
    assert [key for key in after if after[key] != before[key]] == [
        "relu_forward<float> sm_90",
        "relu_forward<__nv_bfloat16> sm_90",
    ]


@pytest.mark.parametrize("words", [["--chekc"], ["--check", "12.9"]])
def test_words_that_are_none_of_its_own(words, capsys, tmp_path):
    assert budgets.main(words, tmp_path) == 2
    assert "python -m minialex.study.budgets --check" in capsys.readouterr().out


@disassembles
def test_an_nvrtc_that_is_not_at_hand_is_named_and_the_others_are_done(small, capsys):
    (path,) = (small / budgets.FOLDER).iterdir()
    text = path.read_text()
    stale = text.replace(", code ", ", code 0")
    path.write_text(stale)
    other = path.with_name("nvrtc-1.0.txt")
    other.write_text(stale)
    capsys.readouterr()
    assert budgets.main([], small) == 2
    assert (path.read_text(), other.read_text()) == (text, stale)
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.startswith("error: NVRTC 1.0 is not installed, which kernels/budgets/nvrtc-1.0.txt")


def test_without_a_disassembler_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(disassembly, "why_missing", lambda: "it is not here")
    monkeypatch.setattr(nvrtc, "versions", lambda: ["12.9"])
    assert budgets.main(["12.9"], tmp_path) == 2
    assert capsys.readouterr().out == "error: it is not here\n"
