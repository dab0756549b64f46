// function_values.cu -- functions that are passed as values, though each call of them is inlined.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

namespace cg = cooperative_groups;
typedef float (*Function)(float);

__device__ __forceinline__ float twice(float x) { return 2 * x; }
template <int n> __device__ __forceinline__ float scale(float x) { return n * x; }
__device__ __forceinline__ float larger(float x, float y) { return x > y ? x : y; }
__device__ __forceinline__ float load(const float* p) { return *p; }
struct Plus {
    __device__ __forceinline__ float operator()(float x, float y) const { return x + y; }
    __device__ static __forceinline__ float one(float x) { return x + 1; }
};
struct Scaled {
    Function f;
    float k;
    __device__ __forceinline__ float operator()(float v) const { return f(v) * k; }
};
struct Base {
    __device__ virtual float f(float x) const { return x; }
};
struct Derived : Base {
    __device__ __forceinline__ float f(float x) const override { return x * 5; }
};

__constant__ Function table[] = {twice, scale<3>};
__device__ Scaled scaled[2] = {{twice, 10}, {fabsf, 1}};

template <Function f> __device__ float apply(float x) { return f(x); }
template <Function f> __device__ __forceinline__ float apply_inline(float x) { return f(x); }
template <class F, class... T> __device__ __forceinline__ float call(F f, T... x) { return f(x...); }
template <class T, T (*f)(T, T)> __device__ __forceinline__ T fold(T v) {
    for (int step = 16; step; step /= 2) v = f(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

// x[t] is t: each line adds what it says.
__global__ void values(const float* x, float* y) {
    const int t = threadIdx.x;
    const float v = x[t];
    const auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    float sum = apply<twice>(v) + apply_inline<scale<3>>(v) + apply<Plus::one>(v);  // 6 t + 1
    sum += call(twice, v) + call(Plus(), v, v) + call(Plus::one, v) + call(fabsf, v);  // 6 t + 1
    sum += table[t & 1](v) + scaled[0](v) + (scaled + 1)->f(v);  // 23 t or 24 t
    Function either = t & 1 ? twice : scale<3>;
    sum += either(v);  // 3 t or 2 t
    float (*read)(const float*) = load;
    sum += read(x + t) + call([](float a) { return twice(a) + load(&a); }, v);  // 4 t
    sum += fold<float, larger>(v) + cg::reduce(warp, v, larger) + cg::reduce(warp, v, Plus());  // 558
    const Derived derived;
    const Base& base = derived;
    y[t] = sum + base.f(v);  // 5 t
}
