// integers.h -- whole numbers: bits, wide products, and the bytes or halves of a word side by side.
#pragma once
#include "emu/atomics.h"
#include "emu/runtime.h"

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __mulhi(int x, int y) { return int((long long)x * y >> 32); }
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned((unsigned long long)x * y >> 32); }
inline int __mul24(int x, int y) { return ((x << 8) >> 8) * ((y << 8) >> 8); }
inline unsigned __umul24(unsigned x, unsigned y) { return (x & 0xffffff) * (y & 0xffffff); }
inline long long __mul64hi(long long x, long long y) { return (long long)((__int128)x * y >> 64); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}
inline int __hadd(int x, int y) { return int(((long long)x + y) >> 1); }
inline int __rhadd(int x, int y) { return int(((long long)x + y + 1) >> 1); }
inline unsigned __uhadd(unsigned x, unsigned y) { return unsigned(((unsigned long long)x + y) >> 1); }
inline unsigned __urhadd(unsigned x, unsigned y) {
    return unsigned(((unsigned long long)x + y + 1) >> 1);
}
inline unsigned __sad(int x, int y, unsigned z) { return z + unsigned(x < y ? y - x : x - y); }
inline unsigned __usad(unsigned x, unsigned y, unsigned z) { return z + (x < y ? y - x : x - y); }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
    return y;
}
inline unsigned long long __brevll(unsigned long long x) {
    return (unsigned long long)__brev(unsigned(x)) << 32 | __brev(unsigned(x >> 32));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned((((unsigned long long)high << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return shift < 32 ? __funnelshift_l(low, high, shift) : low;
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return shift < 32 ? __funnelshift_r(low, high, shift) : high;
}
// Four bytes chosen among the eight of two words; the top bit of a choice spreads the byte's sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned choice) {
    const unsigned long long both = (unsigned long long)y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned which = choice >> 4 * i;
        result |= unsigned(both >> 8 * (which & 7) & 0xff) << 8 * i;
    }
    return result;
}
// Where bit number `offset` of those set lies, counted from bit `base` up or, below 0, down.
inline unsigned __fns(unsigned mask, unsigned base, int offset) {
    if (offset == 0) return mask >> base & 1 ? base : 0xffffffffu;
    const int step = offset > 0 ? 1 : -1;
    int left = offset * step;
    for (int bit = int(base); bit >= 0 && bit < 32; bit += step)
        if ((mask >> bit & 1) && --left == 0) return unsigned(bit);
    return 0xffffffffu;
}
inline void __nanosleep(unsigned) { emu_give_way(); }
inline long long clock64() { return emu_clock(); }
using clock_t = long;
inline clock_t clock() { return clock_t(emu_clock()); }

namespace emu {

// The parts of a word, of type T, taken together: two words make a third, or a sum.
template <class T, class Combine> EMU_PART unsigned each_part(unsigned x, unsigned y, Combine combine) {
    constexpr int bits = 8 * sizeof(T);
    constexpr unsigned mask = (1u << bits) - 1;
    unsigned result = 0;
    for (int shift = 0; shift < 32; shift += bits)
        result |= (unsigned(combine(int(T(x >> shift)), int(T(y >> shift)))) & mask) << shift;
    return result;
}
template <class X, class Y> EMU_PART int dot(unsigned x, unsigned y, int count) {
    int sum = 0;
    for (int i = 0; i < count; ++i)
        sum += int(X(x >> 8 * int(sizeof(X)) * i)) * int(Y(y >> 8 * int(sizeof(Y)) * i));
    return sum;
}
EMU_PART int cut(int x, int least, int most) { return x < least ? least : x > most ? most : x; }

}  // namespace emu

#define EMU_PARTS(name, T, expression)                                              \
    inline unsigned name(unsigned x, unsigned y) {                                  \
        return emu::each_part<T>(x, y, [](int a, int b) { return expression; });    \
    }
#define EMU_PARTS_OF(count, S, U, s_least, s_most, u_most)                          \
    EMU_PARTS(__vadd##count, U, a + b) EMU_PARTS(__vsub##count, U, a - b)           \
    EMU_PARTS(__vaddss##count, S, emu::cut(a + b, s_least, s_most))                 \
    EMU_PARTS(__vaddus##count, U, emu::cut(a + b, 0, u_most))                       \
    EMU_PARTS(__vsubss##count, S, emu::cut(a - b, s_least, s_most))                 \
    EMU_PARTS(__vsubus##count, U, emu::cut(a - b, 0, u_most))                       \
    EMU_PARTS(__vavgu##count, U, (a + b + 1) >> 1) EMU_PARTS(__vavgs##count, S, (a + b + 1) >> 1) \
    EMU_PARTS(__vhaddu##count, U, (a + b) >> 1)                                     \
    EMU_PARTS(__vmaxu##count, U, a < b ? b : a) EMU_PARTS(__vmaxs##count, S, a < b ? b : a) \
    EMU_PARTS(__vminu##count, U, a < b ? a : b) EMU_PARTS(__vmins##count, S, a < b ? a : b) \
    EMU_PARTS(__vabsdiffu##count, U, a < b ? b - a : a - b)                         \
    EMU_PARTS(__vabsdiffs##count, S, a < b ? b - a : a - b)                         \
    EMU_COMPARED(eq, U, count, a == b) EMU_COMPARED(ne, U, count, a != b)           \
    EMU_COMPARED(gtu, U, count, a > b) EMU_COMPARED(geu, U, count, a >= b)          \
    EMU_COMPARED(ltu, U, count, a < b) EMU_COMPARED(leu, U, count, a <= b)          \
    EMU_COMPARED(gts, S, count, a > b) EMU_COMPARED(ges, S, count, a >= b)          \
    EMU_COMPARED(lts, S, count, a < b) EMU_COMPARED(les, S, count, a <= b)          \
    inline unsigned __vneg##count(unsigned x) { return __vsub##count(0, x); }       \
    inline unsigned __vabs##count(unsigned x) {                                     \
        return emu::each_part<S>(x, x, [](int a, int) { return a < 0 ? -a : a; });  \
    }
#define EMU_COMPARED(name, T, count, test) \
    EMU_PARTS(__vcmp##name##count, T, (test) ? -1 : 0) EMU_PARTS(__vset##name##count, T, (test) ? 1 : 0)
EMU_PARTS_OF(4, signed char, unsigned char, -128, 127, 255)
EMU_PARTS_OF(2, short, unsigned short, -32768, 32767, 65535)
#undef EMU_COMPARED
#undef EMU_PARTS_OF
#undef EMU_PARTS
inline unsigned __vsadu4(unsigned x, unsigned y) {
    return unsigned(emu::dot<unsigned char, unsigned char>(__vabsdiffu4(x, y), 0x01010101u, 4));
}
inline unsigned __vsadu2(unsigned x, unsigned y) {
    return unsigned(emu::dot<unsigned short, unsigned short>(__vabsdiffu2(x, y), 0x00010001u, 2));
}

inline int __dp4a(int x, int y, int sum) {
    return sum + emu::dot<signed char, signed char>(unsigned(x), unsigned(y), 4);
}
inline unsigned __dp4a(unsigned x, unsigned y, unsigned sum) {
    return sum + unsigned(emu::dot<unsigned char, unsigned char>(x, y, 4));
}
inline int __dp4a(char4 x, char4 y, int sum) {
    return __dp4a(emu::bits_as<int>(x), emu::bits_as<int>(y), sum);
}
inline unsigned __dp4a(uchar4 x, uchar4 y, unsigned sum) {
    return __dp4a(emu::bits_as<unsigned>(x), emu::bits_as<unsigned>(y), sum);
}
inline int __dp2a_lo(int x, int y, int sum) {
    return sum + emu::dot<short, signed char>(unsigned(x), unsigned(y), 2);
}
inline int __dp2a_hi(int x, int y, int sum) {
    return sum + emu::dot<short, signed char>(unsigned(x), unsigned(y) >> 16, 2);
}
inline unsigned __dp2a_lo(unsigned x, unsigned y, unsigned sum) {
    return sum + unsigned(emu::dot<unsigned short, unsigned char>(x, y, 2));
}
inline unsigned __dp2a_hi(unsigned x, unsigned y, unsigned sum) {
    return sum + unsigned(emu::dot<unsigned short, unsigned char>(x, y >> 16, 2));
}
