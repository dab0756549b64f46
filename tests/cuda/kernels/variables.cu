// variables.cu -- variables at file scope, which Python fills and reads by their names.

#define RADIUS 2
#define SCALED 1
typedef float real;

struct Option {
    float strike, years;
    int calls;
};
struct Range {
    double low, high;
};

__constant__ float taps[2 * RADIUS + 1];
__constant__ int table[2][3] = {{1, 2, 3}, {4, 5, 6}};
static __constant__ real gain, offset = 0.5;
__constant__ decltype(1.5f) bias;
static __constant__ __align__(16) float4 colours[3];
__constant__ Option options[4];
#if SCALED
__constant__ double scale;
#else
__constant__ float scale[8];
#endif
__constant__ struct Range range;
__device__ struct {
    int below, above;
} outside[2], *none;
__constant__ unsigned char small[] = {3, 1, 4};

__device__ unsigned long long visits;
__device__ int histogram[16], lowest = 0x7fffffff;
__device__ unsigned int all_ones = -1;
__device__ volatile int flag;
__device__ const char* words[2] = {"one", "two"};
__device__ short grid4[2][3][1][2] __attribute__((aligned(8)));
__device__ __half halves[2];
__managed__ int managed = 7;

__device__ const int fixed[3] = {2, 3, 5};
constexpr int NOT_A_VARIABLE = 3;
extern __device__ int elsewhere;
__device__ int elsewhere = 4;
template <class T> __device__ T of_any_type;

namespace left {
__device__ int count;
namespace inner {
__constant__ int limit;
}
}  // namespace left
namespace right {
__device__ int count;
}
namespace {
__device__ int hidden = 11;
}
extern "C" {
__device__ int plain;
}

// y (n) is x filtered by `taps`; x is (n + 2 * RADIUS).
__global__ void filter(const float* x, float* y, const int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0;
    for (int k = 0; k < 2 * RADIUS + 1; ++k) sum += taps[k] * x[i + k];  // USE taps
    y[i] = sum;
}

// y = table[row] * gain + offset + bias
__global__ void tables(float* y, const int row) {
    const int i = threadIdx.x;
    y[i] = table[row][i] * gain + offset + bias;
}

// y (3, 4)
__global__ void pixels(float* y) { reinterpret_cast<float4*>(y)[threadIdx.x] = colours[threadIdx.x];
}

__global__ void payoffs(float* y) {
    const Option& o = options[threadIdx.x];
    y[threadIdx.x] = o.strike * o.years + o.calls * float(scale) + small[threadIdx.x % 3];
}

__global__ void count_visits(const int* x, const int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicAdd(&visits, 1ull);
    atomicAdd(&histogram[x[i]], 1);
    atomicMin(&lowest, x[i]);
    atomicAdd(&left::count, 1);
}

__global__ void count_more(int* out) {
    if (threadIdx.x == 0) {
        visits += 100;  // USE visits
        right::count -= 1;
        out[0] = int(visits), out[1] = lowest, out[2] = left::count, out[3] = hidden++;
        out[4] = plain++, out[5] = managed++, out[6] = fixed[out[0] % 3], out[7] = elsewhere++;
        out[8] = all_ones == 0xffffffffu, out[9] = flag, flag = 1;
        halves[1] = __half(0.5f);
    }
}

__global__ void limit_range(float* x) {
    float& mine = x[threadIdx.x];
    atomicAdd(&outside[1].below, mine < range.low);
    atomicAdd(&outside[1].above, mine > range.high);
    mine = fminf(fmaxf(mine, range.low), range.high);
}

__global__ void spelled(int* out) {
    out[0] = words[1][2];
    grid4[1][2][0][1] += 1;
}

__global__ void limited(int* out) { out[0] = left::inner::limit; }

// ---- wrong ---------------------------------------------------------------------------------------

__global__ void racing(int* out) {
    right::count += 1;  // FAULT race
    if (threadIdx.x == 0) out[0] = 1;
}

__device__ void fill(int* at, const int n) {
    for (int i = 0; i < n; ++i) at[i] = i;  // FAULT past
}
__global__ void past_the_end(int* out, const int n) {
    fill(histogram, n);
    out[0] = histogram[0];
}

__device__ void set(float* at) { *at = 1; }  // FAULT constant
__global__ void writes_a_constant(int* out) {
    set(const_cast<float*>(taps));
    out[0] = 1;
}
