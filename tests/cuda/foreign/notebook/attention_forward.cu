/*
Causal attention. Input (B, T, 3, NH, HS), output (B, T, NH * HS).

kernel 1: scores, softmax and values each on their own, a thread per result
kernel 2: one kernel over blocks of keys, nothing of size T * T is stored
kernel 3: the permutations around matrix products by cuBLAS
*/
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

static cublasHandle_t cublas_handle;

__global__ void attention_query_key_kernel1(float* scores, const float* x, int B, int T, int C, int NH) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= B * NH * T * T) return;
    const int key = i % T, query = i / T % T, head = i / (T * T) % NH, b = i / (T * T * NH);
    if (key > query) { // the future
        scores[i] = -INFINITY;
        return;
    }
    const int HS = C / NH;
    const float* q = x + (size_t)(b * T + query) * 3 * C + head * HS;
    const float* k = x + (size_t)(b * T + key) * 3 * C + head * HS + C;
    float dot = 0.0f;
    for (int d = 0; d < HS; d++) dot += q[d] * k[d];
    scores[i] = dot * rsqrtf((float)HS);
}

__global__ void attention_softmax_kernel1(float* att, const float* scores, int B, int T, int NH) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r >= B * NH * T) return;
    const int own = r % T;
    scores += r * T;
    att += r * T;
    float top = -FLT_MAX;
    for (int c = 0; c <= own; c++) top = max(top, scores[c]);
    float total = 0.0f;
    for (int c = 0; c <= own; c++) total += att[c] = expf(scores[c] - top);
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
    for (int c = 0; c < T; c++) {
        // what is beyond was never computed
        att[c] = c <= own ? att[c] * inverse : 0.0f;
    }
}

__global__ void attention_value_kernel1(float* out, const float* att, const float* x,
                                        int B, int T, int C, int NH) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < B * T * C) {
        const int HS = C / NH;
        const int c = i % C, t = i / C % T, b = i / (C * T), head = c / HS;
        const float* weights = att + ((size_t)(b * NH + head) * T + t) * T;
        float sum = 0.0f;
        for (int s = 0; s <= t; s++) sum += weights[s] * x[(size_t)(b * T + s) * 3 * C + 2 * C + c];
        out[i] = sum;
    }
}

// a block per head and batch, a thread per query of a tile of Br; l and m are the running sums and
// maxima of the rows
__global__ void attention_forward_kernel2(const float* Q, const float* K, const float* V,
                                          const int N, const int d, const int Tc, const int Tr,
                                          const int Bc, const int Br, const float softmax_scale,
                                          float* l, float* m, float* O) {
    const int tx = threadIdx.x;
    const size_t matrix = (size_t)(blockIdx.x * gridDim.y + blockIdx.y) * N * d;
    const size_t row = (size_t)(blockIdx.x * gridDim.y + blockIdx.y) * N;

    extern __shared__ float tiles[];
    float* Qi = tiles;
    float* Kj = Qi + Br * d;
    float* Vj = Kj + Bc * d;
    float* S = Vj + Bc * d;

    for (int j = 0; j < Tc; j++) {
        for (int k = tx; k < Bc * d; k += blockDim.x) {
            Kj[k] = K[matrix + j * Bc * d + k];
            Vj[k] = V[matrix + j * Bc * d + k];
        }
        __syncthreads();
        for (int i = j * Bc / Br; i < Tr; i++) {
            const int query = i * Br + tx;
            for (int k = 0; k < d; k++) Qi[tx * d + k] = Q[matrix + (size_t)query * d + k];
            const float m_before = m[row + query], l_before = l[row + query];

            float m_tile = -INFINITY;
            for (int y = 0; y < Bc; y++) {
                if (j * Bc + y > query) break;
                float dot = 0;
                for (int k = 0; k < d; k++) dot += Qi[tx * d + k] * Kj[y * d + k];
                S[tx * Bc + y] = softmax_scale * dot;
                m_tile = fmaxf(m_tile, S[tx * Bc + y]);
            }
            if (m_tile == -INFINITY) continue;
            float l_tile = 0;
            for (int y = 0; y < Bc && j * Bc + y <= query; y++)
                l_tile += S[tx * Bc + y] = __expf(S[tx * Bc + y] - m_tile);

            const float m_after = fmaxf(m_before, m_tile);
            const float old_part = l_before == 0 ? 0.0f : __expf(m_before - m_after) * l_before;
            const float new_part = __expf(m_tile - m_after);
            const float l_after = old_part + new_part * l_tile;
            for (int k = 0; k < d; k++) {
                float pv = 0;
                for (int y = 0; y < Bc && j * Bc + y <= query; y++) pv += S[tx * Bc + y] * Vj[y * d + k];
                float* o = &O[matrix + (size_t)query * d + k];
                *o = (old_part * *o + new_part * pv) / l_after;
            }
            m[row + query] = m_after;
            l[row + query] = l_after;
        }
        __syncthreads(); // K and V are about to be replaced
    }
}

// (B, N, 3, NH, d) -> three times (B, NH, N, d)
__global__ void split_heads_kernel(float* q, float* k, float* v, const float* x,
                               int B, int N, int NH, int d) {
    const int to = threadIdx.x + blockIdx.x * blockDim.x;
    if (to >= B * NH * N * d) return;
    const int in_head = to % d, n = to / d % N, head = to / (d * N) % NH, b = to / (d * N * NH);
    const int from = ((b * N + n) * 3 * NH + head) * d + in_head;
    q[to] = __ldcs(x + from);
    k[to] = __ldcs(x + from + NH * d);
    v[to] = __ldcs(x + from + 2 * NH * d);
}

// (B, NH, N, d) -> (B, N, NH, d)
__global__ void join_heads_kernel(const float* x, float* out, int B, int N, int NH, int d) {
    const int from = threadIdx.x + blockIdx.x * blockDim.x;
    if (from < B * NH * N * d) {
        const int in_head = from % d, n = from / d % N, head = from / (d * N) % NH, b = from / (d * N * NH);
        out[((b * N + n) * NH + head) * d + in_head] = __ldcs(&x[from]);
    }
}

__global__ void scale_and_mask_kernel(float* x, float scale, int B, int NH, int T) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < B * NH * T * T) x[i] = i % T > i / T % T ? -INFINITY : x[i] * scale;
}

void attention_forward3(float* out, float* vaccum, float* qkvr, float* preatt, const float* x,
                        int B, int T, int C, int NH, const int threads) {
    const int HS = C / NH, n = B * T * C;
    float *q = qkvr, *k = q + n, *v = k + n;
    split_heads_kernel<<<ceil_div(n, threads), threads>>>(q, k, v, x, B, T, NH, HS);
    const float one = 1.0f, zero = 0.0f;
    cublasSgemmStridedBatched(cublas_handle, CUBLAS_OP_T, CUBLAS_OP_N, T, T, HS, &one, k, HS, T * HS,
                              q, HS, T * HS, &zero, preatt, T, T * T, B * NH);
    scale_and_mask_kernel<<<ceil_div(B * NH * T * T, threads), threads>>>(preatt, 1.0f / sqrtf(HS), B, NH, T);
    join_heads_kernel<<<ceil_div(n, threads), threads>>>(vaccum, out, B, T, NH, HS);
}

void attention_forward2(float* out, const float* q, const float* k, const float* v, float* l, float* m,
                        int B, int T, int C, int NH) {
    const int Bc = 32, Br = 32, d = C / NH;
    const int bytes = ((2 * Bc + Br) * d + Bc * Br) * sizeof(float);
    int most;
    cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlock, 0);
    printf("%d bytes of shared memory, at most %d\n", bytes, most);
    attention_forward_kernel2<<<dim3(B, NH), Br, bytes>>>(
        q, k, v, T, d, ceil_div(T, Bc), ceil_div(T, Br), Bc, Br, 1.0 / sqrt(d), l, m, out);
}
