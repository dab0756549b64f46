// small_floats.h -- __half and __nv_bfloat16: 16 bits each, every operation rounded once.
#pragma once
#include "emu/atomics.h"
#include "emu/libm.h"

namespace emu {

// A sign, an exponent of 15 - fraction bits and a fraction, as IEEE 754 has them.
// half: fraction 10, exponents from -14.   bfloat16: fraction 7, exponents from -126, as float.
template <int fraction, int least_exponent> struct SmallFloat {
    uint16_t bits;

    static constexpr uint16_t infinity = ((1 << (15 - fraction)) - 1) << fraction;

    SmallFloat() = default;
    SmallFloat(double value) : bits(encode(value)) {}
    SmallFloat(float value) : bits(encode(value)) {}
    SmallFloat(int value) : bits(encode(value)) {}
    SmallFloat(unsigned value) : bits(encode(value)) {}
    operator float() const { return decode(bits); }

    static SmallFloat of_bits(uint16_t bits) {
        SmallFloat out;
        out.bits = bits;
        return out;
    }
    SmallFloat operator-() const { return of_bits(bits ^ 0x8000); }

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
    EMU_MADE_OF_TWO(Pair, T)
};

}  // namespace emu

// Sums and products of two are exact in double, so each of these rounds once.
#define EMU_OPERATOR(T, op)                                                          \
    inline T operator op(T a, T b) { return T(double(float(a)) op double(float(b))); } \
    inline T& operator op##=(T& a, T b) { return a = a op b; }
#define EMU_COMPARE(T, name, op)                                          \
    inline bool operator op(T a, T b) { return float(a) op float(b); }    \
    inline bool __h##name(T a, T b) { return float(a) op float(b); }
#define EMU_HALF_FUNCTIONS(T)                                                                   \
    EMU_OPERATOR(T, +) EMU_OPERATOR(T, -) EMU_OPERATOR(T, *) EMU_OPERATOR(T, /)                 \
    EMU_COMPARE(T, lt, <) EMU_COMPARE(T, le, <=) EMU_COMPARE(T, gt, >) EMU_COMPARE(T, ge, >=)   \
    EMU_COMPARE(T, eq, ==) EMU_COMPARE(T, ne, !=)                                               \
    inline T __hadd(T a, T b) { return a + b; }                                                 \
    inline T __hsub(T a, T b) { return a - b; }                                                 \
    inline T __hmul(T a, T b) { return a * b; }                                                 \
    inline T __hdiv(T a, T b) { return a / b; }                                                 \
    inline T __hfma(T a, T b, T c) { return T(fma(float(a), double(float(b)), float(c))); }     \
    inline T __hneg(T a) { return -a; }                                                         \
    inline T __habs(T a) { return T::of_bits(a.bits & 0x7fff); }                                \
    inline T __hmax(T a, T b) { return T(fmaxf(a, b)); }                                        \
    inline T __hmin(T a, T b) { return T(fminf(a, b)); }                                        \
    inline bool __hisnan(T a) { return isnan(float(a)); }                                       \
    inline T hexp(T a) { return T(exp(double(float(a)))); }                                     \
    inline T hlog(T a) { return T(log(double(float(a)))); }                                     \
    inline T hsqrt(T a) { return T(sqrt(double(float(a)))); }                                   \
    inline T hrsqrt(T a) { return T(1 / sqrt(double(float(a)))); }                              \
    inline emu::Pair<T> __hadd2(emu::Pair<T> a, emu::Pair<T> b) { return {a.x + b.x, a.y + b.y}; } \
    inline emu::Pair<T> __hmul2(emu::Pair<T> a, emu::Pair<T> b) { return {a.x * b.x, a.y * b.y}; } \
    inline emu::Pair<T> __hfma2(emu::Pair<T> a, emu::Pair<T> b, emu::Pair<T> c) {               \
        return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};                                  \
    }                                                                                           \
    inline float __low2float(emu::Pair<T> a) { return a.x; }                                    \
    inline float __high2float(emu::Pair<T> a) { return a.y; }
EMU_HALF_FUNCTIONS(__half)
EMU_HALF_FUNCTIONS(__nv_bfloat16)
#undef EMU_HALF_FUNCTIONS
#undef EMU_COMPARE
#undef EMU_OPERATOR

using half = __half;
using __half2 = emu::Pair<__half>;
using half2 = __half2;
inline __half __float2half(float a) { return a; }
inline __half __float2half_rn(float a) { return a; }
inline __half __double2half(double a) { return a; }
inline __half __int2half_rn(int a) { return a; }
inline float __half2float(__half a) { return a; }
inline unsigned short __half_as_ushort(__half a) { return a.bits; }
inline __half __ushort_as_half(unsigned short bits) { return __half::of_bits(bits); }
inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
inline __half2 __half2half2(__half a) { return {a, a}; }
inline __half2 __floats2half2_rn(float a, float b) { return {a, b}; }
inline __half2 __float22half2_rn(float2 a) { return {a.x, a.y}; }
inline float2 __half22float2(__half2 a) { return {a.x, a.y}; }
inline __half __low2half(__half2 a) { return a.x; }
inline __half __high2half(__half2 a) { return a.y; }

using nv_bfloat16 = __nv_bfloat16;
using __nv_bfloat162 = emu::Pair<__nv_bfloat16>;
using nv_bfloat162 = __nv_bfloat162;
inline __nv_bfloat16 __float2bfloat16(float a) { return a; }
inline __nv_bfloat16 __float2bfloat16_rn(float a) { return a; }
inline __nv_bfloat16 __double2bfloat16(double a) { return a; }
inline float __bfloat162float(__nv_bfloat16 a) { return a; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 a) { return a.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16::of_bits(bits); }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {a, b}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 a) { return {a.x, a.y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x, a.y}; }
