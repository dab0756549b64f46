// rounding.h -- arithmetic with the way of rounding in its name: to the nearest (_rn), towards zero
// (_rz), up (_ru) or down (_rd).
#pragma once
#include <fenv.h>

#include "emu/libm.h"
#include "emu/types.h"

namespace emu {

struct Rounding {
    EMU_WITHIN explicit Rounding(int mode) : before(fegetround()) { fesetround(mode); }
    EMU_WITHIN ~Rounding() { fesetround(before); }
    const int before;
};

}  // namespace emu

// `volatile` keeps what is computed between the two changes of the mode, and out of any fused
// multiply-add.
#define EMU_ROUNDED_1(name, T, mode, expression)                   \
    EMU_QUIET T name(T from_x) {                                   \
        const emu::Rounding rounding(mode);                        \
        volatile T x = from_x, result = expression;                \
        return result;                                             \
    }
#define EMU_ROUNDED_2(name, T, mode, expression)                   \
    EMU_QUIET T name(T from_x, T from_y) {                         \
        const emu::Rounding rounding(mode);                        \
        volatile T x = from_x, y = from_y, result = expression;    \
        return result;                                             \
    }
#define EMU_ROUNDED_3(name, T, mode, expression)                               \
    EMU_QUIET T name(T from_x, T from_y, T from_z) {                           \
        const emu::Rounding rounding(mode);                                    \
        volatile T x = from_x, y = from_y, z = from_z, result = expression;    \
        return result;                                                         \
    }
#define EMU_ROUNDED(way, mode)                                                             \
    EMU_ROUNDED_2(__fadd_##way, float, mode, x + y) EMU_ROUNDED_2(__dadd_##way, double, mode, x + y) \
    EMU_ROUNDED_2(__fsub_##way, float, mode, x - y) EMU_ROUNDED_2(__dsub_##way, double, mode, x - y) \
    EMU_ROUNDED_2(__fmul_##way, float, mode, x * y) EMU_ROUNDED_2(__dmul_##way, double, mode, x * y) \
    EMU_ROUNDED_2(__fdiv_##way, float, mode, x / y) EMU_ROUNDED_2(__ddiv_##way, double, mode, x / y) \
    EMU_ROUNDED_1(__frcp_##way, float, mode, 1 / x) EMU_ROUNDED_1(__drcp_##way, double, mode, 1 / x) \
    EMU_ROUNDED_1(__fsqrt_##way, float, mode, sqrtf(x))                                    \
    EMU_ROUNDED_1(__dsqrt_##way, double, mode, sqrt(x))                                    \
    EMU_ROUNDED_3(__fmaf_##way, float, mode, fmaf(x, y, z))                                \
    EMU_ROUNDED_3(__fma_##way, double, mode, fma(x, y, z))
EMU_ROUNDED(rz, FE_TOWARDZERO)
EMU_ROUNDED(ru, FE_UPWARD)
EMU_ROUNDED(rd, FE_DOWNWARD)
#undef EMU_ROUNDED
#undef EMU_ROUNDED_3
#undef EMU_ROUNDED_2
#undef EMU_ROUNDED_1

// These never become part of a fused multiply-add, so the compiler must not see through them.
#define EMU_NEAREST(name, T, operation) \
    __attribute__((noinline)) inline T name(T x, T y) { return x operation y; }
EMU_NEAREST(__fadd_rn, float, +)
EMU_NEAREST(__fsub_rn, float, -)
EMU_NEAREST(__fmul_rn, float, *)
EMU_NEAREST(__fdiv_rn, float, /)
EMU_NEAREST(__dadd_rn, double, +)
EMU_NEAREST(__dsub_rn, double, -)
EMU_NEAREST(__dmul_rn, double, *)
EMU_NEAREST(__ddiv_rn, double, /)
#undef EMU_NEAREST
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1 / sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __drcp_rn(double x) { return 1 / x; }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
