"""The known GPUs, and their occupancy against hand-worked examples and NVIDIA's own header."""

from __future__ import annotations

import ctypes
import random
import subprocess

import pytest

from minialex.cuda import toolkit
from minialex.cuda.architectures import ARCHITECTURES, KIB
from minialex.cuda.known_gpus import KNOWN_GPUS, MULTIPROCESSORS, Occupancy, known_gpu, occupancy
from minialex.errors import MinialexError

# threads, registers, shared; blocks, warps, share, limit
WORKED = {
    # 128 registers are 4096 a warp: 4 warps per scheduler, 16 in all, two blocks of 8
    "registers": ("H100", 256, 128, 0, Occupancy(2, 16, 16 / 64, "registers")),
    # 125 registers are 4000 a warp, given as 4096
    "rounded registers": ("H100", 256, 125, 0, Occupancy(2, 16, 16 / 64, "registers")),
    # 40 registers are 1280 a warp: 16384 // 1280 = 12 warps per scheduler, 48 in all, 5 blocks of 9
    "quarters": ("A100", 288, 40, 0, Occupancy(5, 45, 45 / 64, "registers")),
    # 40 KiB + 1 KiB: 164 // 41 = 4 of an A100, 100 // 41 = 2 of an RTX 3060, 64 // 40 = 1 of a T4
    "shared": ("A100", 256, 32, 40 * KIB, Occupancy(4, 32, 0.5, "shared memory")),
    "less shared": ("RTX 3060", 256, 32, 40 * KIB, Occupancy(2, 16, 16 / 48, "shared memory")),
    "nothing reserved": ("T4", 256, 32, 40 * KIB, Occupancy(1, 8, 8 / 32, "shared memory")),
    # 8192 + 1024 + 4 bytes are given as 9344: 102400 // 9344 = 10, where 11 of 9220 would fit
    "rounded shared": (
        "RTX 4090",
        64,
        32,
        8 * KIB + 4,
        Occupancy(10, 20, 20 / 48, "shared memory"),
    ),
    # 1536 threads, so one block of 1024
    "warps": ("RTX A6000", 1024, 32, 0, Occupancy(1, 32, 32 / 48, "warps")),
    "blocks": ("RTX 4090", 32, 16, 0, Occupancy(24, 24, 0.5, "blocks")),
    "part of a warp": ("H200", 33, 16, 0, Occupancy(32, 64, 1.0, "warps")),
    "too many registers": ("H100", 1024, 128, 0, Occupancy(0, 0, 0.0, "registers")),
}


@pytest.mark.parametrize("name", WORKED)
def test_occupancy_by_hand(name):
    gpu, threads, registers, shared, expected = WORKED[name]
    assert occupancy(known_gpu(gpu), threads, registers, shared) == expected


PROGRAM = """
#include <cstring>
#include <climits>
#include "cuda_occupancy.h"
extern "C" int blocks(int major, int minor, int warps, int shared, int reserved,
                      int threads, int registers, int bytes) {
  cudaOccDeviceProp device = {};
  device.computeMajor = major; device.computeMinor = minor;
  device.maxThreadsPerBlock = 1024; device.maxThreadsPerMultiprocessor = 32 * warps;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536; device.warpSize = 32;
  device.sharedMemPerBlock = 49152; device.sharedMemPerMultiprocessor = shared;
  device.numSms = 1; device.sharedMemPerBlockOptin = shared - reserved;
  device.reservedSharedMemPerBlock = reserved;
  cudaOccFuncAttributes kernel = {};
  kernel.maxThreadsPerBlock = 1024; kernel.numRegs = registers; kernel.numBlockBarriers = 1;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN; kernel.maxDynamicSharedSizeBytes = bytes;
  cudaOccDeviceState state = {};
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult result = {};
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, bytes))
    return -1;
  return result.activeBlocksPerMultiprocessor;
}
"""


def test_occupancy_is_what_nvidias_header_computes(tmp_path):
    headers = toolkit.find("include/cuda_occupancy.h")
    if not headers:
        pytest.skip("no cuda_occupancy.h: pip install nvidia-cuda-runtime-cu12")
    (tmp_path / "program.cpp").write_text(PROGRAM)
    library = tmp_path / "occupancy.so"
    subprocess.run(
        [
            *("g++", "-O1", "-w", "-shared", "-fPIC", f"-I{headers[0].parent}"),
            *("-o", str(library), str(tmp_path / "program.cpp")),
        ],
        check=True,
    )
    blocks = ctypes.CDLL(str(library)).blocks
    draw = random.Random(14)
    for gpu in KNOWN_GPUS.values():
        has, number = gpu.multiprocessor, gpu.limits.capability
        about = number // 10, number % 10, gpu.warps, max(has.shared_bytes), has.shared_reserved
        for _ in range(400):
            threads, registers = draw.randint(1, 1024), draw.randint(16, 255)
            shared = draw.choice([0, draw.randint(0, gpu.limits.shared_per_block)])
            ours = occupancy(gpu, threads, registers, shared)
            assert ours.blocks == blocks(*about, threads, registers, shared), (gpu.name, ours)


def test_limits_agree_with_those_of_a_block():
    for name, has in MULTIPROCESSORS.items():
        block = ARCHITECTURES[name]
        assert max(has.shared_bytes) == block.shared_per_block + has.shared_reserved
        assert list(has.shared_bytes) == sorted(has.shared_bytes)


# NVIDIA's datasheets: FP32 and dense tensor TFLOP/s (16-bit with float32 sums, TF32)
DATASHEET = {
    "T4": (8.1, 65, 0),
    "RTX 3060": (12.7, 25.5, 12.7),
    "RTX A6000": (38.7, 154.8, 77.4),
    "RTX 4090": (82.6, 165.2, 82.6),
    "A100": (19.5, 312, 156),
    # at the boost clock the tensor cores would do more than their 990; mma.sync does less
    "H100": (66.9, None, None),
    "H200": (66.9, None, None),
}


@pytest.mark.parametrize("name", KNOWN_GPUS)
def test_rates_give_the_datasheets_figures(name):
    gpu = known_gpu(name)
    per_cycle = 2 * gpu.multiprocessors * gpu.clock / 1e12
    fp32, half, tf32 = DATASHEET[name]
    assert gpu.flops / 1e12 == pytest.approx(fp32, rel=0.01)
    if half is not None:
        assert gpu.tensor_cores.half * per_cycle == pytest.approx(half, rel=0.01)
        assert gpu.tensor_cores.tf32 * per_cycle == pytest.approx(tf32, rel=0.01)
    assert gpu.memory_bandwidth < gpu.datasheet_bandwidth < gpu.l2_bandwidth


def test_l1_is_what_shared_memory_leaves():
    has = known_gpu("A100")
    assert has.l1_left(0) == 192 * KIB
    # 41 KiB need the carve-out of 64
    assert has.l1_left(41 * KIB) == 128 * KIB
    assert known_gpu("T4").l1_left(0) == 64 * KIB


@pytest.mark.parametrize("name", ["RTX 4090", "rtx4090", "4090", "rtx-4090"])
def test_a_gpu_is_found_by_its_name(name):
    assert known_gpu(name) is KNOWN_GPUS["RTX 4090"]


def test_an_unknown_gpu_is_named_with_those_that_are_known():
    with pytest.raises(MinialexError, match="unknown GPU 'V100'; known: T4, RTX 3060, "):
        known_gpu("V100")
