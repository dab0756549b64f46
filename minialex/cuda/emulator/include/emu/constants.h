// constants.h -- the numbers and names of types that a kernel has without including anything:
// CUDA's compiler puts <math.h>, <limits.h>, <float.h> and math_constants.h in front of it.
#pragma once
#include <float.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/small_floats.h"

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned;
using ulong = unsigned long;

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define HUGE_VAL __builtin_inf()
#define HUGE_VALF __builtin_inff()

#define M_E 2.7182818284590452354
#define M_LOG2E 1.4426950408889634074
#define M_LOG10E 0.43429448190325182765
#define M_LN2 0.69314718055994530942
#define M_LN10 2.30258509299404568402
#define M_PI 3.14159265358979323846
#define M_PI_2 1.57079632679489661923
#define M_PI_4 0.78539816339744830962
#define M_1_PI 0.31830988618379067154
#define M_2_PI 0.63661977236758134308
#define M_2_SQRTPI 1.12837916709551257390
#define M_SQRT2 1.41421356237309504880
#define M_SQRT1_2 0.70710678118654752440

// A name ends in _F for float and in nothing for double; parts _HI and _LO are left out.
#define EMU_CONSTANT(name, value) \
    inline constexpr double CUDART_##name = value; \
    inline constexpr float CUDART_##name##_F = float(value);
EMU_CONSTANT(INF, __builtin_inf())
EMU_CONSTANT(NEG_ZERO, -0.0)
EMU_CONSTANT(ZERO, 0.0)
EMU_CONSTANT(ONE, 1.0)
EMU_CONSTANT(SQRT_HALF, M_SQRT1_2)
EMU_CONSTANT(SQRT_TWO, M_SQRT2)
EMU_CONSTANT(THIRD, 1.0 / 3)
EMU_CONSTANT(PIO4, M_PI_4)
EMU_CONSTANT(PIO2, M_PI_2)
EMU_CONSTANT(3PIO4, 2.35619449019234492885)
EMU_CONSTANT(2_OVER_PI, M_2_PI)
EMU_CONSTANT(PI, M_PI)
EMU_CONSTANT(L2E, M_LOG2E)
EMU_CONSTANT(L2T, 3.32192809488736234787)
EMU_CONSTANT(LG2, 0.30102999566398119521)
EMU_CONSTANT(LGE, M_LOG10E)
EMU_CONSTANT(LN2, M_LN2)
EMU_CONSTANT(LNT, M_LN10)
EMU_CONSTANT(LNPI, 1.14472988584940017414)
EMU_CONSTANT(TWO_TO_23, 8388608.0)
#undef EMU_CONSTANT
inline constexpr float CUDART_NAN_F = __builtin_nanf("0x3fffff");
inline constexpr float CUDART_MIN_DENORM_F = FLT_TRUE_MIN, CUDART_MAX_NORMAL_F = FLT_MAX;
inline constexpr float CUDART_NORM_HUGE_F = FLT_MAX, CUDART_TWO_TO_M126_F = FLT_MIN;
inline constexpr float CUDART_TWO_TO_126_F = 0x1p126f, CUDART_TWO_TO_24_F = 0x1p24f;
inline constexpr float CUDART_TWO_TO_31_F = 0x1p31f, CUDART_TWO_TO_32_F = 0x1p32f;
inline constexpr float CUDART_SQRT_2_OVER_PI_F = 0.797884561f;
inline constexpr double CUDART_NAN = -__builtin_nan(""), CUDART_MIN_DENORM = DBL_TRUE_MIN;
inline constexpr double CUDART_TWOTHIRD = 2.0 / 3, CUDART_SQRT_2PI = 2.50662827463100050242;
inline constexpr double CUDART_SQRT_PIO2 = 1.25331413731550025121;
inline constexpr double CUDART_SQRT_2OPI = 0.79788456080286535588;
inline constexpr double CUDART_TWO_TO_52 = 0x1p52, CUDART_TWO_TO_53 = 0x1p53;
inline constexpr double CUDART_TWO_TO_54 = 0x1p54, CUDART_TWO_TO_M54 = 0x1p-54;
inline constexpr double CUDART_TWO_TO_M1022 = 0x1p-1022;

#define EMU_CONSTANTS(suffix, T)                                       \
    inline constexpr T CUDART_INF_##suffix = T::of_bits(T::infinity);  \
    inline constexpr T CUDART_NAN_##suffix = T::of_bits(0x7fff);       \
    inline constexpr T CUDART_MIN_DENORM_##suffix = T::of_bits(1);     \
    inline constexpr T CUDART_MAX_NORMAL_##suffix = T::of_bits(T::infinity - 1); \
    inline constexpr T CUDART_NEG_ZERO_##suffix = T::of_bits(0x8000);  \
    inline constexpr T CUDART_ZERO_##suffix = T::of_bits(0);           \
    inline constexpr T CUDART_ONE_##suffix = T::of_bits(T::one);
EMU_CONSTANTS(FP16, __half)
EMU_CONSTANTS(BF16, __nv_bfloat16)
#undef EMU_CONSTANTS
