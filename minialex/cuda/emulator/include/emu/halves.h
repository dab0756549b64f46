// halves.h -- what cuda_fp16.h and cuda_bf16.h declare: for one number, and for each of a pair.
#pragma once
#include "emu/conversions.h"
#include "emu/maths.h"
#include "emu/small_floats.h"

namespace emu {

// Towards zero (direction 0), up (1) or down (-1).
template <class T> T rounded_towards(double value, int direction) {
    const T near = T(value);
    const double got = float(near);
    const bool above = direction > 0 ? got < value
                       : direction < 0 ? got > value
                                       : fabs(got) > fabs(value);
    if (!above) return near;
    const bool away = direction && (value > 0) == (direction > 0);
    if (near.bits == 0x8000 || near.bits == 0) return T::of_bits(direction > 0 ? 1 : 0x8001);
    return T::of_bits(uint16_t(near.bits + (away ? 1 : -1)));
}
inline double saturated(double x) { return x > 0 ? (x < 1 ? x : 1.0) : 0.0; }

}  // namespace emu

// Operators are where the types are, so that they are found from everywhere.
// Sums and products of two are exact in double, so each of these rounds once.
#define EMU_OPERATOR(T, op)                                                            \
    inline T operator op(T a, T b) { return T(double(float(a)) op double(float(b))); } \
    inline T& operator op##=(T& a, T b) { return a = a op b; }                         \
    inline Pair<T> operator op(Pair<T> a, Pair<T> b) { return {a.x op b.x, a.y op b.y}; } \
    inline Pair<T>& operator op##=(Pair<T>& a, Pair<T> b) { return a = a op b; }
#define EMU_STEP(T, op, sign)                                                          \
    inline T& operator op(T& a) { return a = a sign T(1); }                            \
    inline T operator op(T& a, int) {                                                  \
        const T old = a;                                                               \
        return a = a sign T(1), old;                                                   \
    }                                                                                  \
    inline Pair<T>& operator op(Pair<T>& a) { return op a.x, op a.y, a; }
#define EMU_COMPARE(T, op)                                                             \
    inline bool operator op(T a, T b) { return float(a) op float(b); }                 \
    inline bool operator op(Pair<T> a, Pair<T> b) { return a.x op b.x && a.y op b.y; }
#define EMU_OPERATORS(T)                                                               \
    EMU_OPERATOR(T, +) EMU_OPERATOR(T, -) EMU_OPERATOR(T, *) EMU_OPERATOR(T, /)        \
    EMU_STEP(T, ++, +) EMU_STEP(T, --, -)                                              \
    inline Pair<T> operator-(Pair<T> a) { return {-a.x, -a.y}; }                       \
    EMU_COMPARE(T, <) EMU_COMPARE(T, <=) EMU_COMPARE(T, >) EMU_COMPARE(T, >=)          \
    EMU_COMPARE(T, ==) EMU_COMPARE(T, !=)
namespace emu {
EMU_OPERATORS(__half)
EMU_OPERATORS(__nv_bfloat16)
}  // namespace emu
#undef EMU_OPERATORS
#undef EMU_COMPARE
#undef EMU_STEP
#undef EMU_OPERATOR

#define EMU_EACH_1(T, name, one) \
    inline emu::Pair<T> name(emu::Pair<T> a) { return {one(a.x), one(a.y)}; }
#define EMU_EACH_2(T, name, one) \
    inline emu::Pair<T> name(emu::Pair<T> a, emu::Pair<T> b) { return {one(a.x, b.x), one(a.y, b.y)}; }
#define EMU_EACH_3(T, name, one)                                                   \
    inline emu::Pair<T> name(emu::Pair<T> a, emu::Pair<T> b, emu::Pair<T> c) {     \
        return {one(a.x, b.x, c.x), one(a.y, b.y, c.y)};                           \
    }

// Comparisons; those that end in u are true of a NaN.
#define EMU_COMPARE(T, name, op)                                                                \
    EMU_COMPARED(T, name, float(a) op float(b))                                                 \
    EMU_COMPARED(T, name##u, isnan(float(a)) || isnan(float(b)) || float(a) op float(b))
#define EMU_COMPARED(T, name, test)                                                             \
    inline bool __h##name(T a, T b) { return test; }                                            \
    inline emu::Pair<T> __h##name##2(emu::Pair<T> a, emu::Pair<T> b) {                          \
        return {T(int(__h##name(a.x, b.x))), T(int(__h##name(a.y, b.y)))};                      \
    }                                                                                           \
    inline bool __hb##name##2(emu::Pair<T> a, emu::Pair<T> b) {                                 \
        return __h##name(a.x, b.x) && __h##name(a.y, b.y);                                      \
    }                                                                                           \
    inline unsigned __h##name##2_mask(emu::Pair<T> a, emu::Pair<T> b) {                         \
        return (__h##name(a.x, b.x) ? 0xffffu : 0) | (__h##name(a.y, b.y) ? 0xffff0000u : 0);   \
    }

// Arithmetic by name, plain, without becoming part of a fused one, and cut off at 0 and 1.
#define EMU_ARITHMETIC(T, name, op)                                                              \
    inline T __h##name(T a, T b) { return a op b; }                                              \
    inline T __h##name##_rn(T a, T b) { return a op b; }                                         \
    inline T __h##name##_sat(T a, T b) {                                                         \
        return T(emu::saturated(double(float(a)) op double(float(b))));                          \
    }                                                                                            \
    EMU_EACH_2(T, __h##name##2, __h##name) EMU_EACH_2(T, __h##name##2_rn, __h##name)             \
    EMU_EACH_2(T, __h##name##2_sat, __h##name##_sat)

#define EMU_FUNCTION(T, name, expression)                         \
    inline T h##name(T a) {                                       \
        const double x = float(a);                                \
        return T(expression);                                     \
    }                                                             \
    EMU_EACH_1(T, h2##name, h##name)

#define EMU_HALF_FUNCTIONS(T)                                                                   \
    EMU_COMPARE(T, lt, <) EMU_COMPARE(T, le, <=) EMU_COMPARE(T, gt, >) EMU_COMPARE(T, ge, >=)   \
    EMU_COMPARE(T, eq, ==) EMU_COMPARE(T, ne, !=)                                               \
    EMU_ARITHMETIC(T, add, +) EMU_ARITHMETIC(T, sub, -) EMU_ARITHMETIC(T, mul, *)               \
    inline T __hdiv(T a, T b) { return a / b; }                                                 \
    EMU_EACH_2(T, __h2div, __hdiv)                                                              \
    inline T __hfma(T a, T b, T c) { return T(fma(float(a), double(float(b)), float(c))); }     \
    inline T __hfma_sat(T a, T b, T c) {                                                        \
        return T(emu::saturated(fma(float(a), double(float(b)), float(c))));                    \
    }                                                                                           \
    inline T __hneg(T a) { return -a; }                                                         \
    inline T __habs(T a) { return T::of_bits(a.bits & 0x7fff); }                                \
    inline T __hmax(T a, T b) { return T(fmaxf(a, b)); }                                        \
    inline T __hmin(T a, T b) { return T(fminf(a, b)); }                                        \
    inline bool __hisnan(T a) { return isnan(float(a)); }                                       \
    inline int __hisinf(T a) {                                                                  \
        return (a.bits & 0x7fff) != T::infinity ? 0 : a.bits == T::infinity ? 1 : -1;           \
    }                                                                                           \
    inline T __hmax_nan(T a, T b) {                                                             \
        return __hisnan(a) || __hisnan(b) ? T::of_bits(0x7fff) : __hmax(a, b);                  \
    }                                                                                           \
    inline T __hmin_nan(T a, T b) {                                                             \
        return __hisnan(a) || __hisnan(b) ? T::of_bits(0x7fff) : __hmin(a, b);                  \
    }                                                                                           \
    inline T __hfma_relu(T a, T b, T c) { return __hmax_nan(__hfma(a, b, c), T(0)); }           \
    EMU_EACH_1(T, __hneg2, __hneg) EMU_EACH_1(T, __habs2, __habs)                               \
    EMU_EACH_2(T, __hmax2, __hmax) EMU_EACH_2(T, __hmin2, __hmin)                               \
    EMU_EACH_2(T, __hmax2_nan, __hmax_nan) EMU_EACH_2(T, __hmin2_nan, __hmin_nan)               \
    EMU_EACH_3(T, __hfma2, __hfma) EMU_EACH_3(T, __hfma2_sat, __hfma_sat)                       \
    EMU_EACH_3(T, __hfma2_relu, __hfma_relu)                                                    \
    inline emu::Pair<T> __hisnan2(emu::Pair<T> a) { return __hneu2(a, a); }                     \
    EMU_FUNCTION(T, exp, exp(x)) EMU_FUNCTION(T, exp2, exp2(x)) EMU_FUNCTION(T, exp10, exp10(x)) \
    EMU_FUNCTION(T, log, log(x)) EMU_FUNCTION(T, log2, log2(x)) EMU_FUNCTION(T, log10, log10(x)) \
    EMU_FUNCTION(T, sqrt, sqrt(x)) EMU_FUNCTION(T, rsqrt, 1 / sqrt(x)) EMU_FUNCTION(T, rcp, 1 / x) \
    EMU_FUNCTION(T, sin, sin(x)) EMU_FUNCTION(T, cos, cos(x)) EMU_FUNCTION(T, tanh, tanh(x))    \
    EMU_FUNCTION(T, tanh_approx, tanh(x)) EMU_FUNCTION(T, floor, floor(x))                      \
    EMU_FUNCTION(T, ceil, ceil(x)) EMU_FUNCTION(T, rint, rint(x)) EMU_FUNCTION(T, trunc, trunc(x)) \
    inline float __low2float(emu::Pair<T> a) { return a.x; }                                    \
    inline float __high2float(emu::Pair<T> a) { return a.y; }
EMU_HALF_FUNCTIONS(__half)
EMU_HALF_FUNCTIONS(__nv_bfloat16)
#undef EMU_HALF_FUNCTIONS
#undef EMU_FUNCTION
#undef EMU_ARITHMETIC
#undef EMU_COMPARED
#undef EMU_COMPARE
#undef EMU_EACH_3
#undef EMU_EACH_2
#undef EMU_EACH_1

// Conversions, from and to `word`, by which names call the type.
#define EMU_WHOLE(word, T, name, R)                                                              \
    inline R __##word##2##name##_rn(T a) { return emu::to_whole<R>(rint(double(float(a)))); }    \
    inline R __##word##2##name##_rz(T a) { return emu::to_whole<R>(trunc(double(float(a)))); }   \
    inline R __##word##2##name##_rd(T a) { return emu::to_whole<R>(floor(double(float(a)))); }   \
    inline R __##word##2##name##_ru(T a) { return emu::to_whole<R>(ceil(double(float(a)))); }    \
    EMU_ROUNDINGS(name, word, R, T)
#define EMU_ROUNDINGS(from, word, F, T)                                                          \
    inline T __##from##2##word##_rn(F a) { return T(a); }                                        \
    inline T __##from##2##word##_rz(F a) { return emu::rounded_towards<T>(double(a), 0); }       \
    inline T __##from##2##word##_ru(F a) { return emu::rounded_towards<T>(double(a), 1); }       \
    inline T __##from##2##word##_rd(F a) { return emu::rounded_towards<T>(double(a), -1); }
#define EMU_CONVERSIONS(word, T)                                                                 \
    EMU_ROUNDINGS(float, word, float, T)                                                         \
    EMU_WHOLE(word, T, int, int) EMU_WHOLE(word, T, uint, unsigned)                              \
    EMU_WHOLE(word, T, short, short) EMU_WHOLE(word, T, ushort, unsigned short)                  \
    EMU_WHOLE(word, T, ll, long long) EMU_WHOLE(word, T, ull, unsigned long long)                \
    inline T __float2##word(float a) { return a; }                                               \
    inline T __double2##word(double a) { return a; }                                             \
    inline float __##word##2float(T a) { return a; }                                             \
    inline unsigned short __##word##_as_ushort(T a) { return a.bits; }                           \
    inline short __##word##_as_short(T a) { return short(a.bits); }                              \
    inline T __ushort_as_##word(unsigned short bits) { return T::of_bits(bits); }                \
    inline T __short_as_##word(short bits) { return T::of_bits(uint16_t(bits)); }                \
    inline emu::Pair<T> __halves2##word##2(T a, T b) { return {a, b}; }                          \
    inline emu::Pair<T> __##word##2##word##2(T a) { return {a, a}; }                             \
    inline emu::Pair<T> __float2##word##2_rn(float a) { return {a, a}; }                         \
    inline emu::Pair<T> __floats2##word##2_rn(float a, float b) { return {a, b}; }               \
    inline emu::Pair<T> __float22##word##2_rn(float2 a) { return {a.x, a.y}; }                   \
    inline float2 __##word##22float2(emu::Pair<T> a) { return {a.x, a.y}; }                      \
    inline T __low2##word(emu::Pair<T> a) { return a.x; }                                        \
    inline T __high2##word(emu::Pair<T> a) { return a.y; }                                       \
    inline emu::Pair<T> __low2##word##2(emu::Pair<T> a) { return {a.x, a.x}; }                   \
    inline emu::Pair<T> __high2##word##2(emu::Pair<T> a) { return {a.y, a.y}; }                  \
    inline emu::Pair<T> __lows2##word##2(emu::Pair<T> a, emu::Pair<T> b) { return {a.x, b.x}; }  \
    inline emu::Pair<T> __highs2##word##2(emu::Pair<T> a, emu::Pair<T> b) { return {a.y, b.y}; }
EMU_CONVERSIONS(half, __half)
EMU_CONVERSIONS(bfloat16, __nv_bfloat16)
#undef EMU_CONVERSIONS
#undef EMU_ROUNDINGS
#undef EMU_WHOLE
inline __half2 __lowhigh2highlow(__half2 a) { return {a.y, a.x}; }
inline __nv_bfloat162 __lowhigh2highlow(__nv_bfloat162 a) { return {a.y, a.x}; }
inline __half2 make_half2(__half x, __half y) { return {x, y}; }
inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
