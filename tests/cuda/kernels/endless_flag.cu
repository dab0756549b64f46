// endless_flag.cu -- waits for ever for a flag. Files in which something is volatile are compiled so that
// threads give way, and those of endless.cu are not.

extern "C" __global__ void waiting_for_a_flag(volatile int* running) {
    if (blockIdx.x == 0 && threadIdx.x == 0) *running = 1;
    while (running[0] < 2) {
    }
}
