// endless.cu -- kernels that never end: what Ctrl-C has to reach.

// `running` is set by the thread that the host watches.
#define BEGIN() \
    if (blockIdx.x == 0 && threadIdx.x == 0) atomicExch(running, 1)

extern "C" __global__ void in_registers(int* running) {
    BEGIN();
    while (true) {
    }
}

extern "C" __global__ void waiting_for_an_atomic(int* running) {
    BEGIN();
    while (atomicAdd(running, 0) < 2) {
    }
}

extern "C" __global__ void at_barriers(int* running) {
    BEGIN();
    while (true) __syncthreads();
}

extern "C" __global__ void in_the_library(int* running) {
    BEGIN();
    double x = 1e22;
    while (x > 0) x = sin(x) + 1e22;
    *running = x;
}

extern "C" __global__ void ending(int* running) { BEGIN(); }
