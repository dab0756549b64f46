"""The emulator's compiler: found or said to be missing, its binaries cached and never stale."""

from __future__ import annotations

import shlex
import shutil
import stat

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import cache, compiler, machine, system
from minialex.cuda.emulator.translate import translate
from minialex.errors import MinialexError

F32 = np.float32
KINDS = ("fast", "checked", "counted")


@pytest.fixture
def runtime_path():
    return compiler.runtime()


@pytest.fixture
def folder(tmp_path, monkeypatch, runtime_path):
    """An empty cache but for the runtime, which takes long to compile."""
    monkeypatch.setenv("MINIALEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "_compiled_kernels", {})
    shutil.copy(runtime_path, cache.cache_folder())
    yield cache.cache_folder()
    source.clear_cache()


def own_kernel(where, body="y[0] = 1;"):
    path = where / "own.cu"
    # it keeps the house rules, and is compiled as it is
    path.write_text(f'__global__ void own(float* y) {{ {body} }}\n#include "common.cuh"\n')
    return cuda.kernel(path, "own")


def run(kernel):
    y = np.zeros(1, F32)
    with cuda.emulated():
        kernel(1, 1, y)
    return y[0]


def binaries(folder):
    """Return the compiled kernels."""
    return {path for path in folder.iterdir() if not path.name.startswith(("runtime", "header"))}


def test_without_any_compiler_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MinialexError, match=r"no C\+\+ compiler found.*install g\+\+ or clang\+\+"):
        compiler.compiler()


@pytest.mark.parametrize("name", ["no-such-compiler", "/nowhere/g++ -m64"])
def test_cxx_that_is_no_command(monkeypatch, name):
    monkeypatch.setenv("CXX", name)
    with pytest.raises(
        MinialexError, match=f"CXX is '{name}', which is no command here".replace("+", r"\+")
    ):
        compiler.compiler()


def test_cxx_comes_first(monkeypatch, tmp_path):
    own = tmp_path / "own-compiler"
    own.write_text("#!/bin/sh\necho my own clang\n")
    own.chmod(own.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", f"{shlex.quote(str(own))} -m64")
    found = compiler.compiler()
    assert found.command == (str(own), "-m64")
    assert found.is_clang


def test_a_command_that_is_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(MinialexError, match="false --version failed"):
        compiler.compiler()


def test_other_systems_are_told_so(monkeypatch):
    monkeypatch.setattr(system.sys, "platform", "win32")
    with pytest.raises(MinialexError, match="emulated on Linux only, not on win32"):
        compiler.compiler()


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIALEX_CACHE", str(tmp_path / "a"))
    assert cache.cache_folder() == tmp_path / "a" / "emulator"
    monkeypatch.delenv("MINIALEX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.cache_folder() == tmp_path / "b" / "minialex" / "emulator"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache.cache_folder() == tmp_path / "c" / ".cache" / "minialex" / "emulator"


def test_a_cache_that_cannot_be_made_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MINIALEX_CACHE", str(tmp_path / "file"))
    with pytest.raises(MinialexError, match=r"cannot be made \(Not a directory\): set "):
        cache.cache_folder()


def test_compiled_once_then_loaded(folder, tmp_path, monkeypatch):
    kernel = own_kernel(tmp_path)
    assert run(kernel) == 1
    (made,) = binaries(folder)
    before = made.stat().st_mtime_ns
    monkeypatch.setattr(machine, "_compiled_kernels", {})
    assert run(kernel) == 1
    assert binaries(folder) == {made}
    assert made.stat().st_mtime_ns == before


def test_an_edited_kernel_is_compiled_again(folder, tmp_path):
    assert run(own_kernel(tmp_path)) == 1
    assert run(own_kernel(tmp_path, "y[0] = 2;")) == 2
    assert len(binaries(folder)) == 2


def test_an_edited_header_is_never_missed(folder, tmp_path):
    header = tmp_path / "value.cuh"
    header.write_text("#define VALUE 3\n")
    path = tmp_path / "own.cu"
    path.write_text('#include "value.cuh"\n__global__ void own(float* y) { y[0] = VALUE; }\n')
    kernel = cuda.kernel(path, "own")
    assert run(kernel) == 3
    header.write_text("#define VALUE 4\n")
    assert run(kernel) == 4


def test_an_edited_common_header_is_never_missed(folder, tmp_path):
    kernel = own_kernel(tmp_path, "y[0] = WARP_SIZE;")
    assert run(kernel) == 32
    with cuda.edited(
        "common.cuh", "constexpr int WARP_SIZE = 32;", "constexpr int WARP_SIZE = 31;"
    ):
        assert run(kernel) == 31
    assert run(kernel) == 32


def test_the_emulators_own_headers_and_flags_count(monkeypatch):
    tool = compiler.compiler()
    key = compiler._key(tool, ("-O2", "-I/somewhere"), "text")
    assert key == compiler._key(tool, ("-O2", "-I/elsewhere"), "text")
    assert key != compiler._key(tool, ("-O1",), "text")
    assert key != compiler._key(tool, ("-O2",), "text", compiler._texts(compiler._INCLUDE))
    assert key != compiler._key(compiler.Compiler(tool.command, "newer"), ("-O2",), "text")


def test_an_error_names_the_kernels_own_file_and_line(folder, tmp_path):
    path = tmp_path / "own.cu"
    path.write_text("__global__ void own(float* y) {\n    y[0] = nothing;\n}\n")
    with pytest.raises(cuda.EmulationError, match=r"own does not compile:\n .*nothing") as caught:
        run(cuda.kernel(path, "own"))
    error = caught.value
    assert (error.kind, error.line, error.array, error.index) == ("compile", 2, "", -1)
    assert error.file.endswith("own.cu")
    assert not binaries(folder)


def test_local_variables_beyond_a_threads_stack_are_refused(folder, tmp_path):
    body = "volatile int big[40000]; for (int i = 0; i < 40000; ++i) big[i] = i; y[0] = big[7];"
    with pytest.raises(cuda.EmulationError, match=r"is larger than|exceeds limit"):
        run(own_kernel(tmp_path, body))


def test_nothing_but_whole_binaries_is_left_in_the_cache(folder, tmp_path):
    run(own_kernel(tmp_path))
    left = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".so"]
    gcc = not compiler.compiler().is_clang
    assert [p.name for p in left] == ["emulator.h.gch"] * gcc


def flip_a_byte(path):
    """Damage a file as a disk does; loaded ones keep what they mapped."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_what_is_damaged_is_compiled_again_and_never_loaded(folder, tmp_path, monkeypatch):
    kernel = own_kernel(tmp_path)
    assert run(kernel) == 1
    files = [path for path in folder.rglob("*") if path.suffix in (".so", ".gch")]
    whole = {path: path.read_bytes() for path in files}
    for path in files:
        flip_a_byte(path)
    monkeypatch.setattr(machine, "_compiled_kernels", {})
    # the runtime, which is in this process already, is not looked at again
    monkeypatch.setattr(compiler, "_runtimes", dict(compiler._runtimes))
    compiler.load.cache_clear()
    assert run(kernel) == 1
    assert all(cache.is_whole(path) for path in files if not path.name.startswith("runtime"))
    assert {path.name for path in whole} == {p.name for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "said",
    [
        "g++: fatal error: Killed signal terminated program cc1plus",
        "cc1plus: fatal error: error writing to /tmp/x.s: No space left on device",
        "",
    ],
)
def test_a_compiler_that_fails_is_not_the_kernels_fault(folder, tmp_path, monkeypatch, said):
    runtime = compiler.runtime()
    monkeypatch.setattr(compiler, "runtime", lambda: runtime)
    own = tmp_path / "failing"
    own.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "{said}" >&2\nexit 1\n')
    own.chmod(0o700)
    monkeypatch.setenv("CXX", str(own))
    with pytest.raises(MinialexError, match="failing failed, which is no fault of own") as caught:
        run(own_kernel(tmp_path))
    assert not isinstance(caught.value, cuda.EmulationError)
    assert said in str(caught.value)


def test_a_disk_from_which_nothing_may_run_is_named(tmp_path):
    (tmp_path / "x.so").write_text("no library")
    with pytest.raises(MinialexError, match=r"cannot load a compiled kernel.*set MINIALEX_CACHE"):
        compiler.load(tmp_path / "x.so")


def test_where_the_header_cannot_be_precompiled_kernels_are_compiled_without(
    folder, tmp_path, monkeypatch
):
    real = compiler._make

    def make(path, steps, text, what, *note):
        if what == "the emulator's header":
            raise MinialexError("the disk is full")
        real(path, steps, text, what, *note)

    monkeypatch.setattr(compiler, "_make", make)
    assert run(own_kernel(tmp_path)) == 1
    assert not list(folder.rglob("*.gch"))


def test_an_older_gcc_is_given_no_flag_that_it_does_not_know():
    old = compiler.Compiler(("g++",), "g++ (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0")
    assert not [flag for flag in compiler._build_flags(old, "checked") if "volatile" in flag]


def test_clang_is_given_no_flags_that_gcc_alone_knows(folder):
    gcc, clang = (compiler.Compiler((name,), f"{name} 19.1") for name in ("g++", "clang++"))
    ours, theirs = (
        {
            *compiler._kernel_flags(tool),
            *(flag for kind in KINDS for flag in compiler._build_flags(tool, kind)),
        }
        for tool in (gcc, clang)
    )
    stack = "-Werror=frame-larger-than"
    assert theirs - ours == {
        *("-gline-tables-only", "-mllvm", "-tsan-instrument-read-before-write"),
        *("-tsan-instrument-atomics=0", "-simplifycfg-sink-common=false"),
        *("-simplifycfg-hoist-common=false", "-simplifycfg-hoist-cond-stores=false"),
        "-simplifycfg-merge-cond-stores=false",
        *("-enable-tail-merge=0", "-disable-loop-idiom-memcpy", "-tsan-distinguish-volatile"),
        *(stack, "-ffp-contract=on", "-fno-vectorize", "-fno-slp-vectorize"),
        *("-fsanitize-coverage=no-prune", "-fno-unroll-loops", "-fno-finite-loops"),
        *("-fsanitize=array-bounds", "-tsan-distinguish-volatile"),
    }
    counted = compiler._build_flags(clang, "counted")
    # clang takes -O2 behind it for a wish to vectorise
    assert counted.index("-O2") < counted.index("-fno-slp-vectorize")
    assert ours - theirs == {
        *(f"{stack}={96 * 1024}", "-fno-gnu-unique", "-ffp-contract=fast"),
        *("-fno-tree-vectorize", "-fno-tree-pre", "-fpeel-loops"),
        *("-fno-tree-sra", "-fno-var-tracking", "-fexpensive-optimizations"),
        *("-fno-schedule-insns2", "-fno-thread-jumps", "-fno-tree-ch"),
        *("-fno-ipa-icf", "-fsanitize=bounds", "--param=tsan-distinguish-volatile=1"),
        *("-fno-tree-cselim", "-fno-code-hoisting", "-fno-hoist-adjacent-loads"),
    }
    before = sorted(folder.iterdir())
    assert compiler._precompiled_header(clang, ()) is None
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "flags"),
    [
        ("x86_64", "model\t: x\nflags\t\t: fpu avx avx2 fma sse\n", ("-mavx2", "-mfma")),
        ("AMD64", "flags : fma avx2", ("-mavx2", "-mfma")),
        ("x86_64", "flags\t\t: fpu avx avx2 sse\nbugs : fma", ()),
        ("x86_64", "no such line", ()),
        ("x86_64", None, ()),
        ("aarch64", "flags : avx2 fma", ()),
    ],
)
def test_a_processor_is_asked_for_what_it_has_alone(monkeypatch, machine, cpuinfo, flags):
    def read_text(path):
        if cpuinfo is None:
            raise PermissionError
        return cpuinfo

    monkeypatch.setattr(system.platform, "machine", lambda: machine)
    monkeypatch.setattr(system.Path, "read_text", read_text)
    assert system.processor_flags.__wrapped__() == flags


def test_a_runtime_of_other_structures_is_refused(monkeypatch, runtime_path):
    monkeypatch.setattr(compiler, "_runtimes", {})
    monkeypatch.setattr(compiler, "SHARED_STRUCTURES", compiler.SHARED_STRUCTURES[::-1])
    with pytest.raises(MinialexError, match=r"interface\.py and runtime\.h disagree: \["):
        compiler.load_runtime(runtime_path)
    assert not compiler._runtimes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "__shared__ float a[4][T + 1];",
            'auto& a = *emu::shared<float[4][T+1]>("a", alignof(float[4][T+1]), [] {});',
        ),
        (
            "__shared__ unsigned char a[2], b;",
            'auto& a = *emu::shared<unsigned char[2]>("a", alignof(unsigned char[2]), [] {}); '
            'auto& b = *emu::shared<unsigned char>("b", alignof(unsigned char), [] {});',
        ),
        (
            "__shared__ alignas(16) T a[4];",
            'auto& a = *emu::shared<T[4]>("a", size_t(16), [] {});',
        ),
        (
            "extern __shared__ __align__(sizeof(double)) char raw[];",
            'auto* const raw = emu::dynamic_shared<char>("raw");',
        ),
        (
            "__shared__ typename Accumulator<T>::type\n  a[4];",
            "auto& a = *emu::shared<typename Accumulator<T>::type[4]>"
            '("a", alignof(typename Accumulator<T>::type[4]), [] {});\n',
        ),
        (
            "__shared__ float a[2 *\n3],\nb;",
            'auto& a = *emu::shared<float[2*3]>("a", alignof(float[2*3]), [] {}); '
            'auto& b = *emu::shared<float>("b", alignof(float), [] {});\n\n',
        ),
        ("// __shared__ float a[4];", " " * 25),
    ],
)
def test_shared_memory_is_rewritten_in_place(text, expected):
    body, _, _ = translate(f"void f() {{ {text}\n}}", []).partition("#line")
    assert body == f"void f() {{ {expected}\n}}"


def test_each_instantiation_gets_an_entry():
    assert translate("", ["a", "b<float, 1>"]).splitlines()[1:] == [
        "EMU_ENTRY(emu_entry_0, a)",
        "EMU_ENTRY(emu_entry_1, b<float, 1>)",
    ]
