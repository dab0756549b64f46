// async_copy.cuh -- two instructions of sm_80 that move panels: cp.async, from global to shared memory
// without a stop in registers, and ldmatrix, from there to the fragments of a tensor core. Inline PTX,
// which the emulator rewrites (emu/ptx.h). Needs sm_80.
//
// cp.async returns at once. A thread's copies form groups (commit_copies). None may be touched before
// wait_for_copies<N>() has left at most N of the thread's last groups on their way, and those of other
// threads not before a barrier after that.

// Where p lies in shared memory, in bytes.
__device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Each statement of assembly stands on one line, for the profiler: the emulator books what it does on
// its first line, the compiler on its last.

// Starts to copy BYTES, 16 or 4, to `to` in shared memory; zeros where `from` is not inside. (A predicate
// says so: of a number of bytes to read the compiler does not know that it is all or none.)
template <int BYTES>
__device__ __forceinline__ void copy_async(const unsigned to, const void* from, const bool inside) {
    const int in = inside;
    if constexpr (BYTES == 16)
        asm volatile("{.reg .pred p; setp.eq.s32 p, %2, 0; cp.async.cg.shared.global [%0], [%1], 16, p;}" :: "r"(to), "l"(from), "r"(in) : "memory");
    else
        asm volatile("{.reg .pred p; setp.eq.s32 p, %2, 0; cp.async.ca.shared.global [%0], [%1], 4, p;}" :: "r"(to), "l"(from), "r"(in) : "memory");
}
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int PENDING> __device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

// Loads four matrices of 8 rows of 16 bytes: lane l has the address of row l % 8 of matrix l / 8, and
// gets word l % 4 of row l / 4 of each; TRANSPOSED, numbers l / 4, of 16 bits, of rows 2 (l % 4) and the
// next, side by side.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&w)[4], const unsigned row) {
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3]) : "r"(row));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3]) : "r"(row));
}
