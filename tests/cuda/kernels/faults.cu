// faults.cu -- kernels that are wrong in one line each, marked FAULT, for the checker to find.
// Where CHECK(n) stands, fault n is planted only if the kernel is asked for it: with 0 it is right.
#include "common.cuh"

#define CHECK(n) if (fault != (n))

// ---- barriers forgotten --------------------------------------------------------------------------

// C (N, N) = A B, in tiles of 8 x 8.
__global__ void product(const float* __restrict__ A, const float* __restrict__ B,
                        float* __restrict__ C, const int N, const int fault) {
    __shared__ float a[8][8], b[8][8];
    const int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 8 + ty, column = blockIdx.x * 8 + tx;
    float sum = 0;
    for (int k0 = 0; k0 < N; k0 += 8) {
        a[ty][tx] = row < N && k0 + tx < N ? A[row * N + k0 + tx] : 0;
        b[ty][tx] = k0 + ty < N && column < N ? B[(k0 + ty) * N + column] : 0;
        CHECK(1) __syncthreads();  // after the load
        for (int k = 0; k < 8; ++k) sum += a[ty][k] * b[k][tx];  // FAULT tile
        CHECK(2) __syncthreads();
    }
    if (fault == 3 || (row < N && column < N))
        C[row * N + column] = sum;  // FAULT unguarded
}

// The mean and the largest of each row of x, one block per row: red is used twice.
__global__ void mean_and_largest(const float* __restrict__ x, float* __restrict__ y, const int C, const int fault) {
    __shared__ float red[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, warps = blockDim.x / WARP_SIZE;
    float sum = 0, largest = -1e30f;
    for (int c = threadIdx.x; c < C; c += blockDim.x) sum += x[blockIdx.x * C + c];
    for (int c = threadIdx.x; c < C; c += blockDim.x) largest = fmaxf(largest, x[blockIdx.x * C + c]);
    sum = warp_sum(sum), largest = warp_max(largest);
    if (lane == 0) red[warp] = sum;
    __syncthreads();
    sum = 0;
    for (int w = 0; w < warps; ++w) sum += red[w];
    CHECK(1) __syncthreads();
    if (lane == 0) red[warp] = largest;  // FAULT reuse
    __syncthreads();
    largest = red[0];
    for (int w = 1; w < warps; ++w) largest = fmaxf(largest, red[w]);
    if (threadIdx.x == 0) y[2 * blockIdx.x] = sum / C, y[2 * blockIdx.x + 1] = largest;
}

__global__ void neighbours(int* __restrict__ out, const int fault) {
    __shared__ int box[64];
    const int t = threadIdx.x;
    box[t] = t;
    CHECK(1) __syncwarp();
    out[t] = box[t ^ 1];  // FAULT neighbour
    __syncthreads();
    CHECK(2) box[t] = 2 * t;
    __syncthreads();
    if (t == 0) box[63] = 5;
    else if (fault == 3) out[t] += box[63];  // FAULT box
}

__global__ void half_written(float* __restrict__ out) {
    __shared__ float box[32];
    const int t = threadIdx.x;
    if (t < 31) box[t] = 1;
    __syncthreads();
    out[t] = box[31 - t];  // FAULT uninitialised
}

// ---- barriers that not all reach -----------------------------------------------------------------

__global__ void some_threads_only(int* __restrict__ out) {
    if (threadIdx.x < 16)
        __syncthreads();  // FAULT divergent
    out[threadIdx.x] = 1;
}
__global__ void early_return(int* __restrict__ out, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    out[i] = 1;
    __syncthreads();  // FAULT returned
}
__global__ void two_barriers(int* __restrict__ out) {
    if (threadIdx.x % 2)
        __syncthreads();
    else
        __syncthreads();  // FAULT other
    out[threadIdx.x] = 1;
}

// ---- outside an array ----------------------------------------------------------------------------

__global__ void shifted(const float* __restrict__ x, float* __restrict__ y, const int n, const int by, const int fault) {
    const int i = flat_index();
    if (i < n) CHECK(1) y[i] = 1; else y[i] = x[i + by];  // FAULT reads outside
}
__global__ void past_shared(float* __restrict__ y, const int fault) {
    extern __shared__ float dynamic[];
    __shared__ float fixed[32];
    const int t = threadIdx.x;
    dynamic[t] = fixed[t] = float(t);
    if (fault == 1 && t == 31) dynamic[t + 1] = 1;  // FAULT dynamic
    if (fault == 2 && t == 31) fixed[t + 1] = 1;  // FAULT fixed
    y[t] = dynamic[t] + fixed[t];
}
__global__ void without_bias(const float* __restrict__ bias, float* __restrict__ y) {
    y[threadIdx.x] = bias[threadIdx.x];  // FAULT null
}
__global__ void four_at_once(const float* __restrict__ x, float* __restrict__ y, const int offset) {
    const float4 v = *reinterpret_cast<const float4*>(x + offset);  // FAULT misaligned
    *reinterpret_cast<float4*>(y) = v;
}
struct Pair { float first, second; };
struct Row { float of[16]; };
// Right: the structs are aligned as a float is, and so is their copy.
__global__ void structs_at_once(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ Row row;
    const Pair pair = *reinterpret_cast<const Pair*>(x);
    row = *reinterpret_cast<const Row*>(x);
    __syncthreads();
    *reinterpret_cast<Row*>(y) = row;
    reinterpret_cast<Pair*>(y)[8] = pair;
}
// As complex numbers: more than g++ inlines unless it has to.
__device__ Pair multiply(Pair a, Pair b) {
    const Pair both = {a.first * b.first - a.second * b.second, a.first * b.second + a.second * b.first};
    return both;
}
__global__ void turned(const float* __restrict__ x, float* __restrict__ y, const Pair by) {
    const Pair* from = reinterpret_cast<const Pair*>(x);
    reinterpret_cast<Pair*>(y)[threadIdx.x] = multiply(from[threadIdx.x], by);  // FAULT by value
}
__global__ void halves_by_value(const float* __restrict__ x, float* __restrict__ y, const bool adds) {
    const __half2* from = reinterpret_cast<const __half2*>(x);
    __half2* to = reinterpret_cast<__half2*>(y);
    if (adds) atomicAdd(to, from[threadIdx.x]);  // FAULT added
    else to[threadIdx.x] = __shfl_xor_sync(FULL_MASK, from[threadIdx.x], 1);  // FAULT shuffled
}

// ---- between blocks ------------------------------------------------------------------------------

__global__ void block_totals(const float* __restrict__ x, float* __restrict__ total, const int fault) {
    const float sum = block_sum(x[flat_index()]);
    if (threadIdx.x != 0) return;
    if (fault == 1) *total += sum;  // FAULT plain
    else atomicAdd(total, sum);
    if (fault == 2 && blockIdx.x == 0)
        total[1] = *total;  // FAULT read
}
__global__ void without_fence(const float* __restrict__ x, float* __restrict__ partial,
                              unsigned* __restrict__ done, float* __restrict__ total) {
    if (threadIdx.x != 0) return;
    partial[blockIdx.x] = x[blockIdx.x];
    if (atomicAdd(done, 1u) != gridDim.x - 1) return;
    float all = 0;
    for (int b = 0; b < int(gridDim.x); ++b)
        all += partial[b];  // FAULT unfenced
    *total = all;
}
__global__ void same_place(int* __restrict__ out) {
    out[0] = blockIdx.x;  // FAULT all write
}

// ---- warps ---------------------------------------------------------------------------------------

__global__ void half_warp(const float* __restrict__ x, float* __restrict__ y, const int fault) {
    const int lane = threadIdx.x;
    float v = x[lane];
    if (fault == 1 && lane < 16) v += __shfl_xor_sync(FULL_MASK, v, 1);  // FAULT absent
    if (fault == 2) v += __shfl_xor_sync(0xffffu, v, 1);  // FAULT left out
    if (fault == 3 && lane < 16) v += __shfl_down_sync(0xffffu, v, 8);  // FAULT from outside
    if (fault == 4) {
        if (lane < 16) v += __shfl_xor_sync(FULL_MASK, v, 1);
        else v += __shfl_down_sync(FULL_MASK, v, 1);  // FAULT mixed
    }
    __syncthreads();
    y[lane] = v;
}

// ---- traps ---------------------------------------------------------------------------------------

__global__ void traps(int* __restrict__ out, const int fault) {
    if (fault == 1) __trap();  // FAULT trap
#ifdef MINIALEX_EMULATED
    assert(fault != 2);  // FAULT assert
#endif
    out[0] = 1;
}

// ---- one value from several threads, or nearly ---------------------------------------------------

__global__ void nearly_one_value(int* __restrict__ out, const int fault) {
    __shared__ int flag;
    const int t = threadIdx.x;
    flag = fault == 1 && t == 37 ? 2 : 1;  // FAULT another
    __syncwarp();
    if (fault == 2 && t == 33) flag = 5;  // FAULT later
    // Those of the own warp have written it: so have others.
    if (fault == 3) out[t] = flag;  // FAULT early
    if (fault == 4 && t == 1) atomicExch(&flag, 1);  // FAULT atomic
    __syncthreads();
    out[t] = flag;
}
