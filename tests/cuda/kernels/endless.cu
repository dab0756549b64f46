// endless.cu -- kernels that never end: what Ctrl-C has to reach.
#include "common.cuh"

// `running` is set by the thread that the host watches.
#define BEGIN() \
    if (blockIdx.x == 0 && threadIdx.x == 0) *running = 1

extern "C" __global__ void in_registers(volatile int* running) {
    BEGIN();
    while (true) {
    }
}

extern "C" __global__ void waiting_for_a_flag(volatile int* running) {
    BEGIN();
    while (running[0] < 2) {
    }
}

extern "C" __global__ void waiting_for_an_atomic(volatile int* running) {
    BEGIN();
    while (atomicAdd(const_cast<int*>(running), 0) < 2) {
    }
}

extern "C" __global__ void at_barriers(volatile int* running) {
    BEGIN();
    while (true) __syncthreads();
}

extern "C" __global__ void in_the_library(volatile int* running) {
    BEGIN();
    volatile double x = 1e22;
    while (true) x = sin(x) + 1e22;
}

extern "C" __global__ void ending(volatile int* running) { BEGIN(); }
