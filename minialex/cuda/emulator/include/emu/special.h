// special.h -- functions of CUDA's that the host's library has no twin of: inverses of the error
// function, its scaled form, and modified Bessel functions.
#pragma once
#include "emu/constants.h"
#include "emu/maths.h"

namespace emu {

// Where erfc, which falls from 2 to 0, has the value `y`: found between bounds, as doubles have it.
inline double inverse_erfc(double y) {
    if (!(y >= 0 && y <= 2)) return CUDART_NAN;
    if (y == 0 || y == 2) return y == 0 ? CUDART_INF : -CUDART_INF;
    double low = -6, high = 28;
    while (true) {
        const double middle = (low + high) / 2;
        if (middle <= low || middle >= high) return middle;
        (erfc(middle) > y ? low : high) = middle;
    }
}
inline double inverse_erf(double y) {
    if (!(y >= -1 && y <= 1)) return CUDART_NAN;
    if (y == 1 || y == -1) return y * CUDART_INF;
    // near 0, where erfc's values are all close to 1, by erf itself
    double x = fabs(y) < 0.5 ? y * 0.886226925452758 : inverse_erfc(1 - y);
    for (int i = 0; i < 8; ++i) x -= (erf(x) - y) * 0.886226925452758 * exp(x * x);
    return x;
}
// exp(x^2) erfc(x), from 26 on by its series in 1/x^2.
inline double scaled_erfc(double x) {
    if (x < 26) return exp(x * x) * erfc(x);
    const double r = 1 / (x * x);
    return (1 - r / 2 * (1 - 3 * r / 2)) / (x * 1.77245385090551602730);
}
// The sum of (x/2)^(2 k + order) / (k! (k + order)!).
inline double bessel_i(int order, double x) {
    const double half = x / 2, square = half * half;
    double term = order ? half : 1, sum = term;
    for (int k = 1; k < 2000 && fabs(term) > fabs(sum) * 1e-17; ++k)
        sum += term *= square / (double(k) * (k + order));
    return sum;
}

}  // namespace emu

#define EMU_SPECIAL(name, expression)                              \
    inline double name(double x) { return expression; }            \
    inline float name##f(float from) {                             \
        const double x = from;                                     \
        return float(expression);                                  \
    }                                                              \
    inline float name(float x) { return name##f(x); }
EMU_SPECIAL(erfinv, emu::inverse_erf(x))
EMU_SPECIAL(erfcinv, emu::inverse_erfc(x))
EMU_SPECIAL(erfcx, emu::scaled_erfc(x))
EMU_SPECIAL(normcdfinv, -M_SQRT2 * emu::inverse_erfc(2 * x))
EMU_SPECIAL(cyl_bessel_i0, emu::bessel_i(0, x))
EMU_SPECIAL(cyl_bessel_i1, emu::bessel_i(1, x))
#undef EMU_SPECIAL
