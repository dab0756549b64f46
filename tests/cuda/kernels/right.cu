// right.cu -- kernels that look wrong and are right, or whose results alone are undefined.
// needs: sm_80
#include "common.cuh"

// ---- masks that name lanes which have returned or do not exist -----------------------------------

// Of a block that need not be whole warps: results of all that a full mask can be given to.
__global__ void full_masks(const int* x, int* out, const int n) {
    const int t = threadIdx.x;
    if (t >= n) return;
    const unsigned all = 0xffffffffu;
    __syncwarp();
    int* mine = out + 8 * t;
    mine[0] = __reduce_add_sync(all, x[t]);
    mine[1] = __reduce_max_sync(all, x[t]);
    mine[2] = __ballot_sync(all, x[t] > 0);
    mine[3] = __all_sync(all, x[t] >= 0);
    mine[4] = __any_sync(all, x[t] < 0);
    mine[5] = __match_any_sync(all, x[t]);
    int same;
    mine[6] = __match_all_sync(all, 1, &same);
    mine[7] = same;
}
// The sum over the lanes that have not returned: those of higher lanes are not asked for.
__global__ void shuffled_sum(const float* x, float* out, const int n) {
    const int t = threadIdx.x;
    if (t >= n) return;
    float sum = x[t];
    for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_down_sync(0xffffffffu, sum, step);
        if (t % 32 + step < 32 && t + step < n) sum += other;
    }
    out[t] = sum;
}
__global__ void from_the_next(const float* x, float* out) {
    out[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
}
// Lanes that come late and lanes that return while others wait for them.
__global__ void returned_meanwhile(int* out, const int first) {
    __shared__ int box[64];
    const int t = threadIdx.x;
    if ((t & 1) == first) {
        box[t] = t;
        __syncwarp();
        out[t] = box[t ^ 2];
    }
}

// ---- alignment -----------------------------------------------------------------------------------

__global__ void vectors_of_scalars(const float* x, float* out, const int offset) {
    __shared__ float odd, box[65];
    const int t = threadIdx.x;
    if (t == 0) odd = 2;
    float4* const whole = reinterpret_cast<float4*>(box + offset);
    whole[t] = reinterpret_cast<const float4*>(x)[t];  // into scalars
    __syncthreads();
    float4 v = whole[t];
    v.x *= odd, v.y *= odd, v.z *= odd, v.w *= odd;
    reinterpret_cast<float4*>(out)[t] = v;
}

// ---- one value from several threads --------------------------------------------------------------

// All that find something say so; a block's result is written by all of its threads.
__global__ void all_say_so(const int* x, int* found, float* counts, const int n) {
    __shared__ int any;
    const int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    any = 0;
    __syncthreads();
    if (i < n && x[i] > 0) any = 1, *found = 1;
    const int count = __syncthreads_count(i < n && x[i] > 0);
    float4* const mine = reinterpret_cast<float4*>(counts) + blockIdx.x;
    *mine = make_float4(any, count, gridDim.x, n);
    __syncthreads();
    any = 2;
    __syncthreads();
    if (t == 0) mine->x += any;
}
// Some write all of what others write in part.
__global__ void pieces_and_whole(int* out) {
    const int t = threadIdx.x, lane = t % 32;
    if (lane < 4) out[lane] = lane;
    else if (lane < 6) reinterpret_cast<int2*>(out)[lane - 4] = make_int2(2 * lane - 8, 2 * lane - 7);
    else *reinterpret_cast<int4*>(out) = make_int4(0, 1, 2, 3);
}

// ---- what a loop that compares and swaps reads first ---------------------------------------------

// The sum of doubles as CUDA's guide shows it for GPUs without an atomicAdd of them.
__global__ void sum_by_swaps(const double* x, double* total) {
    unsigned long long* at = (unsigned long long*)total;
    const double mine = x[blockIdx.x * blockDim.x + threadIdx.x];
    unsigned long long old = *at, assumed;
    do {
        assumed = old;
        old = atomicCAS(at, assumed, __double_as_longlong(mine + __longlong_as_double(assumed)));
    } while (assumed != old);
}

// A sum that is read without waiting for the others.
__global__ void sum_read_too_early(const int* x, int* y) {
    __shared__ int total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    atomicAdd(&total, x[threadIdx.x]);
    y[threadIdx.x] = total;
}

// ---- structs with gaps ---------------------------------------------------------------------------

struct Largest {
    double value;
    int at;
};
__global__ void argmax(const double* x, int* y) {
    __shared__ Largest best[64];
    const int t = threadIdx.x;
    best[t].value = x[t];
    best[t].at = t;
    for (int step = 32; step > 0; step /= 2) {
        __syncthreads();
        if (t < step) {
            const Largest other = best[t + step];
            if (other.value > best[t].value) best[t] = other;
        }
    }
    __syncthreads();
    if (t == 0) y[0] = best[0].at;
}
__global__ void half_a_struct(const double* x, int* y) {
    __shared__ Largest best[64];
    best[threadIdx.x].value = x[threadIdx.x];
    y[threadIdx.x] = best[threadIdx.x].at;
}
