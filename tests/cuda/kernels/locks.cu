// locks.cu -- what threads do one after the other: locks, tickets and flags. With fault 0 a kernel is
// right; others are planted where FAULT stands.
// needs: sm_80

__device__ inline void acquire(int* lock) {
    while (atomicCAS(lock, 0, 1) != 0) {
    }
}

// ---- locks ---------------------------------------------------------------------------------------

// total[0] counts the threads, under a lock in global memory; total[1] those of even blocks.
__global__ void count_under_lock(int* lock, int* total, const int fault) {
    int* const mine = fault == 1 ? lock + threadIdx.x % 2 : lock;  // FAULT two locks
    if (fault != 2) acquire(mine);
    if (fault == 3) __threadfence();  // too early
    total[0] += 1;  // FAULT guarded
    if (blockIdx.x % 2 == 0) total[1] = total[1] + 1;
    if (fault == 4) __threadfence_block();
    else if (fault != 3 && fault != 5) __threadfence();
    if (fault == 6 && blockIdx.x == 0 && threadIdx.x == 5) return;
    if (fault != 2) atomicExch(mine, 0);
    if (fault == 7 && threadIdx.x == 9) total[2] = total[0];  // FAULT unguarded
}
// A lock of the block, which lanes of a warp contend for; the fence is left out or not.
__global__ void list_of_block(int* out, const int fenced, const int fault) {
    __shared__ int busy, used, kept[64];
    const int t = threadIdx.x;
    if (t == 0) busy = used = 0;
    __syncthreads();
    bool done = false;
    while (!done) {
        if (fault == 1 || atomicExch(&busy, 1) == 0) {
            kept[used] = t;
            used = used + 1;  // FAULT unlocked
            if (fenced) __threadfence_block();
            if (fault != 1) atomicExch(&busy, 0);
            done = true;
        }
    }
    __syncthreads();
    out += 65 * blockIdx.x;
    out[t] = kept[t];
    if (t == 0) out[64] = used;
}
// Halves of a warp: who has the lock waits for its half, while the other half's leader spins.
__global__ void halves_take_turns(int* out) {
    __shared__ int busy, sum;
    const int t = threadIdx.x, lane = t % 32;
    const unsigned half = 0xffffu << lane / 16 * 16;
    if (t == 0) busy = sum = 0;
    __syncthreads();
    for (int round = 0; round < 3; ++round) {
        if (lane % 16 == 0) acquire(&busy);
        __syncwarp(half);
        const int before = __shfl_sync(half, sum, lane / 16 * 16);
        __syncwarp(half);
        if (lane % 16 == 15) sum = before + 16;
        __syncwarp(half);
        __threadfence_block();
        if (lane % 16 == 0) atomicExch(&busy, 0);
    }
    __syncthreads();
    out[t + blockDim.x * blockIdx.x] = sum;
}
// What the first lock guards is known to the one that has the second after one that had both.
__global__ void lock_after_lock(int* locks, int* data, int* out) {
    const int t = threadIdx.x + blockDim.x * blockIdx.x;
    if (t == 0) data[0] = 7, __threadfence(), atomicExch(locks, 1);
    if (t == 1) {
        while (atomicCAS(locks, 1, 2) != 1) __nanosleep(20);
        __threadfence();
        atomicExch(locks + 1, 1);
    }
    if (t == 33) {
        while (atomicAdd(locks + 1, 0) == 0) __nanosleep(20);
        *out = data[0];
    }
}
// A lock for each of many elements.
__global__ void locks_of_a_table(int* locks, int* table, const int size) {
    for (int i = threadIdx.x; i < 2 * size; i += blockDim.x) {
        const int slot = (i * 7 + blockIdx.x) % size;
        acquire(locks + slot);
        table[slot] += 1;
        __threadfence();
        atomicExch(locks + slot, 0);
    }
}

// ---- tickets and flags ---------------------------------------------------------------------------

__global__ void ticket_lock(int* next, int* serving, int* total) {
    const int mine = atomicAdd(next, 1);
    while (*(volatile int*)serving != mine) {
    }
    __threadfence();
    total[0] = total[0] * 3 + 1;
    __threadfence();
    *(volatile int*)serving = mine + 1;
}
// One thread makes what another waits for; the flag is put back for the next round.
__global__ void maker_and_taker(int* box, volatile int* flag, int* out, const int fault) {
    for (int round = 0; round < 3; ++round) {
        if (threadIdx.x == 40) {
            while (*flag != 0) {
            }
            if (fault == 1) *flag = 1;  // before what it announces
            box[0] = round + 5;
            if (fault != 2) __threadfence_block();
            if (fault != 1) *flag = 1;
        }
        if (threadIdx.x == 0) {
            if (fault != 3)
                while (*flag == 0) __nanosleep(20);
            out[round] = box[0];  // FAULT taken
            if (fault == 3) return;
            __threadfence_block();
            *flag = 0;
        }
    }
}
// The same in PTX: the release is on a store or on an atomic.
__global__ void handed_on_in_ptx(int* box, int* flag, int* out, const int atomic, const int fault) {
    if (threadIdx.x == 40) {
        box[0] = 5;
        if (fault) asm volatile("st.relaxed.gpu.global.s32 [%0], 1;" ::"l"(flag));
        else if (atomic) asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(flag) : "memory");
        else asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(flag), "r"(1) : "memory");
    }
    if (threadIdx.x == 0) {
        int raised;
        do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(raised) : "l"(flag) : "memory");
        while (!raised);
        *out = box[0];  // FAULT relaxed
    }
}
// Each block goes on from the sum of the block before it, in the order in which they have begun.
__global__ void running_sums(const int* x, int* sums, int* flags, int* begun, int* all, const int fault) {
    __shared__ int block;
    if (threadIdx.x == 0) block = atomicAdd(begun, 1);
    __syncthreads();
    int sum = __reduce_add_sync(0xffffffffu, x[32 * block + threadIdx.x]);
    if (threadIdx.x != 0) return;
    if (block > 0) {
        while (atomicAdd(flags + block - 1, 0) == 0) {
        }
        sum += sums[block - 1];  // FAULT before
    }
    sums[block] = sum;
    if (fault == 1) __threadfence_block();
    else __threadfence();
    atomicExch(flags + block, 1);
    if (block < int(gridDim.x) - 1) return;
    // the last one knows of all, though it has waited for one
    int last = 0;
    for (int b = 0; b <= block; ++b) last = max(last, sums[b]);
    *all = last;
    *begun = 0;
}
// The same without a fence, where what is waited for is handed on in the flag itself.
__global__ void sums_in_flags(const int* x, volatile long long* states, int* begun) {
    if (threadIdx.x != 0) return;
    const int block = atomicAdd(begun, 1);
    long long before = 0;
    if (block > 0) do before = states[block - 1]; while (before == 0);
    states[block] = before + x[block];
}
// Adding up what is volatile is still no atomic.
__global__ void volatile_counter(volatile int* count) {
    *count += 1;  // FAULT lost
}
// A sum in a warp as it was written when lanes ran in step: volatile is no barrier.
__global__ void lanes_in_step(volatile int* out, const int fault) {
    __shared__ int box[64];
    volatile int* const part = box;
    const int t = threadIdx.x;
    part[t] = t, part[t + 32] = 0;
    for (int step = 16; step > 0; step /= 2) {
        if (fault == 0) __syncwarp();
        const int other = part[t + step];  // FAULT in step
        if (fault == 0) __syncwarp();
        part[t] += other;
    }
    if (t == 0) *out = part[0];
}
// A barrier of the whole grid: blocks that wait for others must run beside them.
__global__ void wait_for_all_blocks(int* arrived) {
    if (threadIdx.x == 0) atomicAdd(arrived, 1);
    while (*(volatile int*)arrived < int(gridDim.x)) {  // FAULT waits
    }
}
