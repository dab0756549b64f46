// tensor_core.h -- the emulated counterparts of the instructions in kernels/mma.cuh.
//
// A warp holds the tiles A (16 x K), B (K x 8) and D (16 x 8) in pieces: which lane holds which
// element is fixed by the instruction (PTX ISA, "Matrix fragments for mma"). With the lane's
// group g = lane / 4 and thread in group t = lane % 4:
//
//   D   d[0] d[1]: row g, columns 2t and 2t + 1     d[2] d[3]: row g + 8, the same columns
//   A   a[0]: row g, a[1]: row g + 8, both in the first half of K; a[2], a[3]: the second half
//   B   b[0]: column g, first half of K; b[1]: the second half
//
// Within a half of K, 16-bit elements lie two to a register, k = 2t and 2t + 1; 32-bit elements
// one to a register, k = t.
//
// The arithmetic is not that of IEEE 754. An element of D is summed up in groups of products, one
// group after another, the first k first. For each group:
//
//   1. products are exact, with the exponent that is the sum of their factors', so that their
//      significand is below 4, not below 2; the sum so far is one more term, zeros are none;
//   2. all terms are aligned to the largest exponent among them, and what then lies below 2^-(23 +
//      extra_bits) of it is *truncated*, not rounded;
//   3. the rest is added exactly, and the sum truncated to the 24 bits of a float.
//
//                         sm_80, 86, 89     sm_90, 100, 120
//   products in a group   4 TF32, 8 16-bit  8 TF32, 16 16-bit
//   extra_bits            1                 2
//   least exponent        -132              -133               to which terms are aligned
//
// Every step truncates towards zero, so that errors do not cancel: a long sum is biased towards zero.
//
// What is known: these are the models of Khattak and Mikaitis, "Accurate Models of NVIDIA Tensor
// Cores" (2025, arXiv 2512.07004), for A100, A2, A30, L40S, H100, H200, B200 and RTX PRO 6000;
// tests/cuda compares them with records of real GPUs that were published with it (A100, A2,
// Ada, H100, H200, B200), all of which have one group and numbers of ordinary size. Of the rest
// the models, not those records, say: subnormal operands and results count as they are; a result
// that is too large is infinite; an exact zero is +0. Assumed here: an operand that is infinite or
// NaN gives what IEEE 754 says, and NaN is the one that the PTX ISA names, 0x7fffffff.
#pragma once
#include "emu/small_floats.h"
#include "emu/warp.h"

namespace emu {

// What one lane brings, and takes away in d.
struct Fragments {
    unsigned a[4], b[2];
    float d[4];
};

// Eight integers, taken together by every operator: most often one for each column of D.
typedef int Ints __attribute__((vector_size(32)));
EMU_PART Ints larger(Ints a, Ints b) { return a > b ? a : b; }
EMU_PART int any(Ints a) {
    int all = 0;
    for (int i = 0; i < 8; ++i) all |= a[i];
    return all;
}

// A type of numbers: sign, exponent, fraction.
template <int fraction, int exponent_bits> struct Format {
    static constexpr int FRACTION = fraction, ALL_ONES = (1 << exponent_bits) - 1;
    static constexpr int LEAST_EXPONENT = 2 - (1 << (exponent_bits - 1));
    static constexpr int SIGN = int(1u << (fraction + exponent_bits));

    // -1 for infinities and NaN, 0 for others.
    EMU_PART static Ints not_finite(Ints bits) { return (bits >> FRACTION & ALL_ONES) == ALL_ONES; }
};

// 16-bit elements, two in a register: K = 16.
template <class T> struct Packed;
template <int fraction, int least_exponent>
struct Packed<SmallFloat<fraction, least_exponent>> : Format<fraction, 15 - fraction> {
    static constexpr int EACH = 2, K = 8 * EACH;
    EMU_PART static int bits(unsigned r, int i) { return int(i ? r >> 16 : r & 0xffff); }
    EMU_PART static float value(int bits) {
        return SmallFloat<fraction, least_exponent>::decode(uint16_t(bits));
    }
};

// TF32: K = 8. The hardware does not look at the lowest 13 bits.
struct Tf32 : Format<10, 8> {
    static constexpr int EACH = 1, K = 8 * EACH;
    EMU_PART static int bits(unsigned r, int) { return int(r >> 13); }
    EMU_PART static float value(int bits) { return bits_as<float>(unsigned(bits) << 13); }
};

// Numbers as significand times 2^(exponent - F::FRACTION).
struct Numbers {
    Ints significand, exponent;
};
template <class F> EMU_QUIET Numbers numbers_of(Ints bits) {
    const Ints size = bits & int(unsigned(F::SIGN) - 1), field = size >> F::FRACTION;
    // Subnormal numbers have the exponent of the least normal ones.
    const Ints above = larger(field - 1, Ints{}), whole = size - (above << F::FRACTION);
    return {(bits & F::SIGN) != 0 ? -whole : whole, above + F::LEAST_EXPONENT};
}

// units times 2^exponent, truncated to a float.
EMU_QUIET float truncate_to_float(int64_t units, int exponent) {
    if (units == 0) return 0;
    const unsigned sign = units < 0 ? 0x80000000u : 0;
    const auto size = uint64_t(units < 0 ? -units : units);
    const int leading = exponent + 63 - __builtin_clzll(size);
    if (leading > 127) return bits_as<float>(sign | 0x7f800000u);
    // A float's last bit is 2^-23 of its first, and never below 2^-149.
    const int last = leading < -126 ? -149 : leading - 23, up = exponent - last;
    const auto whole = unsigned(up < 0 ? size >> -up : size << up);
    // The bit above the fraction, which floats leave out, adds 1 to the exponent.
    return bits_as<float>(sign | ((unsigned(last + 149) << 23) + whole));
}

EMU_QUIET Ints ints_at(const int* from) {
    Ints to;
    memcpy(&to, from, sizeof to);
    return to;
}

// The tiles of one instruction.
template <class Layout> struct Tiles {
    static constexpr int K = Layout::K;
    using Float = Format<23, 8>;
    int a[16][K], b[K][8], d[16][8];

    // Puts together what the lanes of a warp brought.
    EMU_QUIET void gather(const Lanes* lanes) {
        for (int n = 0; n < 32; ++n) {
            const auto* lane = reinterpret_cast<const Fragments*>(lanes->value[n]);
            const int g = n / 4, t = n % 4;
            for (int i = 0; i < 4; ++i) d[g + i / 2 * 8][2 * t + i % 2] = bits_as<int>(lane->d[i]);
            for (int i = 0; i < Layout::EACH; ++i)
                for (int half = 0; half < 2; ++half) {
                    const int k = half * K / 2 + Layout::EACH * t + i;
                    a[g][k] = Layout::bits(lane->a[2 * half], i);
                    a[g + 8][k] = Layout::bits(lane->a[2 * half + 1], i);
                    b[k][g] = Layout::bits(lane->b[half], i);
                }
        }
    }
    EMU_QUIET void hand_out(Lanes* lanes) const {
        for (int n = 0; n < 32; ++n)
            for (int i = 0; i < 4; ++i)
                reinterpret_cast<Fragments*>(lanes->value[n])->d[i] =
                    bits_as<float>(d[n / 4 + i / 2 * 8][n % 4 * 2 + i % 2]);
    }
    // d += a b
    EMU_QUIET void multiply(const TensorCores& how) {
        if (how.group_bytes == K / Layout::EACH * 4) multiply_groups<K>(how);
        else multiply_groups<K / 2>(how);
    }

  private:
    // In groups of COUNT products.
    template <int COUNT> EMU_QUIET void multiply_groups(const TensorCores& how) {
        Numbers right[K];
        Ints odd_columns = {};
        for (int k = 0; k < K; ++k) {
            right[k] = numbers_of<Layout>(ints_at(b[k]));
            odd_columns |= Layout::not_finite(ints_at(b[k]));
        }
        for (int row = 0; row < 16; ++row) {
            Numbers left[K / 8];
            Ints odd_row = {};
            for (int k = 0; k < K; k += 8) {
                left[k / 8] = numbers_of<Layout>(ints_at(a[row] + k));
                odd_row |= Layout::not_finite(ints_at(a[row] + k));
            }
            const Ints before = ints_at(d[row]);
            const Ints odd = odd_columns | Float::not_finite(before) | any(odd_row);
            for (int first = 0; first < K; first += COUNT)
                add_group<COUNT>(d[row], left, right, first, how);
            if (any(odd))
                for (int column = 0; column < 8; ++column)
                    if (odd[column]) d[row][column] = not_finite(row, column, before[column]);
        }
    }
    template <int COUNT>
    EMU_QUIET void add_group(int* sums, const Numbers* left, const Numbers* right, int first,
                             const TensorCores& how) {
        constexpr int NONE = -1000;
        const Numbers before = numbers_of<Float>(ints_at(sums));
        const Ints none = Ints{} + NONE, most = Ints{} + 31;
        Ints product[COUNT], exponent[COUNT];
        Ints top = larger(before.significand != 0 ? before.exponent : none,
                          Ints{} + how.least_exponent);
        for (int i = 0; i < COUNT; ++i) {
            const int k = first + i;
            product[i] = left[k / 8].significand[k % 8] * right[k].significand;
            exponent[i] = left[k / 8].exponent[k % 8] + right[k].exponent;
            top = larger(top, product[i] != 0 ? exponent[i] : none);
        }
        // The bits of a term that are kept, towards zero.
        const auto kept = [&](Ints significand, Ints from, int up) EMU_WITHIN {
            const Ints down = top - from, size = significand < 0 ? -significand : significand;
            const Ints truncated = size << up >> (down < most ? down : most);
            return significand < 0 ? -truncated : truncated;
        };
        // Terms have 27 bits at most: eight of them and the sum so far fit, sixteen do not.
        Ints totals[2] = {kept(before.significand, before.exponent, how.extra_bits), Ints{}};
        const int up = 23 + how.extra_bits - 2 * Layout::FRACTION;
        for (int i = 0; i < COUNT; ++i) totals[i / 8] += kept(product[i], exponent[i], up);
        const Ints stays = Float::not_finite(ints_at(sums));
        for (int column = 0; column < 8; ++column)
            if (!stays[column])
                sums[column] = bits_as<int>(
                    truncate_to_float(int64_t(totals[0][column]) + totals[1][column],
                                 top[column] - 23 - how.extra_bits));
    }
    EMU_QUIET int not_finite(int row, int column, int before) const {
        double sum = bits_as<float>(before);
        for (int k = 0; k < K; ++k) {
            const double x = Layout::value(a[row][k]);
            sum += x * Layout::value(b[k][column]);
        }
        return sum != sum ? 0x7fffffff : bits_as<int>(float(sum));
    }
};

// d += A B. The lane that goes on first does it for all.
template <class Layout> EMU_QUIET void mma(float (&d)[4], const unsigned (&a)[4],
                                           const unsigned (&b)[2], const char* what, EMU_SITE) {
    constexpr unsigned full_mask = 0xffffffffu;
    const TensorCores& how = *emu_tensor_cores();
    if (how.group_bytes == 0) emu_fail(TRAP, what, emu_file, emu_line);
    const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
    Lanes* lanes = meet(full_mask, mine, what, emu_file, emu_line);
    if (lanes->took_part != full_mask) emu_fail(NOT_A_WHOLE_WARP, what, emu_file, emu_line);
    if (!lanes->settled) {
        Tiles<Layout> tiles;
        tiles.gather(lanes);
        tiles.multiply(how);
        tiles.hand_out(lanes);
        lanes->settled = true;
    }
    const Fragments all = value_of<Fragments>(lanes, emu_lane());
    for (int i = 0; i < 4; ++i) d[i] = all.d[i];
    const float* before = mine.d;
    record(what, float4{before[0], before[1], before[2], before[3]}, float4{d[0], d[1], d[2], d[3]},
           emu_file, emu_line);
}

// The nearest TF32 number, halves away from zero.
inline unsigned to_tf32(float x) {
    const unsigned bits = bits_as<unsigned>(x);
    return isfinite(x) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

}  // namespace emu
