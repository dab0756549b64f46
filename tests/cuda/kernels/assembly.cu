// assembly.cu -- inline assembly of the kinds that kernels have.
// needs: sm_80
#include "common.cuh"
#include <cuda_fp16.h>
#include <cuda_bf16.h>

__device__ unsigned address_of(const void* p) {
    unsigned address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(p));
    return address;
}

__global__ void lanes(unsigned* out) {
    unsigned lane, below, warp;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    asm volatile("mov.u32 %0, %%lanemask_lt;\n\t"
                 "mov.u32 %1, %%warpid;" : "=r"(below), "=r"(warp));
    out[threadIdx.x] = lane, out[64 + threadIdx.x] = below, out[128 + threadIdx.x] = warp;
    asm volatile("mov.u32 %0, %ctaid.x;" : "=r"(out[192 + threadIdx.x]) :);
}

__global__ void numbers(const float* x, const int* k, float* y, int* z, const int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    const float a = x[i], b = x[(i + 1) % n];
    const int u = k[i], v = k[(i + 1) % n];
    float f[10];
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(f[0]) : "f"(a));
    asm("tanh.approx.f32 %0, %1;" : "=f"(f[1]) : "f"(a));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(f[2]) : "f"(a));
    asm("rsqrt.approx.f32 %0, %1;" : "=f"(f[3]) : "f"(fabsf(a)));
    asm("lg2.approx.f32 %0, %1;" : "=f"(f[4]) : "f"(fabsf(a)));
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(f[5]) : "f"(a), "f"(b), "f"(a));
    asm("{ .reg .pred p; setp.gt.f32 p, %1, %2; selp.f32 %0, %1, %2, p; }" : "=f"(f[6]) : "f"(a), "f"(b));
    asm("mul.f32 %0, %1, 0f40000000;" : "=f"(f[7]) : "f"(a));
    f[8] = b;
    asm("{ .reg .pred p<2>; setp.lt.s32 p1, %1, 0; @p1 add.f32 %0, %0, %2; @!p1 sub.f32 %0, %0, %2; }"
        : "+f"(f[8]) : "r"(u), "f"(a));
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(a));
    asm("cvt.f32.f16 %0, %1;" : "=f"(f[9]) : "h"(half));
    for (int j = 0; j < 10; ++j) y[j * n + i] = f[j];
    int r[20];
    asm("add.s32 %0, %1, %2;" : "=r"(r[0]) : "r"(u), "r"(v));
    asm("mad.lo.s32 %0, %1, %2, %3;" : "=r"(r[1]) : "r"(u), "r"(v), "r"(u));
    asm("mul.hi.s32 %0, %1, %2;" : "=r"(r[2]) : "r"(u), "r"(v));
    asm("lop3.b32 %0, %1, %2, %3, 0xe8;" : "=r"(r[3]) : "r"(u), "r"(v), "r"(i));
    asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(r[4]) : "r"(u), "r"(v));
    asm("bfe.u32 %0, %1, 4, 9;" : "=r"(r[5]) : "r"(u));
    asm("bfe.s32 %0, %1, 4, 9;" : "=r"(r[6]) : "r"(u));
    asm("bfi.b32 %0, %1, %2, 8, 8;" : "=r"(r[7]) : "r"(u), "r"(v));
    asm("shl.b32 %0, %1, %2;" : "=r"(r[8]) : "r"(u), "n"(5));
    asm("shr.s32 %0, %1, 40;" : "=r"(r[9]) : "r"(u));
    asm("popc.b32 %0, %1;" : "=r"(r[10]) : "r"(u));
    asm("min.s32 %0, %1, %2;" : "=r"(r[11]) : "r"(u), "r"(v));
    asm("{ .reg .u64 w; mul.wide.u32 w, %1, %2; shr.u64 w, w, 32; cvt.u32.u64 %0, w; }" : "=r"(r[12]) : "r"(u), "r"(v));
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; mov.b32 %0, {high, low}; }" : "=r"(r[13]) : "r"(u));
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r[14]) : "f"(a));
    asm("cvt.rzi.s32.f32 %0, %1;" : "=r"(r[15]) : "f"(a * 100));
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r[16]) : "f"(a), "f"(b));
    asm("shf.l.wrap.b32 %0, %1, %2, 8;" : "=r"(r[17]) : "r"(u), "r"(v));
    asm("xor.b32 %0, %1, %2; not.b32 %0, %0;" : "=r"(r[18]) : "r"(u), "r"(v));
    asm volatile("shfl.sync.bfly.b32 %0, %1, 1, 0x1f, 0xffffffff;" : "=r"(r[19]) : "r"(u));
    for (int j = 0; j < 20; ++j) z[j * n + i] = r[j];
}

// y = 2 x in pieces of 16 bytes, through shared memory; total counts the threads.
__global__ void moves(const float* x, float* y, int* total, const int n) {
    __shared__ __align__(16) float staged[128];
    const int i = 4 * threadIdx.x;
    float a, b, c, d;
    if (i < n) {
        asm volatile("ld.global.nc.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(a), "=f"(b), "=f"(c), "=f"(d) : "l"(x + i));
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                     :: "r"(address_of(staged + i)), "f"(a), "f"(b), "f"(c), "f"(d));
    }
    asm volatile("bar.sync 0;" ::: "memory");
    if (i < n) {
        asm volatile("ld.shared.f32 %0, [%1+4];" : "=f"(b) : "r"(address_of(staged + i)));
        asm volatile("st.global.cs.f32 [%0], %1;" :: "l"(y + i), "f"(a + a));
        asm volatile("st.global.v2.f32 [%0+8], {%1, %2};" :: "l"(y + i), "f"(c + c), "f"(d + d));
        y[i + 1] = 2 * b;
        asm volatile("red.global.add.s32 [%0], %1;" :: "l"(total), "n"(1) : "memory");
    }
}

// D (16, 8) = A (16, 16) times the transpose of B (8, 16), loaded by asynchronous copies and ldmatrix.
__global__ void tile(const half* a, const half* b, float* d, half* e) {
    __shared__ __align__(16) half left[16][16], right[8][16];
    const int lane = threadIdx.x;
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], %2;\n"
                 :: "r"(address_of(&left[lane / 2][lane % 2 * 8])), "l"(a + lane * 8), "n"(16));
    asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %0, 0;\n"
                 " @p cp.async.ca.shared.global [%1], [%2], 16, %3;\n}\n"
                 :: "r"(int(lane < 16)), "r"(address_of(&right[lane / 2 % 8][lane % 2 * 8])), "l"(b + lane % 16 * 8),
                 "r"(lane == 15 ? 8 : 16));
    asm volatile("cp.async.commit_group;\n" ::);
    asm volatile("cp.async.wait_group %0;\n" :: "n"(0));
    __syncthreads();
    unsigned fa[4], fb[2];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                 : "r"(address_of(&left[lane % 16][lane / 16 * 8])));
    asm volatile("ldmatrix.sync.aligned.x2.m8n8.shared.b16 {%0, %1}, [%2];\n"
                 : "=r"(fb[0]), "=r"(fb[1]) : "r"(address_of(&right[lane % 8][lane / 8 % 2 * 8])));
    float sum[4] = {0.f, 0.f, 0.f, 0.f};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\n"
                 : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]),
                   "f"(sum[0]), "f"(sum[1]), "f"(sum[2]), "f"(sum[3]));
    for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
    // the same in halves, in two steps of half of K
    unsigned c[2] = {0, 0};
    for (int k = 0; k < 2; ++k)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3}, {%4}, {%0, %1};\n"
                     : "+r"(c[0]), "+r"(c[1]) : "r"(fa[2 * k]), "r"(fa[2 * k + 1]), "r"(fb[k]));
    for (int i = 0; i < 2; ++i)
        *reinterpret_cast<unsigned*>(e + (lane / 4 + 8 * i) * 8 + lane % 4 * 2) = c[i];
}

// y: the transpose of each 8 x 8 matrix of x (4 of them), by ldmatrix, and back by stmatrix.
__global__ void transposes(const half* x, half* y, half* z) {
    __shared__ __align__(16) half rows[32][8];
    const int lane = threadIdx.x;
    for (int i = 0; i < 8; ++i) rows[lane][i] = x[lane * 8 + i];
    __syncwarp();
    unsigned r[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address_of(rows[lane])));
    for (int m = 0; m < 4; ++m) reinterpret_cast<unsigned*>(y)[m * 32 + lane] = r[m];
    __syncwarp();
#if defined(MINIALEX_EMULATED) || __CUDA_ARCH__ >= 900
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
                 :: "r"(address_of(rows[lane])), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]));
#endif
    __syncwarp();
    for (int i = 0; i < 8; ++i) z[lane * 8 + i] = rows[lane][i];
}
