// tensor_core.h -- the emulated twins of the instructions in kernels/mma.cuh.
//
// A warp holds the tiles A (16 x K), B (K x 8) and D (16 x 8) in pieces: which lane holds which
// element is fixed by the instruction (PTX ISA, "Matrix fragments for mma"). With the lane's
// group g = lane / 4 and place t = lane % 4:
//
//   D   d[0] d[1]: row g, columns 2t and 2t + 1     d[2] d[3]: row g + 8, the same columns
//   A   a[0]: row g, a[1]: row g + 8, both in the first half of K; a[2], a[3]: the second half
//   B   b[0]: column g, first half of K; b[1]: the second half
//
// Within a half of K, 16-bit elements lie two to a register, k = 2t and 2t + 1; 32-bit elements
// one to a register, k = t.
#pragma once
#include "emu/small_floats.h"
#include "emu/warp.h"

namespace emu {

// What one lane brings.
struct Fragments {
    unsigned a[4], b[2];
};

// 16-bit elements: K = 16.
template <class T> struct Packed {
    static constexpr int K = 16;
    static int lane(int line, int k) { return line * 4 + k % 8 / 2; }
    static double value(unsigned r, int k) {
        return float(T::of_bits(uint16_t(k % 2 ? r >> 16 : r)));
    }
};

// TF32: K = 8. The hardware does not look at the lowest 13 bits.
struct Tf32 {
    static constexpr int K = 8;
    static int lane(int line, int k) { return line * 4 + k % 4; }
    static double value(unsigned r, int) { return bits_as<float>(r & 0xffffe000u); }
};

// d += A B, every product exact and the sum rounded once.
template <class Layout> EMU_QUIET void mma(float (&d)[4], const unsigned (&a)[4],
                                           const unsigned (&b)[2], const char* what, EMU_SITE) {
    constexpr unsigned everybody = 0xffffffffu;
    constexpr int K = Layout::K;
    const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const Lanes* lanes = meet(everybody, mine, what, emu_file, emu_line);
    const float4 before{d[0], d[1], d[2], d[3]};
    const int row = emu_lane() / 4, column = emu_lane() % 4 * 2;
    double x[2][K], w[2][K];
    for (int k = 0; k < K; ++k) {
        const int second = k / (K / 2);
        const auto* of_row = reinterpret_cast<const Fragments*>(lanes->value[Layout::lane(row, k)]);
        for (int i = 0; i < 2; ++i) {
            const auto* of_column =
                reinterpret_cast<const Fragments*>(lanes->value[Layout::lane(column + i, k)]);
            x[i][k] = Layout::value(of_row->a[i + 2 * second], k);
            w[i][k] = Layout::value(of_column->b[second], k);
        }
    }
    for (int i = 0; i < 4; ++i) {
        double sum = d[i];
        for (int k = 0; k < K; ++k) sum += x[i / 2][k] * w[i % 2][k];
        d[i] = float(sum);
    }
    record(what, before, float4{d[0], d[1], d[2], d[3]}, emu_file, emu_line);
}

// The nearest TF32 number, halves away from zero.
inline unsigned to_tf32(float x) {
    const unsigned bits = bits_as<unsigned>(x);
    return isfinite(x) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

}  // namespace emu
