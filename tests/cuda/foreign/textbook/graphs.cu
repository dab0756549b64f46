#include <cuda.h>
#include <iostream>
#include <vector>
#include <limits.h>

#define BLOCK_QUEUE_SIZE 32

typedef unsigned int vertex_t;

struct CSRMatrix {
    int rows;
    int columns;
    long long nonzeros;
};

namespace graphs {

// Levels of a search in breadth, a level per launch: each vertex looks back
__global__ void bfsPull(const int *offsets, const vertex_t *neighbours, const int *before, int *after,
                        int current, int *changed, int vertices) {
    int v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v < vertices && before[v] == -1) {
        for (int e = offsets[v]; e < offsets[v + 1]; ++e) {
            if (before[neighbours[e]] == current - 1) {
                after[v] = current;
                *changed = 1;
                break;
            }
        }
    }
}

// The frontier's neighbours, gathered in a queue of the block first
__global__ void bfsFrontier(const int *offsets, const vertex_t *neighbours, int *level,
                            const vertex_t *previous, vertex_t *next, int numPrevious, int *numNext,
                            int current) {
    __shared__ vertex_t queue[BLOCK_QUEUE_SIZE];
    __shared__ int numQueued, base;
    if (threadIdx.x == 0) numQueued = 0;
    __syncthreads();  // the queue is empty
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < numPrevious) {
        vertex_t v = previous[i];
        for (int e = offsets[v]; e < offsets[v + 1]; ++e) {
            vertex_t other = neighbours[e];
            if (atomicCAS(&level[other], -1, current) == -1) {
                int place = atomicAdd(&numQueued, 1);
                if (place < BLOCK_QUEUE_SIZE) {
                    queue[place] = other;
                } else {  // no room: straight into the global queue
                    atomicSub(&numQueued, 1);
                    next[atomicAdd(numNext, 1)] = other;
                }
            }
        }
    }
    __syncthreads();  // the queue is filled
    if (threadIdx.x == 0) base = atomicAdd(numNext, min(numQueued, BLOCK_QUEUE_SIZE));
    __syncthreads();
    for (int q = threadIdx.x; q < numQueued; q += blockDim.x) next[base + q] = queue[q];
}

namespace sparse {

template <typename Real = float>
__global__ void spmvRows(CSRMatrix shape, const int *offsets, const int *columns, const Real *values,
                         const Real *x, Real *y) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < shape.rows) {
        Real dot = 0;
        for (int k = offsets[row]; k < offsets[row + 1]; ++k) dot += values[k] * x[columns[k]];
        y[row] = dot;
    }
}

// A warp per row
__global__ void spmvWarps(CSRMatrix shape, const int *offsets, const int *columns,
                          const double *values, const double *x, double *y) {
    const int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x & 31;
    if (warp >= shape.rows) return;
    double dot = 0;
    for (int k = offsets[warp] + lane; k < offsets[warp + 1]; k += 32)
        dot += values[k] * x[columns[k]];
    for (int d = 16; d > 0; d /= 2) dot += __shfl_down_sync(0xffffffff, dot, d);
    if (lane == 0) y[warp] = dot;
}

}  // namespace sparse
}  // namespace graphs

struct COO {
    int *row, *column;
    float *value;
};

__global__ void spmvCoordinates(int n, int *row, int *column, float *value, float *x, float y[]) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&y[row[i]], value[i] * x[column[i]]);
}

std::vector<int> bfsOnHost(const std::vector<std::vector<vertex_t>> &graph, vertex_t source) {
    std::vector<int> level(graph.size(), INT_MAX);
    std::vector<vertex_t> frontier{source};
    level[source] = 0;
    while (!frontier.empty()) {
        std::vector<vertex_t> next;
        for (vertex_t v : frontier)
            for (vertex_t other : graph[v])
                if (level[other] == INT_MAX) {
                    level[other] = level[v] + 1;
                    next.push_back(other);
                }
        frontier.swap(next);
    }
    std::cout << "levels of " << level.size() << " vertices" << std::endl;
    return level;
}
