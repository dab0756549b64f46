// undefined.cu -- kernels that do what C++ leaves undefined, in the line marked UNDEFINED where `fault`
// asks for it, and right ones that come close.

__device__ float table[16];
__constant__ float weights[4] = {1, 2, 3, 4};
struct Row {
    int n;
    float of[4];
    int last;
};

// x (64,): x[i] is i.
__global__ void bad_index(const int* x, float* y, const int fault) {
    __shared__ float tile[8][32];
    __shared__ Row rows[2];
    float own[8];
    const int t = threadIdx.x;
    for (int i = 0; i < 8; ++i) tile[i][t] = own[i] = x[i + t];
    if (t < 8) rows[t & 1].of[t / 2] = t;
    __syncthreads();
    if (fault == 1) y[t] = tile[t & 3][x[t + 1]];  // UNDEFINED tile[t & 3]
    if (fault == 2) y[t] = own[x[t]];  // UNDEFINED own
    if (fault == 3) y[t] = rows[0].of[x[t]] + 1;  // UNDEFINED rows[0].of
    if (fault == 4) table[x[t]] = 1;  // UNDEFINED table
    if (fault == 5) y[t] = 2 + weights[x[t]];  // UNDEFINED weights
    if (fault == 6) y[t] = own[x[t] - 1];  // UNDEFINED own, before
    if (fault == 7) y[t] = tile[x[t]][0];  // UNDEFINED tile
}

struct Open {
    int n;
    float data[1];
};
// What lies one behind an array may be pointed to, and the last member of a struct be as long as its
// memory.
__global__ void ends(const int* x, float* y) {
    float own[8];
    __shared__ float tile[4][8];
    for (int i = 0; i < 8; ++i) own[i] = tile[x[i] / 2][i] = x[i];
    float sum = 0;
    for (const float *p = own, *end = &own[x[8]]; p != end; ++p) sum += *p;
    for (float(*row)[8] = tile; row != &tile[x[4]]; ++row) sum += (*row)[2 * (row - tile)];
    for (const float* p = tile[x[3]]; p < tile[x[4]]; p += 7) sum += x[3];
    Open* const open = reinterpret_cast<Open*>(y + 8);
    for (int i = 0; i < x[4]; ++i) open->data[i] = i;
    y[0] = sum;
}

__global__ void bad_division(const int* x, int* y, const int fault) {
    const int t = threadIdx.x;
    if (fault == 1) y[t] = 7 / x[t];  // UNDEFINED int
    if (fault == 2) y[t] = 7 % (unsigned(x[t + 1]) - 1);  // UNDEFINED unsigned int
    if (fault == 3) y[t] = 7ll / x[t];  // UNDEFINED long long
    if (fault == 4) y[t] = (-2147483647 - 1 + x[0]) / (x[t] - 1);  // UNDEFINED overflow
}

// ---- crashes -------------------------------------------------------------------------------------

__device__ __noinline__ int deep(const int* x, const int n) {  // UNDEFINED recursion
    volatile int own[64];
    own[n & 63] = x[1];
    return n < 0 ? 0 : own[n & 63] + deep(x, n + x[1]) * own[n & 63];
}
__global__ void crash(const int* x, float* y, const int fault) {
    const int t = threadIdx.x;
    char* const nowhere = reinterpret_cast<char*>(size_t(x[8]));
    y[t] = 1;
    if (fault == 1) *nowhere = 1;
    if (fault == 2) memset(nowhere, 0, x[40]);
    if (fault == 3) reinterpret_cast<void (*)()>(nowhere)();
    if (fault == 4) *reinterpret_cast<char*>(size_t(x[1]) << 63) = 1;
    if (fault == 5) y[t] = deep(x, x[7]);
    if (fault == 6) {
        __syncthreads();
        y[t] = deep(x, x[7]);
    }
}
// Waits for what never comes.
__global__ void endless(const volatile int* x) {
    while (x[0] == 0) {
    }
}
