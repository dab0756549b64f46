// features.cu -- one tiny kernel for each thing that the emulator must know of CUDA.
#include "common.cuh"

// ---- grids, blocks, shared memory ----------------------------------------------------------------

// Every thread of a 3-D grid of 3-D blocks writes its place, as one number, to its own element.
__global__ void thread_indices(int* __restrict__ out) {
    const int bx = blockDim.x, by = blockDim.y, bz = blockDim.z, gx = gridDim.x, gy = gridDim.y;
    const int block = (blockIdx.z * gy + blockIdx.y) * gx + blockIdx.x;
    const int thread = (threadIdx.z * by + threadIdx.y) * bx + threadIdx.x;
    out[block * bx * by * bz + thread] =
        threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}

// A tile of 8 x 8, turned over its diagonal in shared memory.
template <typename T>
__global__ void __launch_bounds__(64) transpose(const T* __restrict__ x, T* __restrict__ y,
                                                const int H, const int W) {
    __shared__ T tile[8][8 + 1];
    int row = blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 8 + threadIdx.x;
    if (row < H && column < W) tile[threadIdx.y][threadIdx.x] = x[row * W + column];
    // The whole tile is there before anyone reads its other half.
    __syncthreads();
    row = blockIdx.x * 8 + threadIdx.y, column = blockIdx.y * 8 + threadIdx.x;
    if (row < W && column < H) y[row * H + column] = tile[threadIdx.x][threadIdx.y];
}

// Sums of the rows of x (R, C), the block's partial sums in dynamic shared memory.
__global__ void row_sums(const double* __restrict__ x, double* __restrict__ y, const int C) {
    extern __shared__ double partial[];
    const int t = threadIdx.x;
    double sum = 0;
    for (int c = t; c < C; c += blockDim.x) sum += x[blockIdx.x * C + c];
    partial[t] = sum;
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if (t < step) partial[t] += partial[t + step];
        __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = partial[0];
}

// Several arrays in one declaration, an alignment, a scalar, and an array inside a function that
// is instantiated twice.
template <int K> __device__ int via_shared(int value) {
    __shared__ int box[64];
    box[threadIdx.x] = value * K;
    __syncthreads();
    return box[blockDim.x - 1 - threadIdx.x];
}
__global__ void declarations(int* __restrict__ out) {
    __shared__ int a[64], b[64];
    __shared__ __align__(16) unsigned char raw[64 * 4];
    __shared__ int first;
    const int t = threadIdx.x;
    a[t] = t, b[t] = 2 * t;
    reinterpret_cast<int*>(raw)[t] = 3 * t;
    if (t == 0) first = 1000;
    const int mirrored = via_shared<10>(t) + via_shared<100>(t);
    const int other = blockDim.x - 1 - t;
    out[t] = a[other] + b[other] + reinterpret_cast<int*>(raw)[other] + first + mirrored;
}

__constant__ float weights[4] = {1.f, 2.f, 4.f, 8.f};
__global__ void constants(float* __restrict__ out) {
    const float local[3] = {0.25f, 0.5f, 0.75f};
    out[threadIdx.x] = weights[threadIdx.x % 4] + local[threadIdx.x % 3];
}

// ---- barriers, warps -----------------------------------------------------------------------------

__global__ void counted_barriers(const int* __restrict__ x, int* __restrict__ out) {
    const int t = threadIdx.x;
    const int count = __syncthreads_count(x[t] > 0);
    const int all = __syncthreads_and(x[t] > 0), any = __syncthreads_or(x[t] > 0);
    out[t] = count * 100 + (all != 0) * 10 + (any != 0);
}

__global__ void shuffles(const float* __restrict__ x, float* __restrict__ out) {
    const int lane = threadIdx.x;
    const float v = x[lane];
    out[lane] = __shfl_sync(FULL_MASK, v, 5);
    out[32 + lane] = __shfl_up_sync(FULL_MASK, v, 3);
    out[64 + lane] = __shfl_down_sync(FULL_MASK, v, 7);
    out[96 + lane] = __shfl_xor_sync(FULL_MASK, v, 9);
    out[128 + lane] = __shfl_sync(FULL_MASK, v, lane + 1, 8);
    out[160 + lane] = __shfl_up_sync(FULL_MASK, v, 1, 16);
    out[192 + lane] = __shfl_down_sync(FULL_MASK, v, 2, 4);
    if (lane < 16) out[224 + lane] = float(__shfl_xor_sync(0xffffu, double(v), 1));
}

__global__ void votes(const int* __restrict__ x, unsigned* __restrict__ out) {
    const int lane = threadIdx.x, v = x[lane];
    int same;
    out[lane] = __ballot_sync(FULL_MASK, v > 2);
    out[32 + lane] = __any_sync(FULL_MASK, v > 2);
    out[64 + lane] = __all_sync(FULL_MASK, v > 2);
#if defined(MINIALEX_EMULATED) || __CUDA_ARCH__ >= 700
    out[96 + lane] = __match_any_sync(FULL_MASK, v);
    out[128 + lane] = __match_all_sync(FULL_MASK, v, &same);
    out[160 + lane] = same;
#endif
#if defined(MINIALEX_EMULATED) || __CUDA_ARCH__ >= 800
    out[192 + lane] = __reduce_add_sync(FULL_MASK, v);
    out[224 + lane] = __reduce_max_sync(FULL_MASK, v);
    out[256 + lane] = __reduce_min_sync(FULL_MASK, unsigned(v));
    out[288 + lane] = __reduce_and_sync(FULL_MASK, unsigned(v));
    out[320 + lane] = __reduce_or_sync(FULL_MASK, unsigned(v));
    out[352 + lane] = __reduce_xor_sync(FULL_MASK, unsigned(v));
#endif
}

// Lanes hand values on through shared memory with no more than __syncwarp; the halves of the warp
// by turns go on their own.
__global__ void warp_mates(int* __restrict__ out) {
    __shared__ int box[32];
    const int lane = threadIdx.x;
    box[lane] = lane;
    __syncwarp();
    int sum = box[31 - lane];
    __syncwarp();
    const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    for (int round = 0; round < 1 + lane / 16; ++round) {
        box[lane] = sum;
        __syncwarp(half);
        sum += box[lane ^ 1];
        __syncwarp(half);
    }
    __syncwarp();
    box[lane] = sum;
    __syncwarp();
    out[lane] = box[31 - lane];
}

template <typename T>
__global__ void reductions(const T* __restrict__ x, T* __restrict__ out) {
    const T v = x[flat_index()];
    const T sum = warp_sum(v), largest = warp_max(v);
    const T whole = block_sum(v), twice = block_sum(v + v);
    T* mine = out + flat_index() * 4;
    mine[0] = sum, mine[1] = largest, mine[2] = whole, mine[3] = twice;
}

// ---- atomics -------------------------------------------------------------------------------------

__global__ void integer_atomics(int* __restrict__ out, unsigned long long* __restrict__ wide) {
    const int i = flat_index();
    atomicAdd(&out[0], i);
    atomicMax(&out[1], i);
    atomicMin(&out[2], -i);
    atomicOr(&out[3], 1 << (i % 8));
    atomicAnd(&out[4], ~(1 << (i % 8)));
    atomicXor(&out[5], 1);
    atomicSub(&out[6], 2);
    if (atomicCAS(&out[7], 0, 1) == 0) atomicExch(&out[8], 7);
    atomicAdd(wide, 1ull << 32);
}
template <typename T>
__global__ void histogram(const int* __restrict__ x, T* __restrict__ out, const int n) {
    __shared__ T bins[8];
    if (threadIdx.x < 8) bins[threadIdx.x] = T(0);
    __syncthreads();
    const int i = flat_index();
    if (i < n) atomicAdd(&bins[x[i]], T(1));
    __syncthreads();
    if (threadIdx.x < 8) atomicAdd(&out[threadIdx.x], bins[threadIdx.x]);
}

// The block that is done last adds up what all others left: ordered by fence and atomic alone.
__global__ void last_block(const float* __restrict__ x, float* __restrict__ partial,
                           unsigned* __restrict__ done, float* __restrict__ total) {
    __shared__ bool last;
    const float sum = block_sum(x[flat_index()]);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(done, 1u) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (!last || threadIdx.x != 0) return;
    float all = 0;
    for (int b = 0; b < int(gridDim.x); ++b) all += partial[b];
    *total = all;
}

// ---- vectors, loads, functions, bits -------------------------------------------------------------

__global__ void vectors(const float* __restrict__ x, float* __restrict__ y,
                        unsigned char* __restrict__ z) {
    const int t = threadIdx.x;
    float4 v = reinterpret_cast<const float4*>(x)[t];
    v.x = __ldg(x + 4 * t) + 1, v.w = fmaf(v.y, v.z, v.w);
    reinterpret_cast<float4*>(y)[t] = v;
    reinterpret_cast<uchar4*>(z)[t] = make_uchar4(t, t + 1, t + 2, t + 3);
    const float2 pair = make_float2(v.x, v.y);
    if (t == 0) y[1] = pair.x + pair.y;
}

template <typename T>
__global__ void functions(const T* __restrict__ x, T* __restrict__ y) {
    const T v = x[0], w = x[1];
    int k = 0;
    y[k++] = exp(v), y[k++] = log(v), y[k++] = pow(v, w), y[k++] = sqrt(v), y[k++] = rsqrt(v);
    y[k++] = fma(v, w, v), y[k++] = tanh(v), y[k++] = min(v, w), y[k++] = max(v, w);
    y[k++] = fabs(-v), y[k++] = floor(w), y[k++] = ceil(w), y[k++] = erf(v), y[k++] = log1p(v);
    y[k++] = expm1(v), y[k++] = sin(v), y[k++] = cos(v), y[k++] = copysign(v, -w), y[k++] = cbrt(v);
    y[k++] = hypot(v, w), y[k++] = fmod(w, v), y[k++] = rint(w), y[k++] = T(isnan(v)) + T(isfinite(v));
}
__global__ void float_functions(const float* __restrict__ x, float* __restrict__ y) {
    const float v = x[0], w = x[1];
    int k = 0;
    y[k++] = __expf(v), y[k++] = __logf(v), y[k++] = __powf(v, w), y[k++] = __fdividef(v, w);
    y[k++] = __saturatef(w), y[k++] = __saturatef(-w), y[k++] = rsqrtf(v), y[k++] = fmaxf(v, w);
    y[k++] = fminf(v, w), y[k++] = __fmaf_rn(v, w, v), y[k++] = exp2f(v), y[k++] = log2f(v);
    y[k++] = __sinf(v), y[k++] = __cosf(v), y[k++] = __frcp_rn(v), y[k++] = normcdff(v);
}
__global__ void bits(const int* __restrict__ x, int* __restrict__ y) {
    const int v = x[0];
    int k = 0;
    y[k++] = __popc(v), y[k++] = __clz(v), y[k++] = __ffs(v), y[k++] = __brev(v);
    y[k++] = __mulhi(v, v), y[k++] = __umulhi(v, v), y[k++] = __float_as_int(1.5f);
    y[k++] = int(__int_as_float(0x40200000) * 2), y[k++] = __float2int_rn(2.5f), y[k++] = __float2int_rz(-2.5f);
    y[k++] = min(v, 7), y[k++] = max(7u, unsigned(v)), y[k++] = __popcll(0xf0f0f0f0ull);
}

// ---- scalars, structs and null pointers -------------------------------------------------------------------

__global__ void scalars(double* __restrict__ out, const bool a, const unsigned char b, const short c,
                        const int d, const unsigned e, const long long f, const size_t g,
                        const float h, const double i) {
    out[0] = a, out[1] = b, out[2] = c, out[3] = d, out[4] = e, out[5] = double(f), out[6] = double(g);
    out[7] = h, out[8] = i;
}

// Members of different sizes, so that there are gaps between them.
struct Shape {
    bool on;
    int H, W;
    static constexpr int AXES = 2;

    __device__ int size() const {
        if (on) { return H * W; }
        return 0;
    }
    long long step;
    unsigned char last;
};

__global__ void structs(double* __restrict__ out, const Shape s, const int n) {
    out[0] = s.on, out[1] = s.H, out[2] = s.W, out[3] = double(s.step), out[4] = s.last;
    out[5] = s.size(), out[6] = n;
}

// instances: STEP = 1, 2; DOUBLED = false, true
template <typename T, int STEP, bool DOUBLED>
__global__ void strided(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y,
                        const int n, const T scale) {
    const int i = flat_index();
    if (i < n) y[i] = x[i * STEP] * (DOUBLED ? scale + scale : scale) + (bias ? bias[i] : T(0));
}
