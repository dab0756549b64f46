// device_library.cu -- what a kernel has of CUDA's headers and of std without including them.
#include "common.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__global__ void constants(float* f, double* d, long long* i) {
    constexpr float infinity = INFINITY;
    constexpr int most = INT_MAX;
    static_assert(most == 2147483647 && CHAR_BIT == 8 && infinity > FLT_MAX, "constants");
    __shared__ float row[std::numeric_limits<uchar>::max() + 1];
    row[threadIdx.x] = CUDART_PI_F;
    f[0] = infinity, f[1] = NAN, f[2] = FLT_MAX, f[3] = FLT_MIN, f[4] = FLT_EPSILON;
    f[5] = CUDART_INF_F, f[6] = CUDART_NAN_F, f[7] = row[threadIdx.x], f[8] = CUDART_SQRT_HALF_F;
    f[9] = std::numeric_limits<float>::lowest(), f[10] = -std::numeric_limits<float>::infinity();
    f[11] = __half2float(CUDART_INF_FP16), f[12] = __bfloat162float(CUDART_ONE_BF16);
    f[13] = float(std::numeric_limits<__half>::max()), f[14] = float(std::numeric_limits<__half>::epsilon());
    d[0] = M_PI, d[1] = DBL_MAX, d[2] = CUDART_PI, d[3] = M_SQRT1_2, d[4] = HUGE_VAL;
    i[0] = INT_MIN, i[1] = UINT_MAX, i[2] = LLONG_MAX, i[3] = (long long)SIZE_MAX, i[4] = SHRT_MAX;
    uint u = 1u << 31;
    ushort s = 65535;
    ulong l = ~0ul;
    i[5] = u, i[6] = s, i[7] = (long long)(l >> 1), i[8] = std::numeric_limits<uint8_t>::max();
}

struct Less {
    __device__ bool operator()(int a, int b) const { return a < b; }
};
template <typename T>
__device__ T&& passed(T&& value) { return std::forward<T>(value); }

__global__ void standard(const float* x, float* y, int* z) {
    float a = x[0], b = x[1];
    std::swap(a, b);
    y[0] = a, y[1] = std::max(x[0], x[1]), y[2] = std::min(x[0], x[1]), y[3] = std::sqrt(x[2]);
    y[4] = cuda::std::exp(x[1]), y[5] = std::abs(-x[0]), y[6] = std::move(b), y[7] = passed(2.5f);
    z[0] = std::is_same<float, std::remove_reference_t<decltype(a)>>::value;
    z[1] = std::max(3, 5, Less()), z[2] = std::clamp(9, 1, 7), z[3] = std::abs(-4);
    z[4] = std::plus<int>()(2, 3) + std::numeric_limits<int>::digits;
}

__global__ void rounded(const float* x, const float* y, float* out, const double* u, double* v, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float a = x[i], b = y[i];
    float results[] = {__fadd_rz(a, b), __fadd_ru(a, b), __fadd_rd(a, b), __fmul_rz(a, b), __fmul_ru(a, b),
                       __fmul_rd(a, b), __fdiv_rz(a, b), __fdiv_ru(a, b), __fdiv_rd(a, b), __fmaf_ru(a, b, a),
                       __fmaf_rd(a, b, a), __fsqrt_ru(fabsf(a)), __fsqrt_rd(fabsf(a)), __frcp_ru(a), __frcp_rd(a)};
    for (int k = 0; k < 15; ++k) out[k * n + i] = results[k];
    v[i] = __dadd_ru(u[i], 1e-25), v[n + i] = __dadd_rd(u[i], -1e-25), v[2 * n + i] = __ddiv_rn(u[i], 3.0);
    v[3 * n + i] = __dsqrt_rn(fabs(u[i])), v[4 * n + i] = __fma_rz(u[i], 3.0, 1.0);
}

__global__ void to_whole(const float* x, int* i, unsigned* u, long long* l, float* f, int n) {
    const int k = threadIdx.x;
    if (k >= n) return;
    i[k] = __float2int_rn(x[k]), i[n + k] = __float2int_rz(x[k]), i[2 * n + k] = __float2int_ru(x[k]);
    i[3 * n + k] = __float2int_rd(x[k]), i[4 * n + k] = __double2int_rn(x[k]);
    u[k] = __float2uint_rn(x[k]), u[n + k] = __double2uint_rz(x[k]);
    l[k] = __float2ll_rn(x[k]), l[n + k] = __double2ll_rd(x[k]);
    f[k] = __ll2float_rz(16777217ll * (k + 1)), f[n + k] = __ll2float_ru(-16777217ll * (k + 1));
    f[2 * n + k] = __int2float_rd(16777217), f[3 * n + k] = __double2float_ru(0.1 * (k + 1));
    f[4 * n + k] = float(__hiloint2double(__double2hiint(x[k]), __double2loint(x[k])));
}

__global__ void whole_numbers(const unsigned* x, unsigned* y, unsigned long long* z, int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    const unsigned a = x[i], b = x[(i + 1) % n];
    unsigned results[] = {__byte_perm(a, b, 0x7531), __byte_perm(a, b, 0x0eb8), __sad(int(a), int(b), 7u), __usad(a, b, 7u),
                          __vadd4(a, b), __vsub2(a, b), __vaddus4(a, b), __vsubss2(a, b), __vabsdiffu4(a, b),
                          __vsadu4(a, b), __vcmpgtu4(a, b), __vsetlts2(a, b), unsigned(__dp4a(int(a), int(b), 5)),
                          __dp4a(a, b, 5u), __fns(a, 0, 3), __fns(a, 31, -2), __funnelshift_lc(a, b, 40), __umul24(a, b),
                          unsigned(__hadd(int(a), int(b))), __urhadd(a, b), unsigned(max(3l, 5ul)), umax(a, b)};
    for (int k = 0; k < 22; ++k) y[k * n + i] = results[k];
    z[i] = __brevll((unsigned long long)a << 32 | b), z[n + i] = (unsigned long long)__mul64hi(-5ll << 60, a);
}

__global__ void special(const double* x, double* y, int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    const double a = x[i];
    const double results[] = {erfinv(a), erfcinv(1 + a), normcdfinv((1 + a) / 2), erfcx(40 * a), cyl_bessel_i0(a),
                              cyl_bessel_i1(a), norm3d(a, 1, 2), rnorm4d(a, 1, 2, 3), rhypot(a, 1.0), sinpi(a)};
    for (int k = 0; k < 10; ++k) y[k * n + i] = results[k];
    y[10 * n + i] = erfinvf(float(a)), y[11 * n + i] = norm3df(float(a), 1, 2);
}

__global__ void ticks(long long* out) {
    const long long start = clock64();
    __nanosleep(100);
    out[threadIdx.x] = clock64() >= start && clock() > 0;
}

template <typename T> struct PairOf;
template <> struct PairOf<__half> { using type = __half2; };
template <> struct PairOf<__nv_bfloat16> { using type = __nv_bfloat162; };
// x: pairs; y: a row of n / 2 pairs for each result.
// instances: T = __half, __nv_bfloat16
template <typename T>
__global__ void pairs(const T* x, T* y, int* z, const int n) {
    using Two = typename PairOf<T>::type;
    const int i = threadIdx.x;
    if (i >= n / 2) return;
    const Two a = reinterpret_cast<const Two*>(x)[i], b = reinterpret_cast<const Two*>(x)[(i + 1) % (n / 2)];
    Two sum = a;
    sum += b;
    ++sum;
    const Two results[] = {__hadd2(a, b), __hsub2(a, b), __hmul2(a, b), __h2div(a, b), __hfma2(a, b, b), __hmax2(a, b),
                           __hmin2(a, b), __hneg2(a), __habs2(a), h2exp(a), h2sqrt(__habs2(a)), h2rcp(a), h2floor(a), h2rint(a),
                           __hgt2(a, b), __hadd2_sat(a, b), sum, a * b - a, h2cos(a), __lowhigh2highlow(a), __hfma2_relu(a, b, a)};
    for (int k = 0; k < 21; ++k) reinterpret_cast<Two*>(y)[k * n / 2 + i] = results[k];
    z[i] = __hbgt2(a, b), z[n + i] = a == a && a != b, z[2 * n + i] = int(a.x), z[3 * n + i] = a.x ? 1 : 0;
}
__global__ void half_conversions(const float* x, __half* y, int* z, const int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    y[i] = __float2half_rz(x[i]), y[n + i] = __float2half_ru(x[i]), y[2 * n + i] = __float2half_rd(x[i]);
    y[3 * n + i] = __int2half_rn(int(x[i])), y[4 * n + i] = __low2half(__float2half2_rn(x[i]));
    y[5 * n + i] = __shfl_xor_sync(0xffffffffu, __float2half(x[i]), 1);
    z[i] = __half2int_rn(__float2half(x[i])), z[n + i] = __half2int_rz(__float2half(x[i]));
    z[2 * n + i] = __half2int_ru(__float2half(x[i])), z[3 * n + i] = __hisinf(__float2half(x[i] * 1e6f));
}
// Every thread adds 1 and 2 to a pair, 1 to a number.
__global__ void half_sums(__half* pair, __half* one, __nv_bfloat16* other, unsigned short* once, int* block) {
    atomicAdd(reinterpret_cast<__half2*>(pair), __floats2half2_rn(1, 2));
    atomicAdd(one, __float2half(1));
    atomicAdd(other, __float2bfloat16(1));
    atomicCAS(once, (unsigned short)0, (unsigned short)(threadIdx.x + 1));
    atomicAdd_block(block, 1), atomicMax_system(block + 1, int(threadIdx.x));
}
