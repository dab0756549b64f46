"""The model of L1, end to end, beside what others measured on three GPUs.

Cycles per request of a warp whose lanes read numbers `stride` apart that L1 has: RRZE-HPC's
gpu-benches, revision 1038c5d, gpu-strides/a100.txt, a40.txt and h200.txt. The kernel is ours and
reads as theirs does.
"""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile.resources import Code
from minialex.study.profile.time_model import predict
from tests.study.profile.made_up import resources

KERNEL = """
template <typename T>
__global__ void strided(const T* __restrict__ x, T* __restrict__ y, const int stride) {
    const T* at = x + threadIdx.x % 64 * stride;
    T sum = 0;
    for (int i = 0; i < 32; i += 4) sum += at[i];
    y[threadIdx.x] = sum;
}
"""
A100 = {
    **{1: 1.02, 2: 2.00, 3: 1.63, 4: 4.00, 5: 2.20, 6: 2.36, 7: 2.67, 8: 8.0, 9: 3.03, 10: 3.31},
    **{11: 3.64, 12: 4.00, 13: 4.02, 14: 4.00, 15: 4.45, 16: 16.0, 17: 5.1, 18: 5.1, 19: 5.6},
    **{20: 5.3, 21: 6.0, 22: 6.1, 23: 6.2, 24: 8.0, 25: 7.0, 26: 7.1, 27: 7.3, 28: 7.3, 29: 8.0},
    **{30: 8.0, 31: 8.5, 32: 32.0, 33: 8.8, 40: 9.8, 48: 16.0, 64: 32.0},
}
A40 = A100 | {1: 2.00, 2: 2.00, 3: 2.00}
H200 = {
    **{1: 1.01, 2: 2.01, 3: 1.63, 4: 4.01, 5: 2.00, 6: 2.32, 7: 2.41, 8: 8.0, 9: 3.00, 10: 3.16},
    **{11: 3.41, 12: 4.01, 13: 4.10, 14: 4.25, 15: 4.60},
}
DOUBLES_ON_H200 = {
    **{1: 2.01, 2: 4.01, 3: 2.32, 4: 8.0, 5: 3.16, 6: 4.01, 7: 4.32, 8: 16.0, 9: 5.3, 10: 5.5},
    **{11: 6.0, 12: 8.0, 13: 7.0, 14: 7.0, 15: 8.0},
}


@pytest.mark.parametrize(
    ("gpu", "dtype", "measured"),
    # an RTX A6000 has the chip of an A40
    [
        ("A100", np.float32, A100),
        ("RTX A6000", np.float32, A40),
        ("H200", np.float32, H200),
        ("H200", np.float64, DOUBLES_ON_H200),
    ],
    ids=["A100", "A40", "H200", "H200, doubles"],
)
def test_a_strided_load_takes_the_cycles_that_were_measured(tmp_path, gpu, dtype, measured):
    (tmp_path / "strided.cu").write_text(KERNEL)
    strided = cuda.kernel(tmp_path / "strided.cu", "strided")
    x, y = np.zeros(64 * 64 + 32, dtype), np.zeros(1024, dtype)
    with cuda.emulated("counted") as emulation:
        for stride in measured:
            strided(1, 1024, x, y, stride)
    cycles = {}
    for stride, counts in zip(measured, emulation.counts, strict=True):
        time = predict(counts, resources(Code(), gpu, threads=1024))
        (read,) = [row for row in counts.memory if row.array == "x"]
        writes = 32 * max(1, read.width // 4) * 32 / known_gpu(gpu).multiprocessor.load_lanes
        cycles[stride] = (time.l1_seconds * known_gpu(gpu).clock - writes) / read.requests
    assert cycles == pytest.approx(measured, rel=0.2)
