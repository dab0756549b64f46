// nvrtc_prelude.cuh -- what nvcc's headers give to every kernel and NVRTC does not: it stands in front
// of foreign files, which include those headers or rely on nvcc to.
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t, intptr_t;
typedef unsigned char uint8_t, uchar;
typedef unsigned short uint16_t, ushort;
typedef unsigned int uint32_t, uint;
typedef unsigned long long uint64_t, uintptr_t;
typedef unsigned long ulong;
typedef long ptrdiff_t, clock_t;

#define CHAR_BIT 8
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MAX 32767
#define SHRT_MIN (-32768)
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u
#define LONG_MAX 9223372036854775807l
#define LONG_MIN (-LONG_MAX - 1)
#define ULONG_MAX 18446744073709551615ul
#define LLONG_MAX 9223372036854775807ll
#define LLONG_MIN (-LLONG_MAX - 1)
#define ULLONG_MAX 18446744073709551615ull
#define INT32_MAX INT_MAX
#define INT32_MIN INT_MIN
#define UINT32_MAX UINT_MAX
#define INT64_MAX LLONG_MAX
#define UINT64_MAX ULLONG_MAX
#define UINT8_MAX UCHAR_MAX
#define UINT16_MAX USHRT_MAX

#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define DBL_MAX 1.7976931348623157e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-16
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define HUGE_VALF INFINITY
#define HUGE_VAL __longlong_as_double(0x7ff0000000000000ll)

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
#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN
#define CUDART_INF HUGE_VAL
#define CUDART_PI_F float(M_PI)
#define CUDART_PI M_PI
#define CUDART_MAX_NORMAL_F FLT_MAX
#define CUDART_L2E_F float(M_LOG2E)
#define CUDART_LN2_F float(M_LN2)
#define CUDART_SQRT_2OPI 0.79788456080286535588

#undef assert
#define assert(condition) ((condition) ? void() : __trap())

// A file may use these whole without a word of theirs in the kernel.
namespace cooperative_groups {}
namespace cuda {}
namespace nvcuda {}

namespace std {
template <class T> __device__ constexpr const T& min(const T& a, const T& b) {
    return b < a ? b : a;
}
template <class T> __device__ constexpr const T& max(const T& a, const T& b) {
    return a < b ? b : a;
}
template <class T> __device__ void swap(T& a, T& b) {
    T old = a;
    a = b;
    b = old;
}
using ::abs, ::ceil, ::cos, ::exp, ::fabs, ::floor, ::fma, ::fmax, ::fmin, ::fmod, ::log, ::pow;
using ::rint, ::round, ::sin, ::sqrt, ::tanh;

template <class A, class B> struct is_same {
    static constexpr bool value = false;
};
template <class A> struct is_same<A, A> {
    static constexpr bool value = true;
};
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;
template <bool, class A, class B> struct conditional {
    using type = A;
};
template <class A, class B> struct conditional<false, A, B> {
    using type = B;
};
template <bool b, class A, class B> using conditional_t = typename conditional<b, A, B>::type;
template <bool, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> {
    using type = T;
};
template <bool b, class T = void> using enable_if_t = typename enable_if<b, T>::type;

template <class T> struct numeric_limits;
template <> struct numeric_limits<float> {
    __device__ static float max() { return FLT_MAX; }
    __device__ static float lowest() { return -FLT_MAX; }
    __device__ static float min() { return FLT_MIN; }
    __device__ static float epsilon() { return FLT_EPSILON; }
    __device__ static float infinity() { return INFINITY; }
};
template <> struct numeric_limits<double> {
    __device__ static double max() { return DBL_MAX; }
    __device__ static double lowest() { return -DBL_MAX; }
    __device__ static double min() { return DBL_MIN; }
    __device__ static double epsilon() { return DBL_EPSILON; }
    __device__ static double infinity() { return HUGE_VAL; }
};
template <> struct numeric_limits<int> {
    __device__ static constexpr int max() { return INT_MAX; }
    __device__ static constexpr int lowest() { return INT_MIN; }
    __device__ static constexpr int min() { return INT_MIN; }
};
}  // namespace std
