"""What a kernel takes of a GPU: by NVIDIA's compiler where it is installed, and without it."""

from __future__ import annotations

import textwrap

import pytest

from minialex.cuda import disassembly, nvrtc
from minialex.cuda.known_gpus import known_gpu, occupancy
from minialex.study.profile import resources as module
from minialex.study.profile.resources import resources
from tests.cuda.tools import compiles, disassembles

H100 = known_gpu("H100")
KERNEL = """
    __global__ void row_sums(const float* __restrict__ x, float* __restrict__ y, const int n) {
        __shared__ float tile[256];
        tile[threadIdx.x] = 0;
        for (int k = 0; k < n; ++k)
            tile[threadIdx.x] += x[k * 256 + threadIdx.x];
        y[threadIdx.x] = tile[threadIdx.x];
    }
"""


@pytest.fixture(autouse=True)
def nothing_kept():
    module._code.cache_clear()
    yield
    module._code.cache_clear()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sums.cu"
    path.write_text(textwrap.dedent(KERNEL).lstrip())
    return path


@disassembles
def test_registers_shared_memory_and_what_became_of_each_line(file):
    found = resources(file, "row_sums", H100, threads=256, dynamic_shared=1024)
    assert not found.missing
    assert found.static_shared == 1024
    assert found.spilled_bytes == 0
    assert found.occupancy == occupancy(H100, 256, found.registers, 2048)
    assert found.main_loop["LDG"] >= 1
    rows = [(row.line, row.kind) for row in found.lines if row.main_loop and row.kind == "LDG"]
    assert rows == [(5, "LDG")]
    (store,) = [row for row in found.lines if row.kind == "STG"]
    assert (store.file, store.line, store.count, store.main_loop) == (str(file), 6, 1, False)


@disassembles
def test_padding_is_no_instruction_of_a_line(file):
    code = resources(file, "row_sums", H100, threads=256).code
    kinds = disassembly.count(code.instructions)
    assert kinds["NOP"] > 0
    assert not any(code.instructions[i].kind == "NOP" for i in code.reachable)
    assert sum(row.count for row in resources(file, "row_sums", H100, 256).lines) <= len(
        code.reachable
    )


@compiles
def test_a_text_is_compiled_once(file, monkeypatch):
    first = resources(file, "row_sums", H100, threads=256)
    monkeypatch.setattr(nvrtc, "compiled", None)
    again = resources(file, "row_sums", known_gpu("H200"), threads=128)
    assert again.code is first.code
    assert again.occupancy != first.occupancy


def test_without_a_compiler_it_says_so(file, monkeypatch):
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "needs NVRTC")
    found = resources(file, "row_sums", H100, threads=256)
    assert found.missing == "needs NVRTC"
    assert found.occupancy is None
    assert found.registers is None
    assert found.lines == ()
    assert not found.main_loop


@compiles
def test_without_a_disassembler_registers_and_occupancy_are_there(file, monkeypatch):
    monkeypatch.setattr(disassembly, "why_missing", lambda: "needs nvdisasm")
    found = resources(file, "row_sums", H100, threads=256)
    assert found.missing == "needs nvdisasm"
    assert found.occupancy.warps == 64
    assert not found.main_loop


@compiles
def test_a_kernel_that_the_gpu_cannot_run_says_why(file):
    file.write_text("__global__ void broken(float* x) { x = y; }\n")
    found = resources(file, "broken", H100, threads=256)
    assert "does not compile for sm_90" in found.missing
