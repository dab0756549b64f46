// cooperative_groups.cu -- groups of threads, and what they do together.
#include "common.cuh"
#if !defined(MINIALEX_EMULATED)
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#endif

namespace cg = cooperative_groups;

// Every thread writes what it knows of itself, a row of numbers for each thread.
__global__ void ranks(int* out) {
    const cg::thread_block block = cg::this_thread_block();
    const cg::grid_group grid = cg::this_grid();
    const auto tile = cg::tiled_partition<8>(block);
    const auto small = cg::tiled_partition<4>(tile);
    const cg::thread_block_tile<8> same = tile;
    const cg::thread_group some = cg::tiled_partition(block, 16);
    const unsigned numbers[] = {
        block.thread_rank(), block.size(), unsigned(grid.thread_rank()), unsigned(grid.size()), tile.thread_rank(),
        tile.size(), tile.meta_group_rank(), tile.meta_group_size(), small.thread_rank(), small.meta_group_rank(),
        small.meta_group_size(), same.meta_group_rank(), some.thread_rank(), some.size(), block.group_index().x,
        block.thread_index().x, block.group_dim().y, unsigned(cg::thread_rank(some))};
    for (int i = 0; i < 18; ++i) out[grid.thread_rank() * 18 + i] = int(numbers[i]);
}

// x: a number for each of 32 threads; out: a row for each result.
__global__ void tiles(const int* x, int* out) {
    const cg::thread_block block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<8>(block);
    const auto warp = cg::tiled_partition<32>(block);
    const int i = block.thread_rank(), v = x[i];
    int same;
    const int results[] = {
        tile.shfl(v, 3), tile.shfl_up(v, 2), tile.shfl_down(v, 2), tile.shfl_xor(v, 5), tile.any(v > 90),
        tile.all(v > 10), int(tile.ballot(v > 50)), int(tile.match_any(v / 10)), cg::reduce(tile, v, cg::plus<int>()),
        cg::reduce(warp, v, cg::less<int>()), cg::reduce(tile, v, cg::greater<int>()), cg::reduce(tile, v, cg::bit_xor<int>()),
        cg::inclusive_scan(tile, v), cg::exclusive_scan(warp, v, cg::plus<int>()), int(tile.match_all(v, same)), same,
        warp.match_all(1, same) == 0xffffffffu};
    for (int k = 0; k < 17; ++k) out[k * 32 + i] = results[k];
}

// Odd and even numbers are counted apart; then threads that keep theirs find a place for it.
__global__ void partitions(const int* x, int* out, int* kept, int* count) {
    const auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    const int v = x[threadIdx.x];
    const cg::coalesced_group alike = cg::binary_partition(warp, v % 2 == 1);
    out[threadIdx.x] = alike.size(), out[32 + threadIdx.x] = alike.thread_rank();
    out[64 + threadIdx.x] = cg::reduce(alike, v, cg::plus<int>());
    out[96 + threadIdx.x] = alike.shfl(v, 0);
    out[128 + threadIdx.x] = cg::labeled_partition(warp, v % 3).size();
    if (v % 2) {
        const cg::coalesced_group here = cg::coalesced_threads();
        int first = 0;
        if (here.thread_rank() == 0) first = atomicAdd(count, int(here.size()));
        kept[here.shfl(first, 0) + here.thread_rank()] = v;
    }
}

__device__ int sum_of(const cg::thread_group& group, int* scratch, int v) {
    const int lane = group.thread_rank();
    for (int step = group.size() / 2; step > 0; step /= 2) {
        scratch[lane] = v;
        group.sync();  // written
        if (lane < step) v += scratch[lane + step];
        group.sync();  // read
    }
    return v;
}
// Which lanes are together: all, those of a branch, those that still loop.
__global__ void together(unsigned* out) {
    const unsigned i = threadIdx.x;
    out[i] = __activemask();
    unsigned last = 0;
    for (unsigned k = 0; k <= i % 3; ++k) last = __activemask();
    out[64 + i] = last;
    if (i % 4 == 1) out[128 + i] = __activemask();
    else out[128 + i] = cg::coalesced_threads().size();
}

// The sum of each block, and of each 16 threads, through shared memory.
__global__ void sums(const int* x, int* of_blocks, int* of_tiles) {
    __shared__ int scratch[64];
    const cg::thread_block block = cg::this_thread_block();
    const int v = x[cg::this_grid().thread_rank()];
    const int all = sum_of(block, scratch, v);
    if (block.thread_rank() == 0) of_blocks[blockIdx.x] = all;
    cg::sync(block);  // all
    const cg::thread_group tile = cg::tiled_partition(block, 16);
    const int part = sum_of(tile, scratch + threadIdx.x / 16 * 16, v);
    if (tile.thread_rank() == 0) of_tiles[cg::this_grid().thread_rank() / 16] = part;
}
