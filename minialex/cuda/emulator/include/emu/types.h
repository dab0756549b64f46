// types.h -- CUDA's keywords and vector types, for a C++ compiler that knows neither.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define MINIALEX_EMULATED 1

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __cudart_builtin__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

// In a checked build every access to memory calls a hook of the runtime. The emulator's own
// functions must not; and a kernel must not be inlined into one of them, or it would go unwatched.
#if defined(__clang__)
#define EMU_UNCOVERED __attribute__((no_sanitize("coverage")))
#elif defined(__has_attribute) && __has_attribute(no_sanitize_coverage)
#define EMU_UNCOVERED __attribute__((no_sanitize_coverage))
#else
#define EMU_UNCOVERED
#endif
// What such functions call is a part of them: on its own it would be watched.
#define EMU_WITHIN __attribute__((always_inline))
#define EMU_PART inline EMU_WITHIN
#ifdef EMU_CHECKED
#define EMU_QUIET inline __attribute__((no_sanitize("thread"), noinline)) EMU_UNCOVERED
#if defined(__clang__)
#define __global__ __attribute__((noinline))
#else
// g++ watches no struct that is passed to a function or returned: none is called in a kernel.
#define __global__ __attribute__((noinline, flatten))
#endif
#else
#define EMU_QUIET inline
#define __global__
#endif

// Where in the kernel's text a call stands: the defaults are those of the call site.
#define EMU_SITE const char *emu_file = __builtin_FILE(), int emu_line = __builtin_LINE()

// A vector is read and written in one piece, which is then seen to be aligned or not. g++ leaves
// structs whole where it is told to (compiler.py); clang takes them apart before it puts the calls of
// the runtime in, but no vectors of its own.
#if defined(EMU_CHECKED) && defined(__clang__)
namespace emu {
template <class T, int n> __forceinline__ void copy_whole(void* to, const void* from) {
    constexpr int bytes = n * sizeof(T), at_once = bytes > 16 ? 16 : bytes;
    typedef T Whole __attribute__((vector_size(at_once)));
    for (int i = 0; i < bytes / at_once; ++i)
        static_cast<Whole*>(to)[i] = static_cast<const Whole*>(from)[i];
}
}  // namespace emu
#define EMU_COPIED_WHOLE(name, T, n)                                          \
    __forceinline__ name(const name& v) { emu::copy_whole<T, n>(this, &v); }  \
    __forceinline__ name& operator=(const name& v) {                          \
        return emu::copy_whole<T, n>(this, &v), *this;                        \
    }
#define EMU_MADE_OF_TWO(name, T) \
    name() = default;            \
    constexpr name(T x, T y = 0) : x(x), y(y) {}
#define EMU_MADE_OF_FOUR(name, T) \
    name() = default;             \
    constexpr name(T x, T y = 0, T z = 0, T w = 0) : x(x), y(y), z(z), w(w) {}
#else
#define EMU_COPIED_WHOLE(name, T, n)
#define EMU_MADE_OF_TWO(name, T)
#define EMU_MADE_OF_FOUR(name, T)
#endif

// float4 and the like. Vectors of two and four are aligned as a whole, up to 16 bytes, because the
// device loads them with one instruction.
#define EMU_VECTOR(name, T)                                                                   \
    struct name##1 { T x; };                                                                  \
    struct alignas(2 * sizeof(T)) name##2 {                                                   \
        T x, y;                                                                               \
        EMU_COPIED_WHOLE(name##2, T, 2) EMU_MADE_OF_TWO(name##2, T)                           \
    };                                                                                        \
    struct name##3 { T x, y, z; };                                                            \
    struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) name##4 {                         \
        T x, y, z, w;                                                                         \
        EMU_COPIED_WHOLE(name##4, T, 4) EMU_MADE_OF_FOUR(name##4, T)                          \
    };                                                                                        \
    inline name##1 make_##name##1(T x) { return {x}; }                                        \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                        \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMU_VECTOR(char, signed char)
EMU_VECTOR(uchar, unsigned char)
EMU_VECTOR(short, short)
EMU_VECTOR(ushort, unsigned short)
EMU_VECTOR(int, int)
EMU_VECTOR(uint, unsigned)
EMU_VECTOR(longlong, long long)
EMU_VECTOR(ulonglong, unsigned long long)
EMU_VECTOR(float, float)
EMU_VECTOR(double, double)
#undef EMU_VECTOR

namespace emu {
template <int fraction, int least_exponent> struct SmallFloat;
}
using __half = emu::SmallFloat<10, -14>;
using __nv_bfloat16 = emu::SmallFloat<7, -126>;

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
