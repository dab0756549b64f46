"""Declarations in their many spellings compile in every mode, and what is missing is told."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.emulator import system
from minialex.cuda.emulator.shared_declarations import translate_shared
from tests.cuda.tools import kernel

F32, I32 = np.float32, np.int32
MODES = ["fast", "checked", "counted"]
T = np.arange(32)


def launch(file, name, *args, mode, **options):
    with cuda.emulated(mode):
        kernel(file, name)(1, 32, *args, **options)


@pytest.mark.parametrize("mode", MODES)
def test_shared_memory_in_every_spelling(mode):
    y = np.zeros(32, F32)
    launch("spellings.cu", "shared_arrays", T.astype(I32), y, mode=mode, shared=128)
    assert y.tolist() == (1 + T + T // 4 * 4 + T + T + 31 - T + 3).tolist()


@pytest.mark.parametrize("mode", MODES)
def test_functions_and_variables_in_every_spelling(mode):
    y = np.zeros(32, F32)
    launch("spellings.cu", "names", T.astype(I32), y, mode=mode)
    assert y.tolist() == (T + 32 + 2 + 1 + 2 + 2 + 3 + 3 + 2 + 1 + 4 + 8 + 5).tolist()


@pytest.mark.parametrize("mode", MODES)
def test_functions_that_are_inlined_are_passed_as_values(mode):
    y = np.zeros(32, F32)
    launch("function_values.cu", "values", T.astype(F32), y, mode=mode)
    assert y.tolist() == (6 * T + 1 + 6 * T + 1 + 26 * T + 4 * T + 558 + 5 * T).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__shared__ float (*a)[4];", "emu::shared<float(*)[4]>"),
        ("__shared__ T* a;", "emu::shared<T*>"),
        ("volatile __shared__ int a;", "emu::shared<volatile int>"),
        ("__shared__ struct { int n; } a;", "struct emu_a_type { int n ; }; auto& a = "),
        ("extern __shared__ int a[][4];", "auto* const a = emu::dynamic_shared<int[4]>("),
        ("static __shared__ __align__(2 * N) char a[3];", ", size_t(2*N), [] {});"),
        ("#define BOX(a) __shared__ int a[2];\n", "#define BOX(a) auto& a = *emu::shared<int[2]>"),
    ],
)
def test_a_declaration_of_shared_memory_is_rewritten(text, expected):
    body = f"void f() {{\n{text}}}"
    assert expected in translate_shared(body)
    assert translate_shared(body).count("\n") == body.count("\n")


@pytest.mark.parametrize("text", ["__shared__ int a = 3;", "__shared__", "// none"])
def test_what_is_no_declaration_of_shared_memory_stays(text):
    assert translate_shared(f"void f() {{ {text} }}") == f"void f() {{ {text} }}"


def test_shared_memory_at_file_scope_is_declared_where_it_is_used():
    text = "__shared__ int a[2], b;\nvoid f() { *a = 1; }\nvoid g(int a) { a = b; }\nvoid h() {}"
    assert translate_shared(text).splitlines() == [
        "struct emu_shared_a {}; struct emu_shared_b {};",
        'void f() {auto& a = *emu::shared<int[2]>("a", alignof(int[2]), emu_shared_a()); *a = 1; }',
        'void g(int a) {auto& b = *emu::shared<int>("b", alignof(int), emu_shared_b()); a = b; }',
        "void h() {}",
    ]


def compile_error(tmp_path, text):
    path = tmp_path / "own.cu"
    path.write_text(text)
    with cuda.emulated(), pytest.raises(cuda.EmulationError) as info:
        cuda.kernel(path, "own")(1, 1, np.zeros(1, F32))
    return info.value


def test_what_is_declared_and_not_defined_is_told_in_one_line(tmp_path):
    error = compile_error(
        tmp_path,
        "__device__ float scale(const float*, int);\n"
        "__global__ void own(float* y) { y[0] = scale(y, 1); }\n",
    )
    assert str(error) == (
        "own does not compile: scale(float const*, int) is declared but not defined"
    )
    assert (error.kind, error.kernel) == ("compile", "own")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("/bin/ld: a.cu:(.text+0xa): undefined reference to `f(int)'", ["f(int)"]),
        ("a.o:a.cu:function g: error: undefined reference to 'f(int)'", ["f(int)"]),
        ("ld.lld: error: undefined symbol: f(int)\n>>> referenced by a.cu", ["f(int)"]),
        ("ld.lld: error: undefined hidden symbol: table\n", ["table"]),
        ("undefined reference to `f'\nundefined reference to `f'", ["f"]),
        ("a.cu:3:1: error: 'f' was not declared", []),
    ],
)
def test_every_linker_is_understood(said, expected):
    assert system.undefined_symbols(said) == expected


@pytest.mark.parametrize("header", ["", "#include <assert.h>\n", "#include <cassert>\n"])
@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_the_hosts_assert_does_not_win(tmp_path, header, mode):
    path = tmp_path / "own.cu"
    path.write_text(header + "__global__ void own(float* y) { assert(y[0] != 0 && y[0] < 9); }\n")
    with cuda.emulated(mode):
        cuda.kernel(path, "own")(1, 1, np.ones(1, F32))
        with pytest.raises(
            cuda.EmulationError, match=r"assert\(y\[0\] != 0 && .*\) failed"
        ) as info:
            cuda.kernel(path, "own")(1, 1, np.zeros(1, F32))
    assert (info.value.kind, info.value.line) == ("trap", 1 + header.count("\n"))
