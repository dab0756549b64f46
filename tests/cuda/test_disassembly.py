"""Machine code is read: instructions, loops, and what is counted of them."""

from __future__ import annotations

import pytest

from minialex.cuda import disassembly, nvrtc, source, toolkit
from minialex.errors import MinialexError
from tests.cuda.tools import disassembles


def listing(*lines, symbol="kernel"):
    """Return text as nvdisasm writes it, of lines like ``"again: @P0 BRA `(again)"``."""
    text = [f'\t.section\t.text.{symbol},"ax",@progbits', f".text.{symbol}:"]
    for number, line in enumerate(lines):
        label, colon, rest = line.rpartition(": ")
        if colon:
            text.append(f".L_{label}:")
        text.append(f"        /*{16 * number:04x}*/              {rest.replace('`(', '`(.L_')} ;")
    return "\n".join(text) + "\n"


def loops(*lines):
    (code,) = disassembly.parse(listing(*lines)).values()
    return [(loop.length, dict(loop.kinds)) for loop in disassembly.main_loop(code)]


NEST = (
    "MOV R1, R2",
    "outer: LDG.E.128.CONSTANT R4, desc[UR4][R2.64]",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    "inner: LDS.U.128 R8, [R1]",
    "FFMA.FTZ R4, R5, R6, R4",
    "@P0 BRA `(inner)",
    "@!P1 BRA `(outer)",
    "long: FADD R1, R1, R1",
    "FADD R1, R1, R1",
    "FADD R1, R1, R1",
    "@P0 BRA `(long)",
    "EXIT",
)


def test_the_main_loop_is_where_most_is_multiplied_and_those_around_it_follow():
    assert loops(*NEST) == [
        (3, {"LDS.128": 1, "FFMA": 1, "BRA": 1}),
        (3, {"LDG.128": 1, "BAR": 1, "BRA": 1}),
    ]


def test_without_multiplications_it_is_the_longest():
    lines = [line.replace("FFMA.FTZ", "FADD.FTZ") for line in NEST]
    assert loops(*lines) == [(4, {"FADD": 3, "BRA": 1})]


@pytest.mark.parametrize(
    ("second", "kinds"),
    [
        (["FFMA R1, R1, R1, R1", "IADD3 R1, R1, R1"], "FADD"),
        (["FFMA R1, R1, R1, R1", "IADD3 R1, R1, R1", "IADD3 R1, R1, R1"], "IADD3"),
        (["DFMA R2, R2, R2, R2", "HMMA.1688.F32 R4, R4, R4, R4"], "HMMA"),
    ],
    ids=["equal", "longer", "more"],
)
def test_of_loops_of_as_many_multiplications_the_longest_and_of_these_the_first(second, kinds):
    one = ["one: FFMA R1, R1, R1, R1", "FADD R1, R1, R1", "@P0 BRA `(one)"]
    other = [f"other: {second[0]}", *second[1:], "@P0 BRA `(other)"]
    ((_, found),) = loops(*one, *other, "EXIT")
    assert kinds in found


def test_branches_within_a_loop_belong_to_it_wherever_they_lie():
    assert loops(
        "again: ISETP.GE.AND P0, PT, R1, R2, PT",
        "@P0 BRA `(aside)",
        "back: FFMA R4, R5, R6, R4",
        "@P1 BRA `(again)",
        "EXIT",
        "aside: MUFU.RCP R4, R4",
        "BRA `(back)",
    ) == [(6, {"ISETP": 1, "BRA": 3, "FFMA": 1, "MUFU": 1})]


@pytest.mark.parametrize(
    ("jump", "length"),
    [
        ("BRA `(again)", 3),
        ("@P0 BRA `(again)", 3),
        ("BRA.U !UP0, `(again)", 3),
        ('BRX R4 -0x50 (*"BRANCH_TARGETS .L_end,.L_again"*)', 3),
        ("@P0 CALL.REL.NOINC `(again)", 3),
        ("CALL.REL.NOINC `($__internal_0_$__cuda_sm20_rcp_slowpath)", 0),
        ("BSSY B0, `(again)", 0),
        ("EXIT", 0),
    ],
)
def test_what_jumps(jump, length):
    found = loops("again: NOP", "FFMA R1, R1, R1, R1", jump, "end: EXIT", "trap: BRA `(trap)")
    assert [n for n, _ in found] == ([length] if length else [])


def test_what_follows_an_instruction():
    text = listing("@P0 EXIT", "@!UP0 RET.REL.NODEC R2 `(end)", "BRA `(end)", "end: EXIT")
    (code,) = disassembly.parse(text).values()
    assert [one.falls_through for one in code] == [True, True, False, False]
    assert [one.targets for one in code] == [(), (), (3,), ()]


def test_what_is_passed_without_some_instructions():
    # 0 leads to 1, 2 and to 3, 4; 5 is behind both
    text = listing("@P0 BRA `(b)", "NOP", "BRA `(end)", "b: NOP", "NOP", "end: EXIT", "NOP")
    (code,) = disassembly.parse(text).values()
    assert disassembly.passed(code, ()) == {0, 1, 2, 3, 4, 5}
    assert disassembly.passed(code, {4}) == {0, 1, 2, 5}
    assert disassembly.passed(code, {1, 3}) == disassembly.passed(code, {0}) == set()


def test_a_jump_that_could_go_anywhere_is_refused():
    with pytest.raises(MinialexError, match="names no target of BRX R4 -0x50"):
        disassembly.parse(listing("BRX R4 -0x50"))


def test_kinds_have_the_width_of_vectors_alone():
    opcodes = "LDG.E.128.CONSTANT", "LDG.E.64", "STS.128", "LDGSTS.E.BYPASS.128", "HMMA.1688.F32"
    kinds = disassembly.count(disassembly.Instruction(opcode) for opcode in opcodes)
    assert set(kinds) == {"LDG.128", "LDG", "STS.128", "LDGSTS", "HMMA"}


def test_what_never_executes_is_no_access_to_memory():
    """The compiler puts three such loads in front of asynchronous copies."""
    (code,) = disassembly.parse(
        listing("@!PT LDS RZ, [RZ]", "LDGSTS.E.128 [R1], [R2.64], P0", "EXIT")
    ).values()
    assert [one.kind for one in code] == ["NOP", "LDGSTS", "EXIT"]


def test_a_call_that_leaves_a_loop_is_a_jump():
    """As sm_80 to sm_89 do where a loop may be left by some threads of a warp."""
    found = loops(
        "outer: LDG.E R1, desc[UR4][R2.64]",
        "inner: FFMA R4, R5, R6, R4",
        "@P0 CALL.REL.NOINC `(left)",
        "BRA `(inner)",
        "left: @P1 BRA `(outer)",
        "EXIT",
    )
    assert found == [(3, {"FFMA": 1, "BRA": 2}), (2, {"LDG": 1, "BRA": 1})]


def test_every_kernel_has_its_own_code():
    found = disassembly.parse(listing("NOP", "EXIT") + listing("EXIT", symbol="other"))
    assert {symbol: len(code) for symbol, code in found.items()} == {"kernel": 2, "other": 1}


@disassembles
@pytest.mark.parametrize("architecture", ["sm_75", "sm_90", "sm_120"])
def test_real_code_is_read_whole(architecture, tmp_path):
    path = tmp_path / "own.cu"
    path.write_text(
        "__global__ void own(float* y, const float* x, const int n) {\n"
        "    __shared__ float4 shelf[64];\n"
        "    shelf[threadIdx.x] = reinterpret_cast<const float4*>(x)[threadIdx.x];\n"
        "    __syncthreads();\n"
        "    float sum = 0.0f;\n"
        "#pragma unroll 1\n"
        "    for (int i = 0; i < n; ++i) {\n"
        "        const float4 v = shelf[i];\n"
        "        sum = v.x * v.y + (v.z * v.w + sum);\n"
        "    }\n"
        "    y[threadIdx.x] = sum;\n"
        "}\n"
    )
    compiled = nvrtc.compiled(path, architecture)
    code = disassembly.disassemble(compiled.cubin)[compiled.symbols["own"]]
    kinds = disassembly.count(code)
    assert kinds["LDG.128"] == kinds["STS.128"] == kinds["STG"] == kinds["BAR"] == 1
    (loop,) = disassembly.main_loop(code)
    assert loop.kinds["FFMA"] == 2
    assert loop.kinds["LDS.128"] == 1
    assert loop.length < 16


@disassembles
def test_what_is_no_machine_code_is_refused():
    with pytest.raises(MinialexError, match="nvdisasm does not read this code: "):
        disassembly.disassemble(b"no ELF file")


def test_without_a_disassembler_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(toolkit, "folders", lambda: [tmp_path])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert disassembly.why_missing().endswith("pip install nvidia-cuda-nvdisasm")
    with pytest.raises(MinialexError, match="needs nvdisasm"):
        disassembly.disassemble(b"")


def test_every_instruction_has_its_source_line():
    text = listing("LDG.E R4, [R2.64]", "FFMA R4, R5, R6, R4", "EXIT").splitlines()
    text.insert(3, '\t//## File "/some/own.cu", line 7 inlined at "/some/main.cu", line 9')
    (code,) = disassembly.parse("\n".join(text)).values()
    assert [(one.file, one.line) for one in code] == [
        ("", 0),
        ("/some/own.cu", 7),
        ("/some/own.cu", 7),
    ]


@pytest.mark.parametrize(
    ("opcode", "width"),
    [
        ("LDG.E", 4),
        ("LDG.E.64.CONSTANT", 8),
        ("LDS.U.128", 16),
        ("STG.E.U16", 2),
        ("LDG.E.U8", 1),
        ("LDGSTS.E.BYPASS.LTC128B.128", 16),
        ("LDSM.16.M88.4", 16),
        ("LDSM.16.MT88.2", 8),
        ("LDSM.16.M88", 4),
    ],
)
def test_how_many_bytes_a_lane_moves(opcode, width):
    assert disassembly.Instruction(opcode).bytes == width


def test_all_loops_with_their_own_instructions_and_depth():
    (code,) = disassembly.parse(listing(*NEST)).values()
    assert [(loop.instructions, loop.depth) for loop in disassembly.loops(code)] == [
        ((1, 2, 6), 1),
        ((3, 4, 5), 2),
        ((7, 8, 9, 10), 1),
    ]


@disassembles
def test_the_machine_code_of_a_kernel_names_its_lines():
    name = "relu_forward<float>"
    code = nvrtc.compiled("relu.cu", "sm_80", [name])
    (instructions,) = disassembly.disassemble(code.cubin).values()
    lines = source.read("relu.cu").files["vectors.cuh"].splitlines()
    (store,) = {i.line for i in instructions if i.kind == "STG.128"}
    assert "make_float4(from[0]" in lines[store - 1]
