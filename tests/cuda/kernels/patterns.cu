// patterns.cu -- accesses whose sectors and wavefronts are known by hand; tests/cuda/patterns.py has
// the numbers, and the arithmetic beside them.
//
// Launch:  two blocks of 64 threads, unless said otherwise: 4 warps, t the thread's index in its block
//          and i in the launch. Each line that is counted ends in a comment that names it.
#include "common.cuh"

// ---- global memory: 32-byte sectors of 128-byte lines --------------------------------------------

// instances: STRIDE = 1, 2, 3, 4, 8, 16, 29, 32, 33
template <int STRIDE>
__global__ void global_stride(const float* __restrict__ x, float* __restrict__ y) {
    const int i = flat_index();
    const float v = x[STRIDE * i];  // strided read
    y[i] = v;                       // coalesced write
}

// Coalesced but for its start, which is no multiple of a sector.
__global__ void global_offset(const float* __restrict__ x, float* __restrict__ y) {
    const int i = flat_index();
    const float v = x[i + 1];  // shifted read
    y[i] = v;
}

__global__ void global_broadcast(const float* __restrict__ x, float* __restrict__ y) {
    const int i = flat_index();
    const float v = x[0];  // broadcast read
    y[i] = v;
}

// Four numbers per thread, as one vector.
__global__ void global_vectors(const float* __restrict__ x, float* __restrict__ y) {
    const int i = flat_index();
    const float4 v = reinterpret_cast<const float4*>(x)[i];  // vector read
    reinterpret_cast<float4*>(y)[i] = v;                     // vector write
}

// The same numbers, one at a time.
__global__ void global_unvectorised(const float* __restrict__ x, float* __restrict__ y) {
    const int i = flat_index();
    float sum = 0;
#pragma unroll 1
    for (int k = 0; k < 4; ++k)
        sum += x[4 * i + k];  // unvectorised read
    y[i] = sum;
}

// instances: T = float, double, unsigned char
template <typename T> __global__ void global_copy(const T* __restrict__ x, T* __restrict__ y) {
    const int i = flat_index();
    y[i] = x[i];  // copy
}

// y (32, 64) is x (64, 32) transposed. Launch: 32 blocks of (32, 2) threads.
__global__ void global_transpose(const float* __restrict__ x, float* __restrict__ y) {
    const int r = blockIdx.x * 2 + threadIdx.y, c = threadIdx.x;
    const float v = x[r * 32 + c];  // row read
    y[c * 64 + r] = v;              // transposed write
}

// The left half of x (8, 32). Launch: 2 blocks of (16, 4) threads, so that a warp has two rows.
__global__ void global_half_rows(const float* __restrict__ x, float* __restrict__ y) {
    const int r = blockIdx.x * 4 + threadIdx.y, c = threadIdx.x;
    const float v = x[r * 32 + c];  // half rows read
    y[r * 16 + c] = v;              // packed write
}

__global__ void global_atomics(const int* __restrict__ x, int* __restrict__ total,
                               int* __restrict__ columns) {
    const int v = x[flat_index()];
    atomicAdd(&total[0], v);                   // atomic on one element
    atomicAdd(&columns[threadIdx.x % 32], v);  // atomic per lane
}

// ---- shared memory: 32 banks of 4-byte words -----------------------------------------------------

// instances: STRIDE = 1, 2, 32, 33
template <int STRIDE>
__global__ void shared_stride(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float tile[64 * 33];
    const int t = threadIdx.x, i = flat_index();
    const float v = x[i];
    tile[STRIDE * t] = v;                   // strided store
    __syncthreads();                        // barrier
    const float w = tile[STRIDE * (63 - t)];  // strided load
    y[i] = w;
}

// Reads that lanes have in common: one word for all, eight words for four lanes each, and two words
// that lie in one bank.
__global__ void shared_broadcast(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float tile[64];
    const int t = threadIdx.x, i = flat_index();
    tile[t] = x[i];
    __syncthreads();
    float sum = tile[0];        // one word
    sum += tile[t / 4];         // eight words
    sum += tile[t % 2 * 32];    // two words of one bank
    y[i] = sum;
}

// instances: STRIDE = 1, 2
template <int STRIDE>
__global__ void shared_vectors(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float4 tile[64 * 2];
    const int t = threadIdx.x, i = flat_index();
    tile[STRIDE * t] = reinterpret_cast<const float4*>(x)[i];  // vector store
    __syncthreads();
    const float4 v = tile[STRIDE * (63 - t)];                  // vector load
    reinterpret_cast<float4*>(y)[i] = v;
}

// Any vectors of the tile. Launch: one warp.
__global__ void shared_pairs(const float* __restrict__ x, const int* __restrict__ index,
                             float* __restrict__ y) {
    __shared__ float2 tile[64];
    const int t = threadIdx.x, at = index[t];
    for (int i = t; i < 64; i += 32) tile[i] = reinterpret_cast<const float2*>(x)[i];
    __syncthreads();
    if (at < 0) return;
    const float2 v = tile[at];  // gathered pairs
    reinterpret_cast<float2*>(y)[t] = v;
}
__global__ void shared_quads(const float* __restrict__ x, const int* __restrict__ index,
                             float* __restrict__ y) {
    __shared__ float4 tile[64];
    const int t = threadIdx.x, at = index[t];
    for (int i = t; i < 64; i += 32) tile[i] = reinterpret_cast<const float4*>(x)[i];
    __syncthreads();
    if (at < 0) return;
    const float4 v = tile[at];  // gathered quads
    reinterpret_cast<float4*>(y)[t] = v;
}

// instances: T = float, double, unsigned char
template <typename T> __global__ void shared_copy(const T* __restrict__ x, T* __restrict__ y) {
    __shared__ T tile[64];
    const int t = threadIdx.x, i = flat_index();
    tile[t] = x[i];          // store
    __syncthreads();
    const T v = tile[63 - t];  // load
    y[i] = v;
}

// Each block transposes a tile of 32 x 32. WIDTH 33 has a column of padding, WIDTH 32 has not.
// Launch: blocks of (32, 2) threads.
// instances: WIDTH = 32, 33
template <int WIDTH>
__global__ void shared_transpose(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float tile[32][WIDTH];
    const int tx = threadIdx.x, first = blockIdx.x * 1024;
#pragma unroll 1
    for (int r = threadIdx.y; r < 32; r += 2)
        tile[r][tx] = x[first + r * 32 + tx];  // rows
    __syncthreads();
#pragma unroll 1
    for (int r = threadIdx.y; r < 32; r += 2)
        y[first + r * 32 + tx] = tile[tx][r];  // columns
}

// ---- branches ------------------------------------------------------------------------------------

__global__ void odd_and_even_lanes(const float* __restrict__ x, float* __restrict__ a,
                                   float* __restrict__ b, float* __restrict__ y) {
    const int t = threadIdx.x, i = flat_index();
    const float v = x[i];
    if (t % 2)     // lanes diverge
        a[i] = v;  // odd lanes
    else
        b[i] = v;  // even lanes
    y[i] = v;      // all lanes again
}

__global__ void odd_and_even_warps(const float* __restrict__ x, float* __restrict__ a,
                                   float* __restrict__ b) {
    const int t = threadIdx.x, i = flat_index();
    const float v = x[i];
    if (t / 32 % 2)  // warps go different ways
        a[i] = v;    // odd warps
    else
        b[i] = v;    // even warps
}

// n = 100 of 128 threads: the last warp has four lanes.
__global__ void guarded(const float* __restrict__ x, float* __restrict__ y, const int n) {
    const int i = flat_index();
    if (i >= n) return;    // guard
    const float v = x[i];  // guarded read
    y[i] = v;              // guarded write
}

// Lane l takes l turns.
__global__ void lengthening_loop(const float* __restrict__ x, float* __restrict__ y) {
    const int lane = threadIdx.x % 32, i = flat_index();
    float sum = 0;
#pragma unroll 1
    for (int k = 0; k < lane; ++k)  // turn
        sum += x[k];  // read in the loop
    y[i] = sum;       // write after the loop
}
