// conversions.h -- one type of number to another, and bits seen as another type.
#pragma once
#include "emu/atomics.h"
#include "emu/libm.h"

namespace emu {

// The nearest number of a type of whole numbers; 0 for a NaN.
template <class R> R to_whole(double whole) {
    constexpr bool is_signed = std::is_signed_v<R>;
    constexpr int bits = int(8 * sizeof(R)) - is_signed;
    const double end = ldexp(1.0, bits);
    constexpr R most = R(~0ull >> (64 - bits));
    if (isnan(whole)) return 0;
    if (whole >= end) return most;
    if (is_signed ? whole < -end : whole <= 0) return is_signed ? R(~most) : R(0);
    return R(whole);
}

// The number of type T that lies towards `direction` of an exact value: up (1), down (-1), or zero.
template <class T, class From> T towards(From exact, int direction) {
    using Bits = std::conditional_t<sizeof(T) == 4, int, long long>;
    const T near = T(exact);
    // whole numbers of 64 bits are compared in 128, where a double fits
    using Wide = std::conditional_t<std::is_integral_v<From>, __int128, From>;
    const Wide got = Wide(near), wanted = Wide(exact);
    const bool is_off = direction > 0 ? got < wanted : direction < 0 ? got > wanted
                        : wanted < 0 ? got < wanted : got > wanted;
    if (!is_off || isnan(double(near))) return near;
    const bool up = direction > 0 || (direction == 0 && wanted < 0);
    if (near == 0) return bits_as<T>(Bits(up ? 1 : Bits(1) | Bits(1ull << (8 * sizeof(T) - 1))));
    return bits_as<T>(Bits(bits_as<Bits>(near) + ((near > 0) == up ? 1 : -1)));
}

}  // namespace emu

#define EMU_WHOLE(from, F, to, R)                                                              \
    inline R __##from##2##to##_rn(F x) { return emu::to_whole<R>(rint(double(x))); }           \
    inline R __##from##2##to##_rz(F x) { return emu::to_whole<R>(trunc(double(x))); }          \
    inline R __##from##2##to##_rd(F x) { return emu::to_whole<R>(floor(double(x))); }          \
    inline R __##from##2##to##_ru(F x) { return emu::to_whole<R>(ceil(double(x))); }
#define EMU_ROUNDINGS(from, F, to, R)                                                          \
    inline R __##from##2##to##_rn(F x) { return R(x); }                                        \
    inline R __##from##2##to##_rz(F x) { return emu::towards<R>(x, 0); }                       \
    inline R __##from##2##to##_rd(F x) { return emu::towards<R>(x, -1); }                      \
    inline R __##from##2##to##_ru(F x) { return emu::towards<R>(x, 1); }
EMU_WHOLE(float, float, int, int) EMU_WHOLE(float, float, uint, unsigned)
EMU_WHOLE(float, float, ll, long long) EMU_WHOLE(float, float, ull, unsigned long long)
EMU_WHOLE(double, double, int, int) EMU_WHOLE(double, double, uint, unsigned)
EMU_WHOLE(double, double, ll, long long) EMU_WHOLE(double, double, ull, unsigned long long)
EMU_ROUNDINGS(int, int, float, float) EMU_ROUNDINGS(uint, unsigned, float, float)
EMU_ROUNDINGS(ll, long long, float, float) EMU_ROUNDINGS(ull, unsigned long long, float, float)
EMU_ROUNDINGS(ll, long long, double, double) EMU_ROUNDINGS(ull, unsigned long long, double, double)
EMU_ROUNDINGS(double, double, float, float)
#undef EMU_ROUNDINGS
#undef EMU_WHOLE
inline double __int2double_rn(int x) { return x; }
inline double __uint2double_rn(unsigned x) { return x; }

inline int __float_as_int(float x) { return emu::bits_as<int>(x); }
inline unsigned __float_as_uint(float x) { return emu::bits_as<unsigned>(x); }
inline float __int_as_float(int x) { return emu::bits_as<float>(x); }
inline float __uint_as_float(unsigned x) { return emu::bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return emu::bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return emu::bits_as<double>(x); }
inline int __double2hiint(double x) { return int(__double_as_longlong(x) >> 32); }
inline int __double2loint(double x) { return int(__double_as_longlong(x)); }
inline double __hiloint2double(int high, int low) {
    return __longlong_as_double((long long)high << 32 | unsigned(low));
}
