// ptx.h -- what inline assembly is rewritten to (assembly.py): registers as they are declared, and a
// function for each instruction that C++ has no operator for.
#pragma once
#include "emu/copies.h"
#include "emu/halves.h"
#include "emu/integers.h"
#include "emu/tensor_core.h"

namespace emu::ptx {

// A register's bits as another type; numbers of another size are converted.
template <class To, class From> EMU_PART To as(From value) {
    if constexpr (std::is_same_v<To, From>) return value;
    else if constexpr (std::is_pointer_v<From>) return To(reinterpret_cast<uintptr_t>(value));
    else if constexpr (std::is_pointer_v<To>) return reinterpret_cast<To>(uintptr_t(value));
    else if constexpr (std::is_same_v<From, bool> || std::is_same_v<To, bool>) return To(value);
    else if constexpr (sizeof(To) == sizeof(From)) return bits_as<To>(value);
    else if constexpr (std::is_arithmetic_v<From> && std::is_arithmetic_v<To>) return To(value);
    else if constexpr (sizeof(From) == 2) return as<To>(bits_as<uint16_t>(value));
    else return as<To>(bits_as<uint32_t>(value));
}
template <class Register, class T> __forceinline__ void set(Register& to, T value) {
    to = as<std::remove_cv_t<Register>>(value);
}

EMU_PART char* global(uint64_t address) { return reinterpret_cast<char*>(address); }
EMU_QUIET char* shared(uint64_t address) {
    return static_cast<char*>(emu_shared_pointer(unsigned(address)));
}
// Inlined, so that an access is booked on the kernel's line.
template <class T> __forceinline__ T load(const char* from) {
    return *reinterpret_cast<const T*>(from);
}
template <class T> __forceinline__ void store(char* to, const T& value) {
    *reinterpret_cast<T*>(to) = value;
}

// cp.async's last operand is how many bytes are read, or a predicate that none are.
EMU_PART size_t bytes_read(bool ignored, size_t size) { return ignored ? 0 : size; }
template <class T> EMU_PART size_t bytes_read(T filled, size_t) { return size_t(filled); }

EMU_QUIET void copy(char* to, const char* from, size_t bytes, size_t filled, EMU_SITE) {
    if (bytes != 4 && bytes != 8 && bytes != 16)
        emu_fail(TRAP, "cp.async of other than 4, 8 or 16 bytes", EMU_AT);
    emu_copy_later(to, from, bytes, filled < bytes ? filled : bytes, EMU_AT);
}
EMU_QUIET void wait_all() {
    emu_close_copies();
    emu_wait_for_copies(0);
}

// Rows of 8 x 8 matrices of 16-bit numbers, which a lane has one of, dealt out to all lanes.
template <int count, bool transposed>
EMU_QUIET void deal_out(unsigned (&registers)[count], const uint4& row, EMU_SITE) {
    const Lanes* lanes = meet(~0u, row, "ldmatrix", EMU_AT);
    const int lane = emu_lane();
    const auto number = [&](int matrix, int r, int c) EMU_WITHIN {
        return unsigned(reinterpret_cast<const uint16_t*>(lanes->value[8 * matrix + r])[c]);
    };
    for (int m = 0; m < count; ++m) {
        const int r = lane / 4, c = 2 * (lane % 4);
        registers[m] = transposed ? number(m, c, r) | number(m, c + 1, r) << 16
                                  : number(m, r, c) | number(m, r, c + 1) << 16;
    }
}
template <int count, bool transposed>
EMU_QUIET uint4 collect(const unsigned (&registers)[count], EMU_SITE) {
    struct Registers {
        unsigned of[count];
    } mine;
    for (int m = 0; m < count; ++m) mine.of[m] = registers[m];
    const Lanes* lanes = meet(~0u, mine, "stmatrix", EMU_AT);
    uint16_t row[8] = {};
    const int m = emu_lane() / 8, r = emu_lane() % 8;
    for (int c = 0; c < 8 && m < count; ++c) {
        const int lane = transposed ? 4 * c + r / 2 : 4 * r + c / 2, half = transposed ? r % 2 : c % 2;
        row[c] = reinterpret_cast<const uint16_t*>(lanes->value[lane])[2 * m + half];
    }
    uint4 out;
    memcpy(static_cast<void*>(&out), row, sizeof out);
    return out;
}
template <int count, bool transposed>
__forceinline__ void ldmatrix(unsigned (&registers)[count], const char* row, EMU_SITE) {
    uint4 mine = {0, 0, 0, 0};
    if (emu_lane() < 8 * count) mine = load<uint4>(row);
    deal_out<count, transposed>(registers, mine, EMU_AT);
}
template <int count, bool transposed>
__forceinline__ void stmatrix(char* row, const unsigned (&registers)[count], EMU_SITE) {
    const uint4 mine = collect<count, transposed>(registers, EMU_AT);
    if (emu_lane() < 8 * count) store(row, mine);
}

// With sums in half. Assumed: they are formed as those in float are, and rounded to the nearest half
// at the end of each instruction.
template <class Layout>
EMU_QUIET void mma(unsigned (&d)[2], const unsigned (&a)[4], const unsigned (&b)[2],
                   const char* what, EMU_SITE) {
    const auto low = [](unsigned r) EMU_WITHIN { return __half::decode(uint16_t(r)); };
    float sums[4] = {low(d[0]), low(d[0] >> 16), low(d[1]), low(d[1] >> 16)};
    emu::mma<Layout>(sums, a, b, what, EMU_AT);
    for (int i = 0; i < 2; ++i)
        d[i] = unsigned(__half::encode(sums[2 * i])) | unsigned(__half::encode(sums[2 * i + 1])) << 16;
}
template <class Layout>
EMU_QUIET void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const char* what,
                   EMU_SITE) {
    emu::mma<Layout>(d, a, b, what, EMU_AT);
}

// Any function of three bits, bit by bit: `table` has its value for each of the eight.
EMU_PART unsigned lop3(unsigned a, unsigned b, unsigned c, unsigned table) {
    unsigned result = 0;
    for (unsigned i = 0; i < 8; ++i)
        if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}
// `count` bits of a value from bit `first` on; the sign beyond.
template <class T> EMU_PART T bfe(T value, unsigned first, unsigned count) {
    constexpr unsigned bits = 8 * sizeof(T);
    first &= 255, count &= 255;
    if (count == 0) return 0;
    if (first >= bits) return std::is_signed_v<T> ? T(value >> (bits - 1)) : T(0);
    if (count > bits - first) count = bits - first;
    using U = std::make_unsigned_t<T>;
    return T(T(U(value) << (bits - first - count)) >> (bits - count));
}
template <class T> EMU_PART T bfi(T part, T whole, unsigned first, unsigned count) {
    constexpr unsigned bits = 8 * sizeof(T);
    first &= 255, count &= 255;
    if (count == 0 || first >= bits) return whole;
    const T mask = T((count >= bits ? ~T(0) : (T(1) << count) - 1) << first);
    return T((whole & ~mask) | (T(part << first) & mask));
}
// Shifts by as much as a value is wide, or more, leave nothing of it but its sign.
template <class T> EMU_PART T shl(T value, unsigned by) {
    return by < 8 * sizeof(T) ? T(value << by) : T(0);
}
template <class T> EMU_PART T shr(T value, unsigned by) {
    constexpr unsigned bits = 8 * sizeof(T);
    return by < bits ? T(value >> by) : std::is_signed_v<T> ? T(value >> (bits - 1)) : T(0);
}
template <class T> EMU_PART T mul_hi(T a, T b) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return T(Wide(a) * Wide(b) >> 8 * sizeof(T));
}

// shfl.sync: the last operand but one has the segment's mask above bit 8 and its end below.
enum Way { IDX, UP, DOWN, BFLY };
EMU_QUIET unsigned shfl(Way way, unsigned value, unsigned by, unsigned clamp, unsigned mask,
                        bool& inside, EMU_SITE) {
    const int lane = emu_lane(), segment = int(clamp >> 8 & 31), end = int(clamp & 31), n = int(by & 31);
    const int least = lane & segment, most = least | (end & ~segment);
    const int from = way == UP ? lane - n : way == DOWN ? lane + n : way == BFLY ? lane ^ n
                                                                   : least | (n & ~segment);
    inside = way == UP ? from >= most : from <= most;
    return shuffle(mask, value, inside ? from : lane, "shfl.sync", EMU_AT);
}

}  // namespace emu::ptx
