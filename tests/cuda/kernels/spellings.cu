// spellings.cu -- the ways in which kernels spell their declarations.
#include <assert.h>
#include <cassert>

struct Foo {
    float a;
    int b;
};
typedef unsigned int uint_t;

// ---- shared memory -------------------------------------------------------------------------------

extern __shared__ float dynamic_outside[];
__shared__ float outside[4], outside_too;
#define SHARED_BOX(name, n) __shared__ float name[n];

template <class T> struct SharedMemory {
    __device__ inline operator T*() {
        extern __shared__ int in_operator[];
        return (T*)in_operator;
    }
    __device__ inline operator const T*() const {
        extern __shared__ int in_operator[];
        return (T*)in_operator;
    }
};
template <typename T, int N> __device__ T first_and_last(const T* x) {
    __shared__ T box[N];
    static __shared__ T other[N];
    const int t = threadIdx.x;
    if (t < N) box[t] = other[t] = x[t];
    __syncthreads();
    return box[0] + other[N - 1];
}
__device__ float from_outside() { return outside[1] + outside_too; }

// Of x[t] = t, 32 threads.
__global__ void shared_arrays(const int* x, float* y) {
    extern __shared__ __align__(16) float dynamic[];
    extern __shared__ float4 in_fours[];
    extern __shared__ float rows_of_two[][2];
    __shared__ __align__(16) float aligned[32];
    alignas(16) __shared__ float aligned_before[32];
    __align__(8) __shared__ char aligned_too[16];
    __shared__ __attribute__((aligned(16))) char aligned_as_gcc[sizeof(Foo) * 4];
    __shared__ float array[4], *pointer;
    volatile __shared__ int is_volatile;
    __shared__ volatile float are_volatile[32];
    static __shared__ float static_before[4];
    __shared__ static float static_after[4];
    __shared__ struct {
        float v;
        int w[2];
    } unnamed;
    __shared__ struct Named { float v; } named[2], named_too;
    __shared__ Foo foos[4];
    __shared__ struct Foo foo;
    __shared__ union { float f; int i; } either;
    __shared__ unsigned long long int wide;
    __shared__ unsigned number;
    __shared__ float4 vectors[2];
    __shared__ const int* pointers[4];
    __shared__ float *pointer1, *pointer2;
    __shared__ float (*rows)[4];
    __shared__ void (*function)(int);
    __shared__ float sizes[int(sizeof(int))][sizeof(int) * 2];
    __shared__ __half halves[4];
    const int k = 3;
    __shared__ float sized[k + 1];
    int __shared__ behind;
    float __shared__ behind_array[2], behind_too;
    __shared__ int i1, i2, i3[2][3];
    __shared__ uint_t named_type;
    __shared__ bool flag;
    SHARED_BOX(in_macro, 2)
    const int t = threadIdx.x;
    float sum = 0;
    for (int i = 0; i < 2; ++i) {
        __shared__ float in_loop[32];
        in_loop[t] = i;
        __syncthreads();
        sum += in_loop[31 - t];
        __syncthreads();
    }
    if (t == 0) {
        aligned_too[0] = aligned_as_gcc[0] = array[0] = is_volatile = static_before[0] = 1;
        static_after[1] = unnamed.w[1] = named[1].v = named_too.v = foos[1].b = foo.a = either.f = 1;
        wide = number = vectors[0].w = sizes[3][7] = sized[3] = behind = behind_array[1] = 1;
        behind_too = i1 = i2 = i3[1][2] = named_type = flag = outside[1] = outside_too = in_macro[1] = 1;
        pointer = pointer1 = pointer2 = array, pointers[0] = x, function = nullptr;
        rows = reinterpret_cast<float(*)[4]>(array), halves[0] = __float2half(1.0f);
    }
    dynamic[t] = aligned[t] = aligned_before[t] = are_volatile[t] = t;
    __syncthreads();
    const auto mirrored = [&](float v) {
        __shared__ float in_lambda[32];
        in_lambda[t] = v;
        __syncthreads();
        return in_lambda[31 - t];
    };
    sum += aligned_too[0] + aligned_as_gcc[0] + array[0] + is_volatile + static_before[0];
    sum += static_after[1] + unnamed.w[1] + named[1].v + named_too.v + foos[1].b + foo.a + either.f;
    sum += wide + number + vectors[0].w + sizes[3][7] + sized[3] + behind + behind_array[1];
    sum += behind_too + i1 + i2 + i3[1][2] + named_type + flag + from_outside() + in_macro[1];
    sum += *pointer + *pointer1 + *pointer2 + *pointers[0] + (function == nullptr) + rows[0][0];
    sum += float(halves[0]) - 34;
    sum += aligned[t] + aligned_before[t] + are_volatile[t] - 3 * t;
    const float* const same = SharedMemory<float>();
    sum += same[t] + in_fours[t / 4].x + rows_of_two[t / 2][t % 2] + dynamic_outside[t];
    y[t] = sum + mirrored(t) + first_and_last<int, 4>(x);
}

// ---- functions, variables and names of CUDA's ----------------------------------------------------

__managed__ int managed_count;
__device__ __managed__ float managed_array[4] = {1, 2, 3, 4};
__constant__ __device__ float constant1 = 2;
__device__ __constant__ float constant2[2] = {2, 3};
static __constant__ float constant3[2] = {2, 3};
__device__ const float in_device[2] = {1, 2};
// Beyond CUDA the emulator takes __cudart_builtin__ anywhere, and warpSize for a constant.
#ifdef MINIALEX_EMULATED
__device__ __cudart_builtin__ float builtin = 1;
constexpr int LANES = warpSize;
#else
__device__ float builtin = 1;
constexpr int LANES = 32;
#endif
__host__ __device__ constexpr int square(int x) { return x * x; }
constexpr __host__ __device__ __forceinline__ int cube(int x) { return x * x * x; }
__device__ __inline__ float inline1(float x) { return x; }
static __inline__ __device__ float inline2(float x) { return x; }
__noinline__ __device__ float apart1(float x) { return x; }
__device__ __noinline__ float apart2(const float* __restrict x) { return *x; }
__device__ __attribute__((noinline)) float apart3(float x) { return x; }
template <int n> struct Lanes {
    static constexpr int warpSize = n;
};

__global__ void __launch_bounds__(128, 2) names(const int* __restrict__ x, float* __restrict y) {
    const int t = threadIdx.x;
    assert(t < 32);
    float own[LANES];
    for (int i = 0; i < warpSize; ++i) own[i] = i;
    struct {
        int warpSize;
    } settings = {2};
    float sum = own[t] + Lanes<LANES>::warpSize + settings.warpSize;
    {
        const int warpSize = 1;
        sum += warpSize;
    }
    sum += managed_count + managed_array[1] + constant1 + constant2[1] + constant3[1] + in_device[1];
    sum += builtin + square(2) + cube(2) + inline1(1) + inline2(1) + apart1(1) + apart2(own + 1) + apart3(1);
    y[t] = sum;
}
