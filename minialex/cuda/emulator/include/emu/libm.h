// libm.h -- the functions of <math.h>, each for double and for float; whole numbers go as double.
//
// In C++ <math.h> has all of <cmath> behind it: more text than a kernel and the emulator together,
// and read again for each kernel that is compiled.
#pragma once
#include <type_traits>

namespace emu {
// What no overload is for: whole numbers, and two operands of different types.
template <class... T>
using double_of = std::enable_if_t<(std::is_arithmetic_v<T> && ...), double>;
}  // namespace emu

// EMU_MATH(name, what name() gives and takes, what namef() gives and takes, the arguments' names)
#define EMU_MATH(name, D, doubles, F, floats, arguments) \
    extern "C" D name doubles noexcept;                  \
    extern "C" F name##f floats noexcept;                \
    inline F name floats noexcept { return name##f arguments; }
#define EMU_MATH_1(name)                                  \
    EMU_MATH(name, double, (double x), float, (float x), (x)) \
    template <class T> emu::double_of<T> name(T x) noexcept { return name(double(x)); }
#define EMU_MATH_2(name)                                                                 \
    EMU_MATH(name, double, (double x, double y), float, (float x, float y), (x, y))      \
    template <class T, class U> emu::double_of<T, U> name(T x, U y) noexcept {           \
        return name(double(x), double(y));                                               \
    }
#define EMU_MATH_WHOLE(name, R) EMU_MATH(name, R, (double x), R, (float x), (x))

EMU_MATH_1(acos) EMU_MATH_1(acosh) EMU_MATH_1(asin) EMU_MATH_1(asinh) EMU_MATH_1(atan)
EMU_MATH_1(atanh) EMU_MATH_1(cbrt) EMU_MATH_1(ceil) EMU_MATH_1(cos) EMU_MATH_1(cosh)
EMU_MATH_1(erf) EMU_MATH_1(erfc) EMU_MATH_1(exp) EMU_MATH_1(exp10) EMU_MATH_1(exp2)
EMU_MATH_1(expm1) EMU_MATH_1(fabs) EMU_MATH_1(floor) EMU_MATH_1(lgamma) EMU_MATH_1(log)
EMU_MATH_1(log10) EMU_MATH_1(log1p) EMU_MATH_1(log2) EMU_MATH_1(logb) EMU_MATH_1(nearbyint)
EMU_MATH_1(rint) EMU_MATH_1(round) EMU_MATH_1(sin) EMU_MATH_1(sinh) EMU_MATH_1(sqrt)
EMU_MATH_1(tan) EMU_MATH_1(tanh) EMU_MATH_1(tgamma) EMU_MATH_1(trunc)
EMU_MATH_1(j0) EMU_MATH_1(j1) EMU_MATH_1(y0) EMU_MATH_1(y1)
EMU_MATH_2(atan2) EMU_MATH_2(copysign) EMU_MATH_2(fdim) EMU_MATH_2(fmax) EMU_MATH_2(fmin)
EMU_MATH_2(fmod) EMU_MATH_2(hypot) EMU_MATH_2(nextafter) EMU_MATH_2(pow) EMU_MATH_2(remainder)
EMU_MATH_WHOLE(ilogb, int) EMU_MATH_WHOLE(lrint, long) EMU_MATH_WHOLE(llrint, long long)
EMU_MATH_WHOLE(lround, long) EMU_MATH_WHOLE(llround, long long)
EMU_MATH(fma, double, (double x, double y, double z), float, (float x, float y, float z), (x, y, z))
template <class T, class U, class V> emu::double_of<T, U, V> fma(T x, U y, V z) noexcept {
    return fma(double(x), double(y), double(z));
}
EMU_MATH(frexp, double, (double x, int* e), float, (float x, int* e), (x, e))
EMU_MATH(ldexp, double, (double x, int e), float, (float x, int e), (x, e))
EMU_MATH(scalbn, double, (double x, int e), float, (float x, int e), (x, e))
EMU_MATH(scalbln, double, (double x, long e), float, (float x, long e), (x, e))
EMU_MATH(modf, double, (double x, double* whole), float, (float x, float* whole), (x, whole))
EMU_MATH(remquo, double, (double x, double y, int* q), float, (float x, float y, int* q), (x, y, q))
EMU_MATH(jn, double, (int n, double x), float, (int n, float x), (n, x))
EMU_MATH(yn, double, (int n, double x), float, (int n, float x), (n, x))
EMU_MATH(sincos, void, (double x, double* s, double* c), void, (float x, float* s, float* c),
         (x, s, c))
extern "C" double nan(const char*) noexcept;
extern "C" float nanf(const char*) noexcept;

inline double abs(double x) { return __builtin_fabs(x); }
inline float abs(float x) { return __builtin_fabsf(x); }
extern "C" int abs(int) noexcept;
extern "C" long labs(long) noexcept;
extern "C" long long llabs(long long) noexcept;
inline long abs(long x) { return labs(x); }
inline long long abs(long long x) { return llabs(x); }

#define EMU_MATH_IS(name, builtin)                             \
    inline bool name(float x) { return builtin(x); }           \
    inline bool name(double x) { return builtin(x); }          \
    template <class T> std::enable_if_t<std::is_integral_v<T>, bool> name(T x) { \
        return builtin(double(x));                             \
    }
EMU_MATH_IS(isfinite, __builtin_isfinite)
EMU_MATH_IS(isinf, __builtin_isinf)
EMU_MATH_IS(isnan, __builtin_isnan)
EMU_MATH_IS(signbit, __builtin_signbit)

#undef EMU_MATH_IS
#undef EMU_MATH_WHOLE
#undef EMU_MATH_2
#undef EMU_MATH_1
#undef EMU_MATH
