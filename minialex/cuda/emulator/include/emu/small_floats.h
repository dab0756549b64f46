// small_floats.h -- the types __half and __nv_bfloat16: 16 bits each, every operation rounded once.
// Their functions are in halves.h.
#pragma once
#include "emu/atomics.h"
#include "emu/libm.h"

// What CUDA calls the bits of one and of a pair.
struct __half_raw { unsigned short x; };
struct __half2_raw { unsigned short x, y; };
struct __nv_bfloat16_raw { unsigned short x; };
struct __nv_bfloat162_raw { unsigned short x, y; };

namespace emu {

template <int fraction> struct Raw { using type = __half_raw; };
template <> struct Raw<7> { using type = __nv_bfloat16_raw; };

// A sign, an exponent of 15 - fraction bits and a fraction, as IEEE 754 has them.
// half: fraction 10, exponents from -14.   bfloat16: fraction 7, exponents from -126, as float.
template <int fraction, int least_exponent> struct SmallFloat {
    using raw = typename Raw<fraction>::type;
    uint16_t bits;

    static constexpr uint16_t infinity = ((1 << (15 - fraction)) - 1) << fraction;
    static constexpr uint16_t one = ((1 << (14 - fraction)) - 1) << fraction;

    SmallFloat() = default;
    SmallFloat(double value) : bits(encode(value)) {}
    SmallFloat(float value) : bits(encode(value)) {}
    SmallFloat(short value) : bits(encode(value)) {}
    SmallFloat(unsigned short value) : bits(encode(value)) {}
    SmallFloat(int value) : bits(encode(value)) {}
    SmallFloat(unsigned value) : bits(encode(value)) {}
    SmallFloat(long value) : bits(encode(double(value))) {}
    SmallFloat(unsigned long value) : bits(encode(double(value))) {}
    SmallFloat(long long value) : bits(encode(double(value))) {}
    SmallFloat(unsigned long long value) : bits(encode(double(value))) {}
    SmallFloat(raw value) : bits(value.x) {}
    operator float() const { return decode(bits); }
    operator raw() const { return {bits}; }

    static constexpr SmallFloat of_bits(uint16_t bits) {
        SmallFloat out{};
        out.bits = bits;
        return out;
    }
    SmallFloat operator-() const { return of_bits(bits ^ 0x8000); }
    SmallFloat operator+() const { return *this; }

    static uint16_t encode(double value) {
        const uint16_t sign = signbit(value) ? 0x8000 : 0;
        if (isnan(value)) return 0x7fff;
        if (isinf(value)) return sign | infinity;
        const double size = fabs(value);
        const int exponent = size == 0 ? least_exponent : int(fmax(ilogb(size), least_exponent));
        // A whole number of units in the last place; rint takes halves to the even neighbour.
        const auto units = uint64_t(rint(ldexp(size, fraction - exponent)));
        // Normal numbers have units from 2^fraction on, which adds the 1 that their exponent is
        // above that of the subnormals; a rounding up to the next power of two carries over.
        const uint64_t all = (uint64_t(exponent - least_exponent) << fraction) + units;
        return sign | uint16_t(all < infinity ? all : infinity);
    }

    EMU_PART static float decode(uint16_t bits) {
        const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = bits & 0x7fff;
        const uint32_t shifted = rest << (23 - fraction);
        if (rest >= infinity) return bits_as<float>(sign | 0x7f800000 | shifted);
        // As a float the same bits are too small by the difference of the two exponent biases.
        const float size = bits_as<float>(shifted) * float(ldexp(1.0, 126 + least_exponent));
        return bits_as<float>(sign | bits_as<uint32_t>(size));
    }
};

template <class T> struct alignas(4) Pair {
    T x, y;
    EMU_COPIED_WHOLE(Pair, uint16_t, 2)
    Pair() = default;
    constexpr Pair(T x, T y) : x(x), y(y) {}
};

}  // namespace emu

using half = __half;
using __nv_half = __half;
using nv_half = __half;
using __half2 = emu::Pair<__half>;
using half2 = __half2;
using __nv_half2 = __half2;
using nv_half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using __nv_bfloat162 = emu::Pair<__nv_bfloat16>;
using nv_bfloat162 = __nv_bfloat162;
