// whole_grid.cu -- a kernel that waits for all of its blocks, which the emulator does not run.
#include "common.cuh"
__global__ void waits_for_all(int* x) {
    x[blockIdx.x] = 1;
    cooperative_groups::this_grid().sync();
    x[blockIdx.x] += x[(blockIdx.x + 1) % gridDim.x];
}
