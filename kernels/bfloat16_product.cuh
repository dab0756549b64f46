// bfloat16_product.cuh -- bfloat16 numbers as an arithmetic of multistage_product.cuh. Included by
// conv2d_bf16.cu and linear_bf16.cu. Needs sm_80.
//
// The idea: an instruction multiplies twice as many terms as of TF32 numbers, in half as many bytes.
// bfloat16 has all exponents of float, so that numbers need not be scaled, and 8 bits: products of two
// are exact in float, and what is lost is lost where numbers are rounded. Sums are float and are
// promoted, as those of TF32 numbers are.
#include "bfloat16.cuh"
#include "multistage_product.cuh"

struct Bfloat16 {
    using Number = __nv_bfloat16;
    static constexpr int STEPS = 2;
    template <int COUNT> using Operand = Words<COUNT>;

    static __device__ __forceinline__ void multiply(float (&sum)[4], const Words<4>& a,
                                                    const Words<2>& b) {
        mma_bf16(sum, a.words, b.words);
    }
};
