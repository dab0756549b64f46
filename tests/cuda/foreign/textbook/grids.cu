#include <algorithm>
#include <chrono>
#include <cuda_runtime.h>
#include <iostream>

using Real = double;
using std::cout;
enum Boundary { FIXED, PERIODIC };
constexpr int IN_TILE = 6;
constexpr int OUT_TILE = IN_TILE - 2;
constexpr __host__ __device__ int wrapped(int i, int n) { return i < 0 ? i + n : (i >= n ? i - n : i); }

// The seven points of a stencil in three dimensions, through shared memory
__global__ void stencil7(const float *in, float *out, unsigned N, float c0, float c1 = 1.0f) {
    __shared__ float tile[IN_TILE][IN_TILE][IN_TILE];
    int i = blockIdx.z * OUT_TILE + threadIdx.z - 1;
    int j = blockIdx.y * OUT_TILE + threadIdx.y - 1;
    int k = blockIdx.x * OUT_TILE + threadIdx.x - 1;
    bool inside = i >= 0 && i < N && j >= 0 && j < N && k >= 0 && k < N;
    if (inside) tile[threadIdx.z][threadIdx.y][threadIdx.x] = in[(i * N + j) * N + k];
    __syncthreads();
    if (i >= 1 && i < N - 1 && j >= 1 && j < N - 1 && k >= 1 && k < N - 1) {
        int z = threadIdx.z, y = threadIdx.y, x = threadIdx.x;
        if (z >= 1 && z <= OUT_TILE && y >= 1 && y <= OUT_TILE && x >= 1 && x <= OUT_TILE) {
            out[(i * N + j) * N + k] =
                c0 * tile[z][y][x] + c1 * (tile[z - 1][y][x] + tile[z + 1][y][x] + tile[z][y - 1][x] +
                                           tile[z][y + 1][x] + tile[z][y][x - 1] + tile[z][y][x + 1]);
        }
    }
}

// How many live after each generation
__device__ unsigned long long population;

__global__ void lifeStep(const bool *now, bool *then, int width, int height, Boundary boundary) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int alive = 0;
    for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
            if (dx == 0 && dy == 0) continue;
            int nx = x + dx, ny = y + dy;
            if (boundary == PERIODIC) {
                nx = wrapped(nx, width), ny = wrapped(ny, height);
            } else if (nx < 0 || ny < 0 || nx >= width || ny >= height) {
                continue;
            }
            alive += now[ny * width + nx];
        }
    bool lives = alive == 3 || (alive == 2 && now[y * width + x]);
    then[y * width + x] = lives;
    if (lives) atomicAdd(&population, 1ull);
}

#define HEAT_X 8

// Steps of the heat equation on a rod that fits into a block
__global__ void heatRod(Real *u, int steps, Real alpha) {
    __shared__ Real rod[2][4 * HEAT_X];
    int i = threadIdx.x, now = 0;
    rod[0][i] = u[i];
    __syncthreads();  // loaded
    for (int s = 0; s < steps; ++s, now ^= 1) {
        Real left = i > 0 ? rod[now][i - 1] : rod[now][i];
        Real right = i < blockDim.x - 1 ? rod[now][i + 1] : rod[now][i];
        rod[now ^ 1][i] = rod[now][i] + alpha * (left - 2 * rod[now][i] + right);
        __syncthreads();  // the step is done
    }
    u[i] = rod[now][i];
}

struct Matrix {
    int width, height, stride;
};

// Matrices by their shapes, elements beside them
__global__ void multiplyMatrices(Matrix a, Matrix b, const double *__restrict__ A,
                                 const double *__restrict__ B, double *C) {
    __shared__ double As[HEAT_X][HEAT_X], Bs[HEAT_X][HEAT_X];
    int row = blockIdx.y * HEAT_X + threadIdx.y, col = blockIdx.x * HEAT_X + threadIdx.x;
    double value = 0;
    for (int m = 0; m < (a.width + HEAT_X - 1) / HEAT_X; ++m) {
        int ac = m * HEAT_X + threadIdx.x, br = m * HEAT_X + threadIdx.y;
        As[threadIdx.y][threadIdx.x] = row < a.height && ac < a.width ? A[row * a.stride + ac] : 0;
        Bs[threadIdx.y][threadIdx.x] = br < b.height && col < b.width ? B[br * b.stride + col] : 0;
        __syncthreads();  // tiles of both
        for (int k = 0; k < HEAT_X; ++k) value += As[threadIdx.y][k] * Bs[k][threadIdx.x];
        __syncthreads();  // tiles are free
    }
    if (row < a.height && col < b.width) C[row * b.width + col] = value;
}

int main() {
    auto start = std::chrono::high_resolution_clock::now();
    float *in, *out;
    cudaMallocManaged(&in, 64 * 64 * 64 * sizeof(float));
    cudaMallocManaged(&out, 64 * 64 * 64 * sizeof(float));
    std::fill(in, in + 64 * 64 * 64, 1.0f);
    const unsigned blocks = (64 + OUT_TILE - 1) / OUT_TILE;
    stencil7<<<dim3(blocks, blocks, blocks), dim3(IN_TILE, IN_TILE, IN_TILE)>>>(in, out, 64, -6.0f);
    cudaDeviceSynchronize();
    std::chrono::duration<double> took = std::chrono::high_resolution_clock::now() - start;
    cout << out[64 * 64 + 65] << " after " << took.count() << " s\n";
}
