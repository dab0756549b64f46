// mma.cuh -- matrix products of one warp on tensor cores: D += A B for small tiles.
//
// Inline PTX is here and in async_copy.cuh alone. Each wrapper is the PTX instruction under NVRTC and a few lines of
// C++ with the same layout under the emulator (emu/tensor_core.h, which says which lane holds
// which element). All 32 lanes of the warp take part. Needs sm_80; older ones trap.
//
//   mma_tf32   A 16 x 8,  B 8 x 8    TF32 in, float out     operands made by to_tf32
//   mma_f16    A 16 x 16, B 16 x 8   half in, float out     two elements a register, low one first
//   mma_bf16   A 16 x 16, B 16 x 8   bfloat16 in, float out

#if defined(MINIALEX_EMULATED)
#define MMA_WRAPPER(name, layout, instruction)                                          \
    __device__ __forceinline__ void name(float (&d)[4], const unsigned (&a)[4],         \
                                         const unsigned (&b)[2], EMU_SITE) {            \
        emu::mma<layout>(d, a, b, instruction, emu_file, emu_line);                     \
    }
#elif __CUDA_ARCH__ >= 800
#define MMA_WRAPPER(name, layout, instruction)                                          \
    __device__ __forceinline__ void name(float (&d)[4], const unsigned (&a)[4],         \
                                         const unsigned (&b)[2]) {                      \
        asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "      \
                     "{%0, %1, %2, %3};"                                                \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                   \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])); \
    }
#else
#define MMA_WRAPPER(name, layout, instruction)                                          \
    __device__ __forceinline__ void name(float (&)[4], const unsigned (&)[4],           \
                                         const unsigned (&)[2]) { __trap(); }
#endif

MMA_WRAPPER(mma_tf32, emu::Tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
MMA_WRAPPER(mma_f16, emu::Packed<__half>, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
MMA_WRAPPER(mma_bf16, emu::Packed<__nv_bfloat16>, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
#undef MMA_WRAPPER

// The nearest TF32 number (10 bits of fraction), halves away from zero, as the operands want it.
__device__ __forceinline__ unsigned to_tf32(const float x) {
#if defined(MINIALEX_EMULATED)
    return emu::to_tf32(x);
#elif __CUDA_ARCH__ >= 800
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#else
    return __float_as_uint(x);
#endif
}
