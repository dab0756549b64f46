"""NVRTC compiles kernels of every file, on any machine.

For one architecture, drawn for each file, whose machine code is read, and for the oldest or the
newest; of a file of many instances some, drawn, for one alone. ``tests/campaigns``, and with it CI,
goes through them all.
"""

from __future__ import annotations

import random

import pytest

from minialex.cuda import disassembly, nvrtc, source, toolkit
from minialex.cuda.compiler_text import for_nvrtc
from minialex.errors import MinialexError
from minialex.study import budgets
from tests.cuda.tools import (
    KERNELS,
    ROOT,
    UNREADABLE,
    assert_compiles,
    assert_within_budget,
    compiles,
)

MAX_INSTANCES_COMPILED = 16
"""Instances of a file that are all compiled here."""

OWN = sorted(KERNELS.glob("*.cu"))
FILES = [*source.kernel_files(), *OWN]


@compiles
def test_the_architectures_are_known():
    assert {"sm_80", "sm_90", "sm_90a"} <= set(nvrtc.architectures())
    assert set(nvrtc.architectures()) <= set(nvrtc.ARCHITECTURES)


def architectures(file, version):
    """Return the drawn one, and all to try: the oldest or the newest where instances are few."""
    every, count = nvrtc.architectures(file, version), len(nvrtc.instances(file))
    read = [name for name in budgets.architectures(file, version) if disassembly.is_readable(name)]
    rng = random.Random(file + version)
    drawn, end = rng.choice(read), rng.choice([every[0], every[-1]])
    return drawn, {drawn, end} if count <= MAX_INSTANCES_COMPILED else {drawn}


def instances(file):
    """Return those to compile: a drawn third where there are many."""
    every = nvrtc.instances(file)
    if len(every) <= MAX_INSTANCES_COMPILED:
        return every
    drawn = random.Random(file).sample(range(len(every)), len(every) // 3)
    return [every[i] for i in sorted(drawn)]


@compiles
@pytest.mark.parametrize("version", nvrtc.versions())
@pytest.mark.parametrize("file", source.kernel_files())
def test_every_kernel_compiles(file, version):
    drawn, tried = architectures(file, version)
    some = instances(file)
    compiled = {name: assert_compiles(file, name, version, some) for name in tried}
    if UNREADABLE or version not in budgets.read(ROOT):
        pytest.skip(UNREADABLE or f"kernels/budgets has none of NVRTC {version}")
    # the code of one instance depends on those that it is compiled with
    if some == nvrtc.instances(file):
        assert_within_budget(file, drawn, version, compiled[drawn])


@compiles
@pytest.mark.parametrize("architecture", ["sm_70", "sm_90", "sm_120"])
def test_elementwise_kernels_leave_registers_for_all_threads(architecture):
    for usage in nvrtc.usage("relu.cu", architecture):
        # of 32, with which a multiprocessor has all of its threads
        assert usage.registers <= 32
        assert usage.spill_stores == usage.spill_loads == usage.stack == usage.shared == 0


@compiles
@pytest.mark.parametrize("architecture", ["sm_70", "sm_90", "sm_120"])
@pytest.mark.parametrize("file", ["rmsprop.cu", "sgd.cu", "adam.cu", "prepare.cu"])
def test_no_number_of_an_update_or_a_pixel_leaves_the_registers(file, architecture):
    for usage in nvrtc.usage(file, architecture):
        # 1024 threads of 64 registers each are all that a multiprocessor has
        assert usage.registers <= 64
        assert usage.spill_stores == usage.spill_loads == usage.stack == 0


@compiles
@pytest.mark.parametrize("file", OWN, ids=lambda path: path.name)
def test_what_the_emulator_is_tested_on_is_cuda(file):
    for architecture in (nvrtc.architectures(file)[0], "sm_90"):
        assert len(nvrtc.usage(file, architecture)) == len(nvrtc.instances(file))


@compiles
def test_usage_tells_shared_memory():
    (usage,) = nvrtc.usage(KERNELS / "features.cu", "sm_80", ["transpose<double>"])
    assert usage.shared == 8 * 9 * 8
    assert usage.architecture == "sm_80"


@compiles
def test_an_error_names_file_and_line(tmp_path):
    path = tmp_path / "own.cu"
    path.write_text("__global__ void own(float* y) {\n    y[0] = nothing;\n}\n")
    with pytest.raises(
        MinialexError, match=r"own\.cu does not compile for sm_80:\n.*own\.cu\(2\).*nothing"
    ):
        nvrtc.usage(path, "sm_80")


HALF = """// instances: T = __half
template <class T> __global__ void doubled(const T* x, T* y) {
    y[threadIdx.x] = x[threadIdx.x] * T(2);
}
"""


@compiles
def test_a_file_need_not_include_what_half_is(tmp_path):
    path = tmp_path / "doubled.cu"
    path.write_text(HALF)
    assert nvrtc.usage(path, "sm_90")[0].registers
    # float16 arrays of a template that speaks of any type
    path.write_text(HALF.replace("= __half", "= float"))
    source.clear_cache()
    text = source.read(path)
    plain = for_nvrtc(text, ["doubled<float>"], 90)
    assert "cuda_fp16" not in plain
    headers = "#include <cuda_bf16.h>\n#include <cuda_fp16.h>\n"
    assert for_nvrtc(text, ["doubled<__half>", "doubled<__nv_bfloat16>"], 90) == headers + plain
    halves = source.read(KERNELS / "halves.cu")
    assert for_nvrtc(halves, ["half_arithmetic<__half>"], 90) == halves.text


@compiles
def test_without_cudas_headers_it_says_what_to_install(monkeypatch, tmp_path):
    path = tmp_path / "doubled.cu"
    path.write_text(HALF)
    monkeypatch.setattr(nvrtc._library(None), "_include", ())
    with pytest.raises(MinialexError) as error:
        nvrtc.usage(path, "sm_90")
    assert str(error.value) == (
        f"cuda_fp16.h, of which {path} has types, is not here: pip install "
        "nvidia-cuda-runtime-cu12 (CUDA 13: nvidia-cuda-runtime)"
    )


def test_instances_are_those_of_the_text():
    assert nvrtc.instances("relu.cu") == [
        f"relu_{what}<{T}>"
        for what in ("forward", "backward")
        for T in ("float", "double", "__nv_bfloat16")
    ]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_says_all_its_instances(file):
    assert nvrtc.instances(file)


@compiles
@pytest.mark.parametrize("version", nvrtc.versions())
def test_each_version_compiles_by_its_own_headers(version):
    # halves.cu includes cuda_fp16.h, which is another text for another version
    code = nvrtc.compiled(KERNELS / "halves.cu", "sm_90", version=version)
    assert [u.kernel for u in code.usage] == nvrtc.instances(KERNELS / "halves.cu")
    assert code.cubin.startswith(b"\x7fELF")
    assert set(code.symbols) == {u.kernel for u in code.usage}
    assert all(symbol.encode() in code.cubin for symbol in code.symbols.values())


@compiles
def test_what_nvrtc_refuses_is_named():
    with pytest.raises(MinialexError, match=r"nvrtcCompileProgram says NVRTC_ERROR_INVALID_OPTION"):
        nvrtc.usage("relu.cu", "sm_ninety")
    with pytest.raises(MinialexError, match=r"NVRTC 1\.0 is not installed; installed: \d"):
        nvrtc.usage("relu.cu", "sm_80", version="1.0")


def test_without_nvrtc_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "_libraries", dict)
    assert "pip install nvidia-cuda-nvrtc-cu12" in nvrtc.why_missing()
    assert nvrtc.versions() == []
    with pytest.raises(MinialexError, match="compiling for a GPU needs NVRTC"):
        nvrtc.usage("relu.cu", "sm_80")


def test_a_library_that_does_not_load_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libnvrtc.so.12").write_text("no library")
    monkeypatch.setattr(toolkit, "folders", lambda: [tmp_path])
    assert toolkit.find("lib/libnvrtc.so.*")
    assert nvrtc._libraries.__wrapped__() == {}
