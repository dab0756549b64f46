// standard.h -- what kernels use of the namespace std, which CUDA also calls cuda::std.
//
// The library's own headers for it have all of <cmath> behind them (libm.h), so `std` is another
// namespace in a kernel's text: it has these functions, and whatever of std has been included.
#pragma once
#include <limits>
#include <type_traits>

#include "emu/constants.h"
#include "emu/maths.h"

template <int fraction, int least_exponent>
class std::numeric_limits<emu::SmallFloat<fraction, least_exponent>> {
    using T = emu::SmallFloat<fraction, least_exponent>;

  public:
    static constexpr bool is_specialized = true, is_signed = true, is_integer = false;
    static constexpr bool is_exact = false, has_infinity = true, has_quiet_NaN = true;
    static constexpr int radix = 2, digits = fraction + 1;
    static constexpr T min() { return T::of_bits(1 << fraction); }
    static constexpr T max() { return T::of_bits(T::infinity - 1); }
    static constexpr T lowest() { return T::of_bits(0x8000 | (T::infinity - 1)); }
    static constexpr T epsilon() { return T::of_bits(T::one - (fraction << fraction)); }
    static constexpr T infinity() { return T::of_bits(T::infinity); }
    static constexpr T quiet_NaN() { return T::of_bits(0x7fff); }
    static constexpr T denorm_min() { return T::of_bits(1); }
};

namespace emu_std {
using namespace ::std;
using ::int16_t, ::int32_t, ::int64_t, ::int8_t, ::intptr_t, ::ptrdiff_t, ::size_t;
using ::uint16_t, ::uint32_t, ::uint64_t, ::uint8_t, ::uintptr_t;

using ::abs, ::acos, ::acosh, ::asin, ::asinh, ::atan, ::atan2, ::atanh, ::cbrt, ::ceil;
using ::copysign, ::cos, ::cosh, ::erf, ::erfc, ::exp, ::exp2, ::expm1, ::fabs, ::fdim, ::floor;
using ::fma, ::fmax, ::fmin, ::fmod, ::frexp, ::hypot, ::ilogb, ::isfinite, ::isinf, ::isnan;
using ::ldexp, ::lgamma, ::llrint, ::llround, ::log, ::log10, ::log1p, ::log2, ::logb, ::lrint;
using ::lround, ::modf, ::nearbyint, ::nextafter, ::pow, ::remainder, ::remquo, ::rint, ::round;
using ::scalbln, ::scalbn, ::signbit, ::sin, ::sinh, ::sqrt, ::tan, ::tanh, ::tgamma, ::trunc;
using ::printf;

template <class T> constexpr std::remove_reference_t<T>&& move(T&& value) noexcept {
    return static_cast<std::remove_reference_t<T>&&>(value);
}
template <class T> constexpr T&& forward(std::remove_reference_t<T>& value) noexcept {
    return static_cast<T&&>(value);
}
template <class T> constexpr T&& forward(std::remove_reference_t<T>&& value) noexcept {
    return static_cast<T&&>(value);
}
template <class T> __forceinline__ constexpr void swap(T& a, T& b) {
    T old = static_cast<T&&>(a);
    a = static_cast<T&&>(b);
    b = static_cast<T&&>(old);
}
template <class T> __forceinline__ constexpr const T& min(const T& a, const T& b) {
    return b < a ? b : a;
}
template <class T> __forceinline__ constexpr const T& max(const T& a, const T& b) {
    return a < b ? b : a;
}
template <class T, class Less>
__forceinline__ constexpr const T& min(const T& a, const T& b, Less less) {
    return less(b, a) ? b : a;
}
template <class T, class Less>
__forceinline__ constexpr const T& max(const T& a, const T& b, Less less) {
    return less(a, b) ? b : a;
}
template <class T>
__forceinline__ constexpr const T& clamp(const T& value, const T& low, const T& high) {
    return value < low ? low : high < value ? high : value;
}

template <class A, class B> struct pair {
    A first;
    B second;
};
template <class A, class B> constexpr pair<A, B> make_pair(A a, B b) { return {a, b}; }

#define EMU_OPERATION(name, op)                                                        \
    template <class T = void> struct name {                                            \
        __forceinline__ constexpr auto operator()(const T& a, const T& b) const { return a op b; } \
    };                                                                                 \
    template <> struct name<void> {                                                    \
        template <class T, class U>                                                    \
        __forceinline__ constexpr auto operator()(const T& a, const U& b) const { return a op b; } \
    };
EMU_OPERATION(plus, +) EMU_OPERATION(minus, -) EMU_OPERATION(multiplies, *)
EMU_OPERATION(less, <) EMU_OPERATION(less_equal, <=) EMU_OPERATION(greater, >)
EMU_OPERATION(greater_equal, >=) EMU_OPERATION(equal_to, ==)
EMU_OPERATION(bit_and, &) EMU_OPERATION(bit_or, |) EMU_OPERATION(bit_xor, ^)
#undef EMU_OPERATION
}  // namespace emu_std
namespace cuda {
namespace emu_std = ::emu_std;
}
