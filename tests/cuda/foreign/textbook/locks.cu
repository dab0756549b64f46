// Locks, queues and tables: what threads do one after the other.
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>

#define HANDLE_ERROR(call)                                                        \
    do {                                                                          \
        cudaError_t err = (call);                                                 \
        if (err != cudaSuccess) {                                                 \
            std::fprintf(stderr, "%s in %s at line %d\n", cudaGetErrorString(err), \
                         __FILE__, __LINE__);                                     \
            std::exit(EXIT_FAILURE);                                              \
        }                                                                         \
    } while (0)

struct Lock {
    int *mutex;
    Lock() { HANDLE_ERROR(cudaMalloc((void **)&mutex, sizeof(int))); }
    __device__ void lock() {
        while (atomicCAS(mutex, 0, 1) != 0);
        __threadfence();
    }
    __device__ void unlock() {
        __threadfence();
        atomicExch(mutex, 0);
    }
};

__device__ int mutexOfBlocks = 0;

__device__ void acquire(int *mutex) {
    while (atomicCAS(mutex, 0, 1) != 0) {
    }
    __threadfence();
}

__device__ void release(int *mutex) {
    __threadfence();
    atomicExch(mutex, 0);
}

// One thread per block adds what its block found; the sum itself is not atomic
__global__ void dotWithLock(const float *a, const float *b, float *dot, int n) {
    __shared__ float cache[64];
    float temp = 0;
    for (int i = threadIdx.x + blockIdx.x * blockDim.x; i < n; i += blockDim.x * gridDim.x)
        temp += a[i] * b[i];
    cache[threadIdx.x] = temp;
    __syncthreads();
    for (int i = blockDim.x / 2; i != 0; i /= 2) {
        if (threadIdx.x < i) cache[threadIdx.x] += cache[threadIdx.x + i];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        acquire(&mutexOfBlocks);
        *dot += cache[0];
        release(&mutexOfBlocks);
    }
}

// Every thread of a block takes the lock in turn, lanes of a warp among them
__global__ void appendWithinBlock(int *list, int *length, const int *from, int n) {
    __shared__ int busy, used;
    __shared__ int kept[64];
    if (threadIdx.x == 0) busy = used = 0;
    __syncthreads();
    if (threadIdx.x < n && from[threadIdx.x] % 3 == 0) {
        bool waiting = true;
        while (waiting) {
            if (atomicCAS(&busy, 0, 1) == 0) {
                __threadfence_block();
                kept[used] = from[threadIdx.x];
                used = used + 1;
                __threadfence_block();
                atomicExch(&busy, 0);
                waiting = false;
            }
        }
    }
    __syncthreads();  // the list is complete
    for (int i = threadIdx.x; i < used; i += blockDim.x) list[i] = kept[i];
    if (threadIdx.x == 0) *length = used;
}

static const unsigned int EMPTY = 0xffffffffu;

__host__ __device__ constexpr unsigned int slotOf(unsigned int key, unsigned int capacity) {
    return (key * 2654435761u) & (capacity - 1);
}

__global__ void hashInsert(unsigned int *keys, int *values, const unsigned int *newKeys,
                           const int *newValues, int n, unsigned int capacity) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned int slot = slotOf(newKeys[i], capacity);
    while (true) {
        const unsigned int old = atomicCAS(&keys[slot], EMPTY, newKeys[i]);
        if (old == EMPTY || old == newKeys[i]) {
            atomicAdd(&values[slot], newValues[i]);
            return;
        }
        slot = (slot + 1) & (capacity - 1);
    }
}

__global__ void hashLookUp(const unsigned int *keys, const int *values, const unsigned int *wanted,
                           int *found, int n, unsigned int capacity) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        unsigned int slot = slotOf(wanted[i], capacity);
        found[i] = -1;
        for (; keys[slot] != EMPTY; slot = (slot + 1) & (capacity - 1))
            if (keys[slot] == wanted[i]) {
                found[i] = values[slot];
                break;
            }
    }
}

int main() {
    Lock lock;
    HANDLE_ERROR(cudaMemset(lock.mutex, 0, sizeof(int)));
    float *a, *dot;
    HANDLE_ERROR(cudaMallocManaged((void **)&a, 1000 * sizeof(float)));
    HANDLE_ERROR(cudaMallocManaged((void **)&dot, sizeof(float)));
    for (int i = 0; i < 1000; ++i) a[i] = 1;
    *dot = 0;
    dotWithLock<<<8, 64>>>(a, a, dot, 1000);
    HANDLE_ERROR(cudaDeviceSynchronize());
    std::printf("%f\n", *dot);
    return 0;
}
