/*
Gradients of biases (sums down the columns), the optimizer, the norm of all gradients.
*/
#include <assert.h>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include "common.h"

using namespace cooperative_groups;

typedef __nv_bfloat16 bf16;
constexpr size_t kBlock = 64;

void matmul_backward_bias_cpu(float* dbias, const float* dout, int rows, int OC) {
    for (int o = 0; o < OC; o++) {
        double sum = 0.0;
        for (int r = 0; r < rows; r++) sum += dout[r * OC + o];
        dbias[o] = sum;
    }
}

// kernel 1: a block per column
__global__ void matmul_backward_bias_kernel1(float* dbias, const float* dout, int rows, int OC) {
    extern __shared__ float tree[];
    const int o = blockIdx.x;
    double sum = 0.0;
    for (int r = threadIdx.x; r < rows; r += blockDim.x) sum += dout[r * OC + o];
    tree[threadIdx.x] = (float)sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) tree[threadIdx.x] += tree[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) dbias[o] += tree[0];
}

// kernel 2: a warp per column
__global__ void matmul_backward_bias_kernel2(float* dbias, const float* dout, int rows, int OC) {
    thread_block_tile<32> warp = tiled_partition<32>(this_thread_block());
    const int o = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
    if (o >= OC) return;
    float sum = 0.0f;
    for (int r = warp.thread_rank(); r < rows; r += warp.size()) sum += dout[r * OC + o];
    sum = reduce(warp, sum, plus<float>{});
    if (warp.thread_rank() == 0) dbias[o] += sum;
}

// kernel 3: blocks of 32 columns, whose rows are cut among blocks in y: coalesced, and atomic
__global__ void matmul_backward_bias_kernel3(float* dbias, const bf16* dout, int rows, int OC) {
    __shared__ float sums[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE, w = threadIdx.x / WARP_SIZE;
    const int warps = blockDim.x / WARP_SIZE, o = blockIdx.x * WARP_SIZE + lane;
    if (w == 0) sums[lane] = 0.0f;
    __syncthreads();
    if (o < OC) {
        float sum = 0.0f;
        for (int r = blockIdx.y * warps + w; r < rows; r += gridDim.y * warps)
            sum += __bfloat162float(dout[r * OC + o]);
        atomicAdd(&sums[lane], sum);
    }
    __syncthreads();
    if (w == 0 && o < OC) atomicAdd(&dbias[o], sums[lane]);
}

__device__ float between(float low, float high, float share) {
    return low + share * (high - low);
}

// parameters, gradients and both moments, in place
__global__ void adamw_kernel1(float* params, const float* grads, float* m, float* v, long n,
                              float learning_rate, float beta1, float beta2,
                              float beta1_correction, float beta2_correction,
                              float eps, float weight_decay) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= n) return;
    m[i] = between(grads[i], m[i], beta1);
    v[i] = between(grads[i] * grads[i], v[i], beta2);
    const float m_hat = m[i] / beta1_correction, v_hat = v[i] / beta2_correction;
    params[i] -= learning_rate * (m_hat / (sqrtf(v_hat) + eps) + weight_decay * params[i]);
}

// rounds up or down by a hash of the place, so that the mean is kept
__device__ void stochastic_rounding(float in, bf16* out, unsigned random) {
    unsigned bits = __float_as_uint(in);
    bits += (random & 0xFFFF) > (bits & 0xFFFF) ? 0 : 0x10000;
    *out = __float2bfloat16_rn(__uint_as_float(bits & 0xFFFF0000));
}

template <typename P, typename G>
__global__ void adamw_kernel2(P* params, float* master, const G* grads, float* m, float* v,
                              size_t n, float learning_rate, float beta1, float beta2, int t,
                              float scale, unsigned int seed) {
    const size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) { return; }
    const float g = scale * (float)grads[i];
    m[i] = between(g, m[i], beta1);
    v[i] = between(g * g, v[i], beta2);
    const float m_hat = m[i] / (1.0f - powf(beta1, t)), v_hat = v[i] / (1.0f - powf(beta2, t));
    const float updated = master[i] - learning_rate * m_hat / (sqrtf(v_hat) + 1e-8f);
    master[i] = updated;
    stochastic_rounding(updated, &params[i], (unsigned)i * 2654435761u ^ seed);
}

// the sum of squares of all; a block's part goes out by one atomic
template <class T>
__global__ void global_norm_kernel(float* out, const T* data, size_t count) {
    auto block = this_thread_block();
    auto warp = tiled_partition<32>(block);
    __shared__ float parts[32];
    float sum = 0.0f;
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        sum += (float)data[i] * (float)data[i];
    sum = reduce(warp, sum, plus<float>{});
    if (warp.thread_rank() == 0) parts[warp.meta_group_rank()] = sum;
    block.sync();
    sum = warp.thread_rank() < warp.meta_group_size() ? parts[warp.thread_rank()] : 0.0f;
    sum = reduce(warp, sum, plus<float>{});
    if (block.thread_rank() == 0) atomicAdd(out, sum);
}

// a tile of 8 x 8 results per thread of 16 x 16, four floats at a time; C = A B^T + bias
__device__ float4 ld_vec(const float* address) { return *reinterpret_cast<const float4*>(address); }
__device__ void st_vec(float* address, float4 value) { *reinterpret_cast<float4*>(address) = value; }

__global__ void __launch_bounds__(16 * 16) matmul_forward_kernel4(
    float* out, const float* inp, const float* share, const float* bias, int C, int OC) {
    const int oc = 8 * (blockIdx.y * blockDim.y + threadIdx.y);
    __shared__ float lhs_s[128][32], rhs_s[128][32];
    inp += 128 * blockIdx.x * C;
    share += 128 * blockIdx.y * C;
    out += 128 * (blockIdx.x * OC + blockIdx.y);

    float vals[8][8] = {};
    if (bias != NULL)
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j += 4) {
                const float4 b = ld_vec(bias + oc + j);
                vals[i][j + 0] = b.x;
                vals[i][j + 1] = b.y;
                vals[i][j + 2] = b.z;
                vals[i][j + 3] = b.w;
            }
    const int low = 4 * (16 * threadIdx.y + threadIdx.x);
    for (int so = 0; so < C; so += 32) {
        __syncthreads();
        const int row = low / 32, col = low % 32;
        for (int y = row; y < 128; y += 32) {
            st_vec(&lhs_s[y][col], ld_vec(inp + y * C + so + col));
            st_vec(&rhs_s[y][col], ld_vec(share + y * C + so + col));
        }
        __syncthreads();
        for (int si = 0; si < 32; si += 4) {
            float4 rhs[8];
            for (int u = 0; u < 8; ++u) rhs[u] = ld_vec(&rhs_s[u + 8 * threadIdx.y][si]);
            for (int i = 0; i < 8; ++i) {
                const float4 lhs = ld_vec(&lhs_s[i + 8 * threadIdx.x][si]);
                for (int j = 0; j < 8; ++j) {
                    vals[i][j] += lhs.x * rhs[j].x + lhs.y * rhs[j].y;
                    vals[i][j] += lhs.z * rhs[j].z + lhs.w * rhs[j].w;
                }
            }
        }
    }
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; j += 4) {
            const float4 result = {vals[i][j + 0], vals[i][j + 1], vals[i][j + 2], vals[i][j + 3]};
            st_vec(&out[(8 * threadIdx.x + i) * OC + 8 * threadIdx.y + j], result);
        }
}

template <typename T>
void launch_global_norm(float* out, const T* values, size_t count, int block_size) {
    cudaDeviceProp prop;
    cudaGetDeviceProperties(&prop, 0);
    const int grid = prop.maxThreadsPerMultiProcessor * prop.multiProcessorCount / block_size;
    assert(grid > 0);
    gpuCheck(cudaMemset(out, 0, sizeof(float)));
    global_norm_kernel<<<grid, block_size>>>(out, values, count);
}

int main() {
    float *params, *out;
    gpuCheck(cudaMalloc(&params, 1048576 * sizeof(float)));
    gpuCheck(cudaMalloc(&out, sizeof(float)));
    launch_global_norm(out, params, 1048576, 512);
    adamw_kernel1<<<1048576 / kBlock, kBlock>>>(params, params, params, params, 1048576, 1e-3f, 0.9f,
                                                0.999f, 0.1f, 0.001f, 1e-8f, 0.0f);
    return 0;
}
